//! Mail, by Resend's HTTP API.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::config::{RESEND_API, Secret, ServicesConfig};

/// The sender that Resend lends to accounts without a domain of their own.
const DEFAULT_FROM: &str = "Todo <onboarding@resend.dev>";

/// How long one mail may take.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// More than an error of Resend's ever is.
const MAX_BODY: usize = 16 * 1024;

/// Sends mails. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mailer {
    client: reqwest::Client,
    url: Url,
    key: Secret,
    from: String,
}

/// One mail.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    /// The address that it goes to.
    pub to: &'a str,
    /// Control characters become spaces.
    pub subject: &'a str,
    /// Plain text.
    pub text: &'a str,
    /// The same for every try, so that it arrives once (Resend remembers it for 24 h).
    pub idempotency_key: &'a str,
}

/// Why there is no mailer.
#[derive(Debug, thiserror::Error)]
#[error("mail cannot be set up: {0}")]
pub struct MailerError(String);

/// Why a mail was not accepted. Never holds the address or the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Another try is pointless.
    #[error("refused: {0}")]
    Refused(String),
    /// Another try may succeed.
    #[error("not accepted: {reason}")]
    Later {
        /// What came instead of an answer, or the answer.
        reason: String,
        /// How long the provider asks to wait, if it does.
        wait: Option<Duration>,
    },
}

impl Mailer {
    /// A mailer, or `None` where no key is configured.
    pub fn new(config: &ServicesConfig) -> Result<Option<Self>, MailerError> {
        let Some(key) = &config.resend_api_key else {
            return Ok(None);
        };
        let failed = |error: &dyn std::fmt::Display| MailerError(error.to_string());
        let client = super::http_client()
            .map_err(|error| failed(&error))?
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| failed(&error.without_url()))?;
        let mut url = match &config.resend_api_url {
            Some(url) => url.clone(),
            None => Url::parse(RESEND_API).map_err(|error| failed(&error))?,
        };
        let path = format!("{}/emails", url.path().trim_end_matches('/'));
        url.set_path(&path);
        let from = config.email_from.as_deref().unwrap_or(DEFAULT_FROM);
        Ok(Some(Self {
            client,
            url,
            key: key.clone(),
            from: from.to_owned(),
        }))
    }

    /// Hands a mail over; `Ok` when the provider has accepted it.
    pub async fn send(&self, mail: &Mail<'_>) -> Result<(), SendError> {
        let subject = mail.subject.replace(char::is_control, " ");
        let answer = self
            .client
            .post(self.url.clone())
            .bearer_auth(self.key.expose())
            .header("Idempotency-Key", mail.idempotency_key)
            .json(&json!({
                "from": self.from,
                "to": [mail.to],
                "subject": subject,
                "text": mail.text,
            }))
            .send()
            .await;
        let response = match answer {
            Ok(response) => response,
            Err(error) => {
                let what = if error.is_timeout() {
                    "no answer in time"
                } else if error.is_connect() {
                    "no connection"
                } else {
                    "no answer"
                };
                return Err(SendError::Later {
                    reason: what.to_owned(),
                    wait: None,
                });
            }
        };
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let wait = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse().ok())
            .map(Duration::from_secs);
        let reason = match error_name(response).await {
            Some(name) => format!("{} {name}", status.as_u16()),
            None => status.as_u16().to_string(),
        };
        if is_final(status) {
            Err(SendError::Refused(reason))
        } else {
            Err(SendError::Later { reason, wait })
        }
    }
}

/// A fault of the mail, the sender or the key; any other status may change by itself.
///
/// 409 says that another try of the same mail is under way.
fn is_final(status: StatusCode) -> bool {
    status.is_client_error()
        && !matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS
        )
}

/// The name that Resend gives to an error. Its message may hold the address, so it is left.
async fn error_name(mut response: reqwest::Response) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        name: String,
    }
    let mut body = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() > MAX_BODY {
            return None;
        }
    }
    let body: Body = serde_json::from_slice(&body).ok()?;
    let is_name = |text: &str| {
        (1..=60).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    is_name(&body.name).then_some(body.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_final() {
        for status in [400, 401, 403, 404, 410, 422] {
            assert!(is_final(StatusCode::from_u16(status).unwrap()), "{status}");
        }
        for status in [302, 408, 409, 429, 500, 502, 503] {
            assert!(!is_final(StatusCode::from_u16(status).unwrap()), "{status}");
        }
    }

    #[test]
    fn addresses_of_the_endpoint() {
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
