//! What is reached over the network.
//!
//! Every HTTP client starts from `http_client`, so that all of them trust the same
//! authorities and none of them is led elsewhere.

use std::error::Error as _;
use std::sync::Arc;

pub mod auth_server;
pub mod daemon;
pub mod key_provider;
pub mod mail;
pub mod redis;

/// An HTTP client that could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be set up: {0}")]
pub struct ClientError(String);

impl From<rustls::Error> for ClientError {
    fn from(error: rustls::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<url::ParseError> for ClientError {
    fn from(error: url::ParseError) -> Self {
        Self(error.to_string())
    }
}

impl From<reqwest::Error> for ClientError {
    fn from(error: reqwest::Error) -> Self {
        Self(innermost(&error))
    }
}

/// The base of every HTTP client.
///
/// It trusts the embedded roots, as database connections do, so that an image
/// without a CA bundle still verifies. It follows no redirects and heeds no
/// proxy variables: addresses come from the configuration alone.
pub(crate) fn http_client() -> Result<reqwest::ClientBuilder, rustls::Error> {
    let roots = webpki_roots::TLS_SERVER_ROOTS
        .iter()
        .cloned()
        .collect::<rustls::RootCertStore>();
    // The provider is named here because reqwest would panic without a global one.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("todoctl/", env!("CARGO_PKG_VERSION"))))
}

/// The cause that tells most: reqwest's own text only repeats the request.
fn innermost(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}
