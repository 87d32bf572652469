//! Whether the auth server validates session tokens.

use std::time::Duration;

use url::Url;

use crate::config::Remedy;
use crate::diagnostics::services::address::origin;
use crate::domain::Timestamp;
use crate::services::auth_server::SessionAnswer;
use crate::services::daemon::ServiceStatus;

use super::advice::{SESSIONS, address_of, behind_proxy, limited};

/// So long after an answer with another status, a server that answers this command has recovered: who
/// still meets that status asks again sooner, or is counted by `daemon.errors`.
const RECOVERED: Duration = Duration::from_mins(1);

/// How the daemon failed when it last asked for a session or for keys.
pub(super) struct Failure<'a> {
    reason: &'a str,
    /// `None` from older daemons.
    at: Option<Timestamp>,
    now: Timestamp,
}

impl<'a> Failure<'a> {
    pub(super) fn of(service: Option<&'a ServiceStatus>, now: Timestamp) -> Self {
        let reason = service.and_then(|one| one.reason.as_deref());
        let at = service.and_then(|one| one.failed_at);
        Self {
            reason: reason.unwrap_or("unknown"),
            at: at.map(|seconds| Timestamp::from_micros_clamped(seconds.saturating_mul(1_000_000))),
            now,
        }
    }

    fn status(&self) -> Option<u16> {
        self.reason.parse().ok()
    }

    /// Whether it is about an answer, and not about one that did not come: that may pass.
    fn is_answer(&self) -> bool {
        !self.reason.starts_with("no answer") && !["unreachable", "unknown"].contains(&self.reason)
    }

    /// What is told where the server answers again.
    pub(super) fn passed(&self) -> Option<String> {
        let at = self.at.filter(|at| self.now.since(*at) > RECOVERED)?;
        let status = self.status()?;
        Some(format!(
            "; it answered the daemon's question of {} with {status}, and answers now",
            at.to_seconds_string()
        ))
    }
}

/// How the question for sessions is answered, and what to do about it. Where nobody has such a token,
/// the page need not exist. `failure` is how the daemon failed to ask it lately.
pub(super) fn session_fault(
    base: &Url,
    answer: &SessionAnswer,
    failure: Option<&Failure<'_>>,
) -> Option<(String, Remedy)> {
    let read_log = || {
        Remedy::note(format!(
            "read the log of the auth server at {}",
            origin(base)
        ))
    };
    let page = || {
        Remedy::note(format!(
            "let the auth server, and what is in front of it, answer {SESSIONS} as better-auth does; this shows the answer:"
        ))
        .then(Remedy::command("curl -i").arg(address_of(base, SESSIONS)))
    };
    let (said, remedy) = match answer {
        // With a user's token, the answer may be another one.
        SessionAnswer::Understood => {
            let failure = failure.filter(|one| one.is_answer() && one.passed().is_none())?;
            let when = failure
                .at
                .map_or_else(String::new, |at| format!(", at {}", at.to_seconds_string()));
            let said = format!(
                "when the daemon last asked it{when}, it got an answer that it cannot use ({}), and answered its client with 503; now the question for the session of a token that nobody has is answered rightly",
                failure.reason
            );
            let remedy = match failure.status() {
                Some(429) => limited(&origin(base)),
                Some(300..=399 | 401 | 403 | 407) => behind_proxy(SESSIONS),
                Some(_) => read_log(),
                None => Remedy::note(format!(
                    "let {} answer {SESSIONS} as better-auth does: null, or an object with the texts session.expiresAt and user.id",
                    origin(base)
                )),
            };
            return Some((said, remedy));
        }
        SessionAnswer::Missing if failure.is_none() => return None,
        SessionAnswer::Missing => ("answers 404".to_owned(), page()),
        SessionAnswer::NotASession(why) => (
            format!("answers something else than a session ({why})"),
            page(),
        ),
        SessionAnswer::Status(status) => (
            format!("answers {status}"),
            match status {
                429 => limited(&origin(base)),
                500.. => read_log(),
                300..=399 | 403 | 407 => behind_proxy(SESSIONS),
                _ => page(),
            },
        ),
        SessionAnswer::Failed(error) => (format!("does not answer ({error})"), read_log()),
    };
    let said = format!(
        "{said} to the question for sessions: tokens that are no JWTs are answered with 503"
    );
    Some((said, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions() {
        let base = Url::parse("http://auth:3001").unwrap();
        let now = Timestamp::from_micros_clamped(1_000_000_000);
        let service = |reason: &str, failed_at| ServiceStatus {
            name: "auth_server".to_owned(),
            is_down: false,
            reason: Some(reason.to_owned()),
            failed_at,
            other_issuer: None,
        };
        let fault = |answer: &SessionAnswer, failure: Option<&str>| {
            let service = failure.map(|reason| service(reason, Some(990)));
            let failure = service.as_ref().map(|one| Failure::of(Some(one), now));
            session_fault(&base, answer, failure.as_ref())
        };
        assert!(fault(&SessionAnswer::Missing, None).is_none());
        for failure in [
            None,
            Some("unknown"),
            Some("unreachable"),
            Some("no answer within 2s"),
        ] {
            assert!(fault(&SessionAnswer::Understood, failure).is_none());
        }
        for (failure, said) in [
            ("500", "read the log"),
            ("429", "rateLimit"),
            ("403", "proxy"),
            ("user.id is not text", "user.id"),
        ] {
            let (text, remedy) = fault(&SessionAnswer::Understood, Some(failure)).unwrap();
            assert!(text.contains(failure), "{text}");
            assert!(remedy.to_string().contains(said), "{failure}: {remedy}");
        }
        // An answer of before tells nothing about a server that answers now, but for the sessions
        // of users.
        for (reason, failed_at, is_over) in [
            ("500", Some(900), true),
            ("429", Some(900), true),
            ("500", Some(990), false),
            ("500", None, false),
            ("user.id is not text", Some(900), false),
        ] {
            let service = service(reason, failed_at);
            let failure = Failure::of(Some(&service), now);
            let found = session_fault(&base, &SessionAnswer::Understood, Some(&failure));
            assert_eq!(found.is_none(), is_over, "{reason} {failed_at:?}");
            let said = found.map_or_else(|| failure.passed().unwrap(), |(said, _)| said);
            let at = failed_at.map(|at| if at == 900 { "00:15:00" } else { "00:16:30" });
            assert!(said.contains(at.unwrap_or("asked it, it got")), "{said}");
        }
        for answer in [
            SessionAnswer::Missing,
            SessionAnswer::NotASession("user.id is not text".to_owned()),
            SessionAnswer::Status(302),
            SessionAnswer::Status(500),
            SessionAnswer::Failed("no answer within 2s".to_owned()),
        ] {
            assert!(fault(&answer, Some("unknown")).is_some(), "{answer:?}");
        }
    }
}
