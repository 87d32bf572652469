//! How TLS clients verify a server.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::config::read_small_file;

/// The text of `SSL_CERT_FILE`. One for the process: every client verifies alike.
static CA_BUNDLE: OnceLock<Vec<u8>> = OnceLock::new();

/// From now on the certificates in this PEM file are trusted too. A file that cannot be read, or
/// has no certificate, is ignored; the configuration warns about it.
pub(crate) fn trust(file: &Path) {
    if let Ok(bundle) = read_small_file(file) {
        // A second call changes nothing.
        let _ = CA_BUNDLE.set(bundle);
    }
}

/// The PEM text of `SSL_CERT_FILE`, if it is set.
pub(super) fn ca_bundle() -> Option<&'static [u8]> {
    CA_BUNDLE.get().map(Vec::as_slice)
}

/// Trusts the embedded roots, as database connections do, so that an image without a CA
/// bundle verifies certificates too, and those of `SSL_CERT_FILE`.
pub(crate) fn client_config() -> Result<ClientConfig, rustls::Error> {
    let mut roots = webpki_roots::TLS_SERVER_ROOTS
        .iter()
        .cloned()
        .collect::<RootCertStore>();
    let own = CertificateDer::pem_slice_iter(ca_bundle().unwrap_or_default());
    // Bundles of systems have certificates that rustls does not accept.
    roots.add_parsable_certificates(own.filter_map(Result::ok));
    // reqwest panics without a provider, either this one or a global one.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
