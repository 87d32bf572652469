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
    /// The key is unknown, or was withdrawn.
    #[error("The provider rejected the API key")]
    Rejected,
    /// The key may not be used from this server, or for this API.
    #[error(
        "The API key's restrictions at the provider do not allow its use here: remove those of addresses, web sites and apps, and allow the Generative Language API"
    )]
    Restricted,
    /// The API is not enabled in the key's project.
    #[error(
        "The Generative Language API is not enabled in the API key's project at the provider: enable it there, then try again"
    )]
    Disabled,
    /// The key's project has no valid billing account.
    #[error("The API key's project needs billing at the provider: set it up there, then try again")]
    Billing,
    /// The provider does not serve the place where this server is. It says nothing about the key.
    #[error(
        "The provider does not serve the location of this server, so the API key could not be checked"
    )]
    Location,
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

impl ProbeError {
    /// A word for counts; `None` if the key's owner has to act, or its quota is used up.
    #[must_use]
    pub fn obstacle(self) -> Option<&'static str> {
        match self {
            Self::Rejected | Self::Restricted | Self::Disabled | Self::Billing | Self::Quota => {
                None
            }
            Self::Location => Some("location"),
            Self::TimedOut => Some("timed_out"),
            Self::Network => Some("network"),
            Self::Unexpected(_) => Some("unexpected"),
        }
    }
}

/// An error of Google's APIs (AIP-193). Its message is only searched for a word, because it may
/// contain the key.
#[derive(Default, Deserialize)]
struct Refusal {
    error: Option<RefusalError>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RefusalError {
    status: String,
    message: String,
    details: Vec<RefusalDetail>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RefusalDetail {
    reason: String,
}

/// What a refusal (400, 401, 403) says about the key.
fn refusal(status: StatusCode, body: &[u8]) -> ProbeError {
    let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
    let Some(error) = refusal.error else {
        // Something in front of the provider.
        return ProbeError::Unexpected(status);
    };
    let message = error.message.to_lowercase();
    let reasons = error.details.iter().map(|detail| detail.reason.as_str());
    for reason in reasons {
        match reason {
            "API_KEY_INVALID" | "API_KEY_EXPIRED" => return ProbeError::Rejected,
            "SERVICE_DISABLED" => return ProbeError::Disabled,
            "BILLING_DISABLED" => return ProbeError::Billing,
            "RATE_LIMIT_EXCEEDED" | "RESOURCE_QUOTA_EXCEEDED" => return ProbeError::Quota,
            "LOCATION_POLICY_VIOLATED" => return ProbeError::Location,
            blocked if blocked.starts_with("API_KEY_") && blocked.ends_with("_BLOCKED") => {
                return ProbeError::Restricted;
            }
            _ => {}
        }
    }
    match error.status.as_str() {
        "FAILED_PRECONDITION" if message.contains("billing") => ProbeError::Billing,
        "FAILED_PRECONDITION" if message.contains("location") => ProbeError::Location,
        "RESOURCE_EXHAUSTED" => ProbeError::Quota,
        // Such as a key that was reported as leaked.
        "INVALID_ARGUMENT" | "UNAUTHENTICATED" | "PERMISSION_DENIED" => ProbeError::Rejected,
        _ => ProbeError::Unexpected(status),
    }
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
        match self.ask(key).await {
            Ok(answer) => answer,
            Err(HttpError::TimedOut(_)) => Err(ProbeError::TimedOut),
            Err(_) => Err(ProbeError::Network),
        }
    }

    /// The same with the reason why there is no answer.
    pub(crate) async fn ask(&self, key: &ProviderKey) -> Result<Result<(), ProbeError>, HttpError> {
        // A key has visible characters only.
        let Ok(mut value) = HeaderValue::from_str(key.expose()) else {
            return Ok(Err(ProbeError::Rejected));
        };
        value.set_sensitive(true);
        let request = self.client.get(self.models.clone());
        let answer = self
            .client
            .send(request.header(X_GOOG_API_KEY, value))
            .await?;
        let status = answer.status();
        let body = match self.client.body(answer, MAX_BODY).await {
            Err(HttpError::TooLong(_)) => Vec::new(),
            body => body?,
        };
        Ok(match status {
            StatusCode::OK if is_list_of_models(&body) => Ok(()),
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(refusal(status, &body))
            }
            StatusCode::TOO_MANY_REQUESTS => Err(ProbeError::Quota),
            // A proxy or a login page answers 200 to everything.
            status => Err(ProbeError::Unexpected(status)),
        })
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
    fn refusals() {
        let of = |status: &str, reason: &str, message: &str| {
            let details = serde_json::json!([{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason }]);
            let error = serde_json::json!({ "code": 400, "status": status, "message": message, "details": details });
            let body = serde_json::json!({ "error": error }).to_string();
            refusal(StatusCode::BAD_REQUEST, body.as_bytes())
        };
        for (status, reason, message, expected) in [
            (
                "INVALID_ARGUMENT",
                "API_KEY_INVALID",
                "API key not valid.",
                ProbeError::Rejected,
            ),
            ("INVALID_ARGUMENT", "", "", ProbeError::Rejected),
            (
                "PERMISSION_DENIED",
                "",
                "Your API key was reported as leaked.",
                ProbeError::Rejected,
            ),
            (
                "FAILED_PRECONDITION",
                "",
                "User location is not supported for the API use.",
                ProbeError::Location,
            ),
            (
                "FAILED_PRECONDITION",
                "",
                "Gemini API free tier is not available in your country. Please enable billing",
                ProbeError::Billing,
            ),
            (
                "PERMISSION_DENIED",
                "BILLING_DISABLED",
                "",
                ProbeError::Billing,
            ),
            (
                "PERMISSION_DENIED",
                "SERVICE_DISABLED",
                "",
                ProbeError::Disabled,
            ),
            (
                "PERMISSION_DENIED",
                "API_KEY_SERVICE_BLOCKED",
                "",
                ProbeError::Restricted,
            ),
            (
                "PERMISSION_DENIED",
                "API_KEY_IP_ADDRESS_BLOCKED",
                "",
                ProbeError::Restricted,
            ),
            ("RESOURCE_EXHAUSTED", "", "", ProbeError::Quota),
            (
                "INTERNAL",
                "",
                "",
                ProbeError::Unexpected(StatusCode::BAD_REQUEST),
            ),
        ] {
            assert_eq!(of(status, reason, message), expected, "{status} {reason}");
        }
        for other in ["", "<html>", "{}", r#"{"error":"invalid_request"}"#] {
            let found = refusal(StatusCode::FORBIDDEN, other.as_bytes());
            assert_eq!(
                found,
                ProbeError::Unexpected(StatusCode::FORBIDDEN),
                "{other}"
            );
        }
    }

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
