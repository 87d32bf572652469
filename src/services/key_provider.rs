//! The AI provider (Gemini), asked whether it accepts a key.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use reqwest::StatusCode;
use url::Url;

use crate::config::GEMINI_API;
use crate::domain::ProviderKey;

use super::ClientError;

/// For everything: finding the host, connecting, the answer's head.
const LIMIT: Duration = Duration::from_secs(10);

/// Where the key goes. Never into the URL, which proxies and errors repeat.
const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// What lists the models: the cheapest call that needs a key.
const MODELS: &str = "/v1beta/models";

/// Why a key was not accepted. None of the texts holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The provider does not know the key, or does not let it do anything.
    #[error("The provider rejected the API key")]
    Rejected,
    /// The key may be good, and has been used too much.
    #[error("The API key's quota at the provider is used up; try again later")]
    Quota,
    /// No answer in time.
    #[error("The provider did not answer in time; try again later")]
    TimedOut,
    /// No connection, or one that broke.
    #[error("The provider could not be reached; try again later")]
    Network,
    /// An answer that says nothing about the key.
    #[error("The provider could not check the API key (it answered {0}); try again later")]
    Unexpected(StatusCode),
}

/// Asks the provider; cheap to clone.
#[derive(Debug, Clone)]
pub struct KeyProvider {
    client: reqwest::Client,
    models: Url,
}

impl KeyProvider {
    /// Of the provider at `base`, or at its own address.
    pub fn new(base: Option<&Url>) -> Result<Self, ClientError> {
        let mut models = match base {
            Some(base) => base.clone(),
            None => Url::parse(GEMINI_API)?,
        };
        let path = format!("{}{MODELS}", models.path().trim_end_matches('/'));
        models.set_path(&path);
        let client = super::http_client()?.timeout(LIMIT).build()?;
        Ok(Self { client, models })
    }

    /// Asks once whether the provider accepts `key`.
    pub async fn probe(&self, key: &ProviderKey) -> Result<(), ProbeError> {
        // A key has no other than visible characters.
        let mut value = HeaderValue::from_str(key.expose()).map_err(|_| ProbeError::Rejected)?;
        value.set_sensitive(true);
        let request = self.client.get(self.models.clone());
        let answer = request.header(X_GOOG_API_KEY, value).send().await;
        let status = match answer {
            Ok(answer) => answer.status(),
            Err(error) if error.is_timeout() => return Err(ProbeError::TimedOut),
            Err(_) => return Err(ProbeError::Network),
        };
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(ProbeError::Rejected)
            }
            StatusCode::TOO_MANY_REQUESTS => Err(ProbeError::Quota),
            status => Err(ProbeError::Unexpected(status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_asks() {
        for (base, expected) in [
            (
                None,
                "https://generativelanguage.googleapis.com/v1beta/models",
            ),
            (
                Some("http://127.0.0.1:9"),
                "http://127.0.0.1:9/v1beta/models",
            ),
            (
                Some("https://proxy.example/gemini/"),
                "https://proxy.example/gemini/v1beta/models",
            ),
        ] {
            let base = base.map(|base| Url::parse(base).unwrap());
            let provider = KeyProvider::new(base.as_ref()).unwrap();
            assert_eq!(provider.models.as_str(), expected);
        }
    }
}
