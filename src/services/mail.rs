//! Sends mail with Resend's HTTP API.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::config::{RESEND_API, Secret, ServicesConfig};

use super::http_client::{self, ClientError, HttpClient, HttpError};

mod account;

pub(crate) use account::{Account, Domain, MailAnswer};

/// Where mails are sent, below the provider's address.
const EMAILS: &str = "/emails";

/// The sender for accounts without a domain.
const DEFAULT_FROM: &str = "Todo <onboarding@resend.dev>";

/// The time limit for sending one mail.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Larger than any error of Resend.
const MAX_BODY: usize = 16 * 1024;

/// Sends mails. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mailer {
    client: HttpClient,
    base: Url,
    url: Url,
    domains: Url,
    key: Secret,
    from: String,
}

/// A mail to send.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    /// The recipient's address.
    pub to: &'a str,
    /// Control characters become spaces.
    pub subject: &'a str,
    /// Plain text.
    pub text: &'a str,
    /// The same for every attempt, so that the mail arrives once (Resend keeps it for 24 h).
    pub idempotency_key: &'a str,
}

/// The mailer could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up mail: {0}")]
pub struct MailerError(#[from] ClientError);

/// Why a mail was not accepted. Never contains the address or the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// A retry cannot succeed.
    #[error("refused: {0}")]
    Refused(String),
    /// No mail can be sent until the configuration, or the account at the provider, is corrected.
    #[error("the provider refuses every mail: {0}")]
    Misconfigured(String),
    /// A retry may succeed.
    #[error("not accepted: {reason}")]
    Later {
        /// The network error, or the answer's status and error name.
        reason: String,
        /// The answer's `Retry-After`.
        wait: Option<Duration>,
    },
}

impl Mailer {
    /// `None` if no key is configured.
    pub fn new(config: &ServicesConfig) -> Result<Option<Self>, MailerError> {
        let Some(key) = &config.resend_api_key else {
            return Ok(None);
        };
        let base = match &config.resend_api_url {
            Some(url) => url.clone(),
            None => Url::parse(RESEND_API).map_err(ClientError::from)?,
        };
        let from = config.email_from.as_deref().unwrap_or(DEFAULT_FROM);
        Ok(Some(Self {
            client: HttpClient::new(TIMEOUT)?,
            url: http_client::join(&base, EMAILS),
            domains: http_client::join(&base, "/domains"),
            base: http_client::join(&base, ""),
            key: key.clone(),
            from: from.to_owned(),
        }))
    }

    /// Hands a mail over; `Ok` once the provider has accepted it, which it says with the mail's id:
    /// a proxy or a login page answers 200 to everything.
    pub async fn send(&self, mail: &Mail<'_>) -> Result<(), SendError> {
        let subject = mail.subject.replace(char::is_control, " ");
        let request = self
            .client
            .post(self.url.clone())
            .bearer_auth(self.key.expose())
            .header("Idempotency-Key", mail.idempotency_key)
            .json(&json!({
                "from": self.from,
                "to": [mail.to],
                "subject": subject,
                "text": mail.text,
            }));
        let response = match self.client.send(request).await {
            Ok(response) => response,
            Err(error) => {
                return Err(SendError::Later {
                    reason: error.to_string(),
                    wait: None,
                });
            }
        };
        let status = response.status();
        let wait = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse().ok())
            .map(Duration::from_secs);
        let body = self.client.body(response, MAX_BODY).await;
        if status.is_success() {
            return match body {
                Ok(body) if has_id(&body) => Ok(()),
                Ok(_) | Err(HttpError::TooLong(_)) => Err(SendError::Misconfigured(format!(
                    "{} without an id, as no mail provider answers",
                    status.as_u16()
                ))),
                // The provider knows the mail's idempotency key.
                Err(error) => Err(SendError::Later {
                    reason: error.to_string(),
                    wait,
                }),
            };
        }
        let refusal = Refusal::of(&body.unwrap_or_default());
        let reason = refusal.reason(status);
        Err(match fault(status, &refusal) {
            Fault::Mail => SendError::Refused(reason),
            Fault::Configuration => SendError::Misconfigured(reason),
            Fault::Passing => SendError::Later { reason, wait },
        })
    }
}

/// What an answer of the provider blames.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// This mail: a retry cannot succeed.
    Mail,
    /// The key, the sender or the address of the provider: the same for every mail.
    Configuration,
    /// Something that passes.
    Passing,
}

/// 409 means that another attempt to send the same mail is in progress.
fn fault(status: StatusCode, refusal: &Refusal) -> Fault {
    match status {
        // A wrong or restricted key, a domain that is not verified, an endpoint that does not exist, or
        // has moved for good.
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::MOVED_PERMANENTLY
        | StatusCode::PERMANENT_REDIRECT => Fault::Configuration,
        _ if refusal.blames_sender() => Fault::Configuration,
        StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS => {
            Fault::Passing
        }
        status if status.is_client_error() => Fault::Mail,
        _ => Fault::Passing,
    }
}

/// Whether the answer names the mail that was accepted.
fn has_id(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Accepted {
        id: String,
    }
    serde_json::from_slice(body).is_ok_and(|Accepted { id }| !id.is_empty())
}

/// What Resend says about a request that it refuses. Of its message only the name of a field is
/// kept, because it may contain the address.
#[derive(Debug, Default, PartialEq, Eq)]
struct Refusal {
    name: Option<String>,
    field: Option<&'static str>,
}

/// The fields that do not come from todoctl itself, as Resend names them: "Invalid `to` field".
const FIELDS: [&str; 2] = ["to", "from"];

impl Refusal {
    fn of(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            name: String,
            #[serde(default)]
            message: serde_json::Value,
        }
        let Ok(Body { name, message }) = serde_json::from_slice(body) else {
            return Self::default();
        };
        let is_name = (1..=60).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let message = message.as_str().unwrap_or_default();
        Self {
            name: is_name.then_some(name),
            field: FIELDS
                .into_iter()
                .find(|field| message.starts_with(&format!("Invalid `{field}` field"))),
        }
    }

    /// The status, the name of the error and the field, as far as they are known.
    fn reason(&self, status: StatusCode) -> String {
        let mut reason = status.as_u16().to_string();
        if let Some(name) = &self.name {
            reason += &format!(" {name}");
        }
        if let Some(field) = self.field {
            reason += &format!(" ({field})");
        }
        reason
    }

    fn blames_sender(&self) -> bool {
        self.field == Some("from") || self.name.as_deref() == Some("invalid_from_address")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults() {
        let of = |status, name: Option<&str>| {
            let refusal = Refusal {
                name: name.map(str::to_owned),
                field: None,
            };
            fault(StatusCode::from_u16(status).unwrap(), &refusal)
        };
        for status in [400, 410, 422] {
            assert_eq!(of(status, None), Fault::Mail, "{status}");
        }
        for status in [301, 308, 401, 403, 404, 405] {
            assert_eq!(of(status, None), Fault::Configuration, "{status}");
        }
        assert_eq!(of(422, Some("invalid_from_address")), Fault::Configuration);
        assert_eq!(of(422, Some("validation_error")), Fault::Mail);
        for status in [302, 408, 409, 429, 500, 502, 503] {
            assert_eq!(of(status, None), Fault::Passing, "{status}");
        }
    }

    #[test]
    fn refusals() {
        for (body, reason, blames_sender) in [
            (
                r#"{"name":"validation_error","message":"Invalid `to` field. The email address needs to follow the `email@example.com` format"}"#,
                "422 validation_error (to)",
                false,
            ),
            (
                r#"{"name":"validation_error","message":"Invalid `from` field."}"#,
                "422 validation_error (from)",
                true,
            ),
            (
                r#"{"name":"validation_error","message":"canary@example.com is bad"}"#,
                "422 validation_error",
                false,
            ),
            (r#"{"name":"Canary","message":7}"#, "422", false),
            ("<html>", "422", false),
        ] {
            let refusal = Refusal::of(body.as_bytes());
            assert_eq!(refusal.reason(StatusCode::UNPROCESSABLE_ENTITY), reason);
            let expected = if blames_sender {
                Fault::Configuration
            } else {
                Fault::Mail
            };
            assert_eq!(fault(StatusCode::UNPROCESSABLE_ENTITY, &refusal), expected);
        }
    }

    #[test]
    fn what_an_accepted_mail_is_answered_with() {
        assert!(has_id(br#"{"id":"49a3999c"}"#));
        for body in ["", "<html>", "{}", r#"{"id":""}"#, r#"{"id":7}"#, "[]"] {
            assert!(!has_id(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn the_endpoint_can_be_configured() {
        let config = |url: Option<&str>| ServicesConfig {
            resend_api_key: Some(Secret::new("re_canary")),
            resend_api_url: url.map(|url| url.parse().unwrap()),
            ..ServicesConfig::default()
        };
        for (given, expected) in [
            (None, "https://api.resend.com/emails"),
            (Some("http://127.0.0.1:9"), "http://127.0.0.1:9/emails"),
            (
                Some("https://mail.example.com/v1/"),
                "https://mail.example.com/v1/emails",
            ),
        ] {
            let mailer = Mailer::new(&config(given)).unwrap().unwrap();
            assert_eq!(mailer.url.as_str(), expected);
            assert!(!format!("{mailer:?}").contains("canary"));
        }
        assert!(Mailer::new(&ServicesConfig::default()).unwrap().is_none());
    }
}
