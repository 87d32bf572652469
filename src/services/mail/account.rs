//! What the provider says about the key, for diagnostics. No mail is sent.

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::services::http_client::{self, HttpError, Redirection};

use super::{EMAILS, MAX_BODY, Mailer, Refusal, has_id};

/// A list of domains is longer than an error.
const MAX_DOMAINS: usize = 16 * MAX_BODY;

/// As many as the provider lists at once.
const MOST_DOMAINS: &str = "limit=100";

/// What a key opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Account {
    /// Domains of the account, verified or not; whether they are all.
    Domains(Vec<Domain>, bool),
    /// The key may send, and nothing else.
    SendOnly,
    /// The provider refuses the key, for this reason.
    WrongKey(String),
    /// Too many requests, or a quota that is used up, by this name.
    Limited(String),
    /// The provider does not have the page.
    Untold(u16),
    /// 200, and no list of domains.
    NotAProvider,
    /// The provider failed.
    Failed(u16),
}

impl Account {
    /// Whether it is an answer of the mail provider to the question for domains, and not of a relay that
    /// has no such page, or of a server that failed to answer.
    pub(crate) fn is_of_provider(&self) -> bool {
        !matches!(self, Self::Untold(_) | Self::NotAProvider | Self::Failed(_))
    }

    /// The status of the answer, with the name of the error where it has one.
    pub(crate) fn status(&self) -> String {
        match self {
            Self::Domains(..) | Self::NotAProvider => "200".to_owned(),
            Self::SendOnly => "401".to_owned(),
            Self::WrongKey(reason) | Self::Limited(reason) => reason.clone(),
            Self::Untold(status) | Self::Failed(status) => status.to_string(),
        }
    }
}

/// What is answered to a mail that has neither recipient nor text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MailAnswer {
    /// It is refused for what it lacks, or accepted.
    Understood,
    /// It is to be sent elsewhere; where, if that is an endpoint for mails.
    Redirected(Option<Redirection>),
    Other(u16),
}

/// A domain of the account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Domain {
    pub(crate) name: String,
    /// `verified`, or why not yet.
    pub(crate) status: String,
    pub(crate) capabilities: Option<Capabilities>,
}

/// What a domain is for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Capabilities {
    /// `enabled` or `disabled`.
    sending: Option<String>,
}

impl Domain {
    /// Whether sending was turned off.
    pub(crate) fn may_not_send(&self) -> bool {
        let sending = self.capabilities.as_ref();
        let sending = sending.and_then(|one| one.sending.as_deref());
        sending == Some("disabled")
    }
}

impl Mailer {
    /// Asks for the account's domains, which uses nothing up.
    pub(crate) async fn account(&self) -> Result<Account, HttpError> {
        let mut url = self.domains.clone();
        url.set_query(Some(MOST_DOMAINS));
        let request = self.client.get(url);
        let request = request.bearer_auth(self.key.expose());
        let response = self.client.send(request).await?;
        let status = response.status();
        let body = self.client.body(response, MAX_DOMAINS).await?;
        Ok(judge(status, &body))
    }

    /// Sends a mail that has nothing, which no provider can deliver: whether something there takes
    /// mails.
    pub(crate) async fn try_mail(&self) -> Result<MailAnswer, HttpError> {
        let request = self.client.post(self.url.clone());
        let request = request.bearer_auth(self.key.expose()).json(&json!({}));
        let response = self.client.send(request).await?;
        let status = response.status();
        if status.is_redirection() {
            let to = http_client::redirection(&self.base, EMAILS, &response);
            return Ok(MailAnswer::Redirected(to));
        }
        let body = self.client.body(response, MAX_BODY).await?;
        Ok(match status {
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY if is_object(&body) => {
                MailAnswer::Understood
            }
            status if status.is_success() && has_id(&body) => MailAnswer::Understood,
            status => MailAnswer::Other(status.as_u16()),
        })
    }

    /// The domain of the sender.
    pub(crate) fn sender_domain(&self) -> String {
        let (_, domain) = self.from.rsplit_once('@').unwrap_or_default();
        domain.trim_end_matches('>').trim().to_ascii_lowercase()
    }
}

/// Whether it is an object of JSON, as what speaks the provider's language answers.
fn is_object(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|value| value.is_object())
}

fn judge(status: StatusCode, body: &[u8]) -> Account {
    #[derive(Deserialize)]
    struct List {
        data: Vec<Domain>,
        #[serde(default)]
        has_more: bool,
    }
    let refusal = Refusal::of(body);
    let name = refusal.name.as_deref();
    match status {
        StatusCode::OK => match serde_json::from_slice(body) {
            Ok(List { data, has_more }) => Account::Domains(data, !has_more),
            Err(_) => Account::NotAProvider,
        },
        StatusCode::UNAUTHORIZED if name == Some("restricted_api_key") => Account::SendOnly,
        // What is in front of the provider, such as a firewall, has no names for errors.
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
            if name.is_some() =>
        {
            Account::WrongKey(refusal.reason(status))
        }
        StatusCode::TOO_MANY_REQUESTS => Account::Limited(refusal.reason(status)),
        status if status.is_server_error() => Account::Failed(status.as_u16()),
        status => Account::Untold(status.as_u16()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, ServicesConfig};

    #[test]
    fn answers() {
        let of = |status, body: &str| judge(StatusCode::from_u16(status).unwrap(), body.as_bytes());
        let domain = Domain {
            name: "example.com".to_owned(),
            status: "pending".to_owned(),
            capabilities: None,
        };
        let list = r#"{"data":[{"id":"1","name":"example.com","status":"pending","region":"x"}]}"#;
        assert_eq!(of(200, list), Account::Domains(vec![domain], true));
        let sending = |sending: &str| {
            let capabilities = format!(r#"{{"sending":"{sending}","receiving":"enabled"}}"#);
            let list = format!(
                r#"{{"data":[{{"name":"a","status":"verified","capabilities":{capabilities}}}]}}"#
            );
            match of(200, &list) {
                Account::Domains(domains, _) => domains[0].may_not_send(),
                other => panic!("{other:?}"),
            }
        };
        assert!(sending("disabled") && !sending("enabled"));
        let page = r#"{"data":[],"has_more":true}"#;
        assert_eq!(of(200, page), Account::Domains(Vec::new(), false));
        for other in ["<html>", "{}", "null"] {
            assert_eq!(of(200, other), Account::NotAProvider, "{other}");
        }
        assert_eq!(
            of(401, r#"{"name":"restricted_api_key"}"#),
            Account::SendOnly
        );
        for status in [400, 401, 403] {
            let refused = of(status, r#"{"name":"validation_error"}"#);
            let reason = format!("{status} validation_error");
            assert_eq!(refused, Account::WrongKey(reason));
        }
        let limited = of(429, r#"{"name":"daily_quota_exceeded"}"#);
        assert_eq!(
            limited,
            Account::Limited("429 daily_quota_exceeded".to_owned())
        );
        assert_eq!(of(404, ""), Account::Untold(404));
        assert_eq!(of(403, "<html>"), Account::Untold(403));
        assert_eq!(of(502, ""), Account::Failed(502));
    }

    #[test]
    fn the_domain_of_a_sender() {
        for (from, domain) in [
            ("Todo <todo@Mail.Example.com>", "mail.example.com"),
            ("todo@example.com", "example.com"),
        ] {
            let config = ServicesConfig {
                resend_api_key: Some(Secret::new("re_canary")),
                email_from: Some(from.to_owned()),
                ..ServicesConfig::default()
            };
            let mailer = Mailer::new(&config).unwrap().unwrap();
            assert_eq!(mailer.sender_domain(), domain);
        }
    }
}
