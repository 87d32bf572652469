//! How TLS clients verify a server.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// Trusts the embedded roots, as database connections do, so that an image without a CA
/// bundle verifies certificates too.
pub(crate) fn client_config() -> Result<ClientConfig, rustls::Error> {
    let roots = webpki_roots::TLS_SERVER_ROOTS
        .iter()
        .cloned()
        .collect::<RootCertStore>();
    // reqwest panics without a provider, either this one or a global one.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
