//! Checks keys with the AI provider (Gemini).

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::IgnoredAny;
use url::Url;

use crate::config::GEMINI_API;
use crate::domain::ProviderKey;

use super::http_client::{self, ClientError, HttpClient, HttpError};

/// The time limit for one check.
const LIMIT: Duration = Duration::from_secs(10);

/// The header with the key. The URL would be logged by proxies and repeated by errors.
const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// Lists the models: the cheapest call that needs a key.
const MODELS: &str = "/v1beta/models";

/// Larger than any list of models.
const MAX_BODY: usize = 1024 * 1024;

/// Why a key was not accepted. Never contains the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The key is unknown or has no permissions.
    #[error("The provider rejected the API key")]
    Rejected,
    /// The key may be valid; its quota is used up.
    #[error("The API key's quota at the provider is used up; try again later")]
    Quota,
    /// No answer within the limit.
    #[error("The provider did not answer in time; try again later")]
    TimedOut,
    /// No connection, or a lost one.
    #[error("The provider could not be reached; try again later")]
    Network,
    /// A status that does not tell whether the key is valid.
    #[error("The provider could not check the API key (it answered {0}); try again later")]
    Unexpected(StatusCode),
}

/// The provider's client. Cheap to clone.
#[derive(Debug, Clone)]
pub struct KeyProvider {
    client: HttpClient,
    models: Url,
}

impl KeyProvider {
    /// For the provider at `base`, or at its own address.
    pub fn new(base: Option<&Url>) -> Result<Self, ClientError> {
        let base = match base {
            Some(base) => base.clone(),
            None => Url::parse(GEMINI_API)?,
        };
        Ok(Self {
            client: HttpClient::new(LIMIT)?,
            models: http_client::join(&base, MODELS),
        })
    }

    /// Asks the provider once whether it accepts `key`.
    pub async fn probe(&self, key: &ProviderKey) -> Result<(), ProbeError> {
        // A key has visible characters only.
        let mut value = HeaderValue::from_str(key.expose()).map_err(|_| ProbeError::Rejected)?;
        value.set_sensitive(true);
        let request = self.client.get(self.models.clone());
        let answer = self
            .client
            .send(request.header(X_GOOG_API_KEY, value))
            .await;
        let network = |error| match error {
            HttpError::TimedOut(_) => ProbeError::TimedOut,
            _ => ProbeError::Network,
        };
        let answer = answer.map_err(network)?;
        let status = answer.status();
        match status {
            StatusCode::OK => match self.client.body(answer, MAX_BODY).await {
                Ok(body) if is_list_of_models(&body) => Ok(()),
                // A proxy or a login page answers 200 to everything.
                Ok(_) | Err(HttpError::TooLong(_)) => Err(ProbeError::Unexpected(status)),
                Err(error) => Err(network(error)),
            },
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(ProbeError::Rejected)
            }
            StatusCode::TOO_MANY_REQUESTS => Err(ProbeError::Quota),
            status => Err(ProbeError::Unexpected(status)),
        }
    }
}

/// A page of models, as the provider lists them.
fn is_list_of_models(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Page {
        #[serde(rename = "models")]
        _models: Vec<IgnoredAny>,
    }
    serde_json::from_slice::<Page>(body).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lists_models() {
        for body in [r#"{"models":[]}"#, r#"{"models":[{"name":"a"}],"x":1}"#] {
            assert!(is_list_of_models(body.as_bytes()), "{body}");
        }
        for body in ["", "<html>", "{}", r#"{"models":1}"#, "[]"] {
            assert!(!is_list_of_models(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn the_endpoint_can_be_configured() {
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
