//! Whether the auth server validates session tokens.

use url::Url;

use crate::config::Remedy;
use crate::diagnostics::services::address::origin;
use crate::services::auth_server::SessionAnswer;

use super::advice::{SESSIONS, address_of, behind_proxy, limited};

/// How the question for sessions is answered, and what to do about it. Where nobody has such a token,
/// the page need not exist. `failure` is why the daemon failed to ask it lately.
pub(super) fn session_fault(
    base: &Url,
    answer: &SessionAnswer,
    failure: Option<&str>,
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
    Some(match answer {
        // With a token, the answer is another one.
        SessionAnswer::Understood => {
            let failure = failure.filter(|failure| is_answer(failure))?;
            let said = format!("gives the daemon an answer that it cannot use ({failure})");
            let remedy = match failure.parse() {
                Ok(429_u16) => limited(&origin(base)),
                Ok(300..=399 | 401 | 403 | 407) => behind_proxy(SESSIONS),
                Ok(_) => read_log(),
                Err(_) => Remedy::note(format!(
                    "let {} answer {SESSIONS} as better-auth does: null, or an object with the texts session.expiresAt and user.id",
                    origin(base)
                )),
            };
            (said, remedy)
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
    })
}

/// Whether it is about an answer, and not about one that did not come: that may pass.
fn is_answer(failure: &str) -> bool {
    !failure.starts_with("no answer") && !["unreachable", "unknown"].contains(&failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions() {
        let base = Url::parse("http://auth:3001").unwrap();
        let fault = |answer: &SessionAnswer, failure| session_fault(&base, answer, failure);
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
