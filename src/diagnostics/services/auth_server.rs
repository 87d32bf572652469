//! The auth server: its keys, its clock, and how its tokens name it.

use std::time::Duration;

use url::Url;

use crate::config::Remedy;
use crate::diagnostics::context::Context;
use crate::diagnostics::halted::with_halted;
use crate::diagnostics::verdict::Verdict;
use crate::domain::Timestamp;
use crate::services::auth_server::{PublishedKeys, SessionAnswer, Survey, speaks_tls, survey};

use super::address::{origin, reach};

/// Where the keys are, below `AUTH_SERVER_URL`.
const KEYS: &str = "/api/auth/jwks";

/// Where it validates session tokens.
const SESSIONS: &str = "/api/auth/get-session";

/// As the daemon names the failures of requests for which it could not ask the auth server.
const UNAVAILABLE: &str = "auth_server_unavailable";

/// Half of what the daemon waits for.
const SLOW: Duration = Duration::from_secs(1);

/// The header has seconds, and tokens are accepted for a few seconds more.
const CLOCK_WARN: Duration = Duration::from_secs(5);

pub(super) async fn auth_server(context: &Context, limit: Duration) -> Verdict {
    let services = &context.audit.services;
    let Some(base) = &services.auth_server_url else {
        return Verdict::skip("AUTH_SERVER_URL is not set");
    };
    let found = tokio::time::timeout(limit, survey(base)).await;
    let may_need_tls = match &found {
        // As many servers answer plain text where they expect TLS.
        Ok(Ok(survey)) => survey.keys == PublishedKeys::Status(400),
        Ok(Err(_)) => true,
        Err(_) => false,
    };
    if may_need_tls && base.scheme() == "http" && speaks_tls(base).await {
        return Verdict::fail(
            format!(
                "{} speaks TLS, and AUTH_SERVER_URL has http://",
                origin(base)
            ),
            Remedy::set("AUTH_SERVER_URL.scheme", "https"),
        );
    }
    match found {
        Ok(Ok(survey)) => {
            let now = context.request.clock.now();
            let own = services.auth_issuer.as_deref();
            let has_failed = survey.sessions == SessionAnswer::Missing
                && context.daemon(limit).await.has_failed_with(UNAVAILABLE);
            check_survey(base, &survey, own, now, has_failed)
        }
        Ok(Err(error)) => unreachable(context, base, &error.to_string()).await,
        Err(_) => {
            let error = format!("no answer within {} s", limit.as_secs());
            unreachable(context, base, &error).await
        }
    }
}

async fn unreachable(context: &Context, base: &Url, error: &str) -> Verdict {
    let origin = origin(base);
    // Of rustls, for an answer that is not TLS.
    if error.contains("InvalidContentType") {
        return Verdict::fail(
            format!("{origin} does not speak TLS"),
            Remedy::note(
                "enable TLS there; only if the network in between is trusted: todoctl config set AUTH_SERVER_URL.scheme=http",
            ),
        );
    }
    let start = Remedy::note(if error.starts_with("no answer") {
        format!(
            "find out why {origin} is slow or silent: the daemon waits 2 s for it, and answers 503 then; or correct AUTH_SERVER_URL"
        )
    } else {
        format!("start the auth server at {origin}, or correct AUTH_SERVER_URL")
    });
    let source = &context.request.source;
    let verdict = Verdict::fail(
        format!("{origin} cannot be reached: {error}"),
        reach(&origin, "AUTH_SERVER_URL", error, source, start),
    );
    let host = base.host_str().unwrap_or_default();
    let port = base.port_or_known_default().unwrap_or_default();
    with_halted(verdict, host, port).await
}

/// `has_failed` tells whether the daemon failed to ask it lately.
fn check_survey(
    base: &Url,
    survey: &Survey,
    issuer: Option<&str>,
    now: Timestamp,
    has_failed: bool,
) -> Verdict {
    let origin = origin(base);
    let mut detail = match check_keys(base, survey) {
        Ok(detail) => detail,
        Err(verdict) => return *verdict,
    };
    let expected = issuer.unwrap_or(&origin);
    if let Some(published) = &survey.issuer
        && published != expected
    {
        let correction = if *published == origin {
            Remedy::unset("AUTH_ISSUER")
        } else {
            Remedy::set("AUTH_ISSUER", published)
        };
        return Verdict::fail(
            format!(
                "{detail}; its tokens have the issuer {published}, and those of {expected} are accepted: they are answered with 401"
            ),
            correction,
        );
    }
    if let Some((answer, remedy)) = session_fault(base, &survey.sessions, has_failed) {
        return Verdict::warn(
            format!(
                "{detail}, but {answer} to the question for sessions: tokens that are no JWTs are answered with 503"
            ),
            remedy,
        );
    }
    if survey.sessions == SessionAnswer::Missing {
        detail += "; it validates no session tokens (404)";
    }
    if survey.took > SLOW {
        return Verdict::warn(
            format!(
                "{detail}, but takes {} ms: each request with a token that was not seen within a minute waits for it, and is answered with 503 after 2 s",
                survey.took.as_millis()
            ),
            Remedy::note(format!(
                "find out why {origin} is slow: its log and its database, or the network in between; an address nearer to this machine may do as AUTH_SERVER_URL"
            )),
        );
    }
    if let Some(difference) = survey.time.and_then(|theirs| difference(theirs, now)) {
        return Verdict::warn(
            format!("{detail}; its clock and this machine's differ by {difference}: tokens are too early or too old"),
            Remedy::note("on the machine whose time is wrong, as root: timedatectl set-ntp true; this machine's time:")
                .then(Remedy::command("date -u")),
        );
    }
    Verdict::pass(detail)
}

/// What is right about the keys, or what is wrong with them.
fn check_keys(base: &Url, survey: &Survey) -> Result<String, Box<Verdict>> {
    let origin = origin(base);
    let other = || match &survey.elsewhere {
        Some(url) => Remedy::note(format!("{url} publishes keys:")).then(Remedy::set(
            "AUTH_SERVER_URL",
            url.as_str().trim_end_matches('/'),
        )),
        None => other_service(),
    };
    Ok(match &survey.keys {
        PublishedKeys::Set { usable: 0, ignored } if !ignored.is_empty() => {
            return Err(Box::new(Verdict::warn(
                format!(
                    "{origin} publishes {} keys, all of kinds that todoctl does not accept ({}): tokens that they sign are answered with 401",
                    ignored.len(),
                    ignored.join(", ")
                ),
                Remedy::note(
                    "let the auth server sign with EdDSA (Ed25519), ES256 or RS256 (2048 bits or more)",
                ),
            )));
        }
        PublishedKeys::Set { usable: 0, .. } => {
            return Err(Box::new(Verdict::warn(
                format!(
                    "{origin} publishes an empty set of keys: JWTs that it signs are answered with 401"
                ),
                Remedy::note(
                    "let the auth server make its key, as better-auth does when it signs the first JWT; this shows what it publishes:",
                )
                .then(Remedy::command("curl -i").arg(address_of(base, KEYS))),
            )));
        }
        PublishedKeys::Set { usable, ignored } if ignored.is_empty() => {
            format!("{origin} publishes its keys, {usable}")
        }
        PublishedKeys::Set { usable, ignored } => format!(
            "{origin} publishes its keys, {usable}; {} of other kinds are ignored ({})",
            ignored.len(),
            ignored.join(", ")
        ),
        PublishedKeys::None if survey.sessions == SessionAnswer::Understood => {
            format!("{origin} validates session tokens; it publishes no keys (404)")
        }
        PublishedKeys::None => {
            return Err(Box::new(Verdict::warn(
                format!(
                    "{origin} answers 404 to the question for keys, and validates no session tokens: its tokens cannot be verified"
                ),
                other(),
            )));
        }
        PublishedKeys::NotAKeySet => {
            return Err(Box::new(Verdict::fail(
                format!(
                    "what {origin} answers is not a set of keys: its tokens cannot be verified"
                ),
                other(),
            )));
        }
        PublishedKeys::Status(status) => {
            return Err(Box::new(Verdict::warn(
                format!(
                    "{origin} answers {status} to the question for its keys: its tokens cannot be verified"
                ),
                match status {
                    _ if survey.elsewhere.is_some() => other(),
                    429 => limited(&origin),
                    500.. => Remedy::note(format!("read the log of the auth server at {origin}")),
                    300..=399 => survey
                        .moved
                        .as_ref()
                        .map_or_else(|| behind_proxy(KEYS), moved),
                    401 | 403 | 407 => behind_proxy(KEYS),
                    _ => other(),
                },
            )));
        }
    })
}

/// It redirects, as from http to https; whether it publishes keys there could not be found out.
fn moved(url: &Url) -> Remedy {
    Remedy::note(format!(
        "it leads to {url}, and the daemon does not follow it:"
    ))
    .then(Remedy::set(
        "AUTH_SERVER_URL",
        url.as_str().trim_end_matches('/'),
    ))
}

/// How the question for sessions is answered, and what to do about it. Where nobody has such a token,
/// the page need not exist.
fn session_fault(base: &Url, answer: &SessionAnswer, has_failed: bool) -> Option<(String, Remedy)> {
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
        SessionAnswer::Understood => return None,
        SessionAnswer::Missing if !has_failed => return None,
        SessionAnswer::Missing => ("answers 404".to_owned(), page()),
        SessionAnswer::NotASession => ("answers something else than a session".to_owned(), page()),
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

/// A page of the auth server. The query of its address may have a secret.
fn address_of(base: &Url, path: &str) -> String {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

fn behind_proxy(path: &str) -> Remedy {
    Remedy::note(format!(
        "a proxy in front of it asks for a login or leads elsewhere: let this machine ask {path} without, or give AUTH_SERVER_URL the address behind the proxy"
    ))
}

/// better-auth counts by address, and allows few requests by default.
fn limited(origin: &str) -> Remedy {
    Remedy::note(format!(
        "{origin} limits the requests of this machine: exempt this machine's address there, or raise the limit (better-auth: rateLimit); where it counts by address, let it believe the X-Forwarded-For that the daemon sends for each client"
    ))
}

fn other_service() -> Remedy {
    Remedy::note(
        "another service answers there: correct AUTH_SERVER_URL (its path comes before /api/auth/jwks)",
    )
}

/// How far two clocks differ, if that is too far.
fn difference(theirs: Timestamp, ours: Timestamp) -> Option<humantime::FormattedDuration> {
    let difference = theirs.since(ours).max(ours.since(theirs));
    let seconds = Duration::from_secs(difference.as_secs());
    (difference > CLOCK_WARN).then(|| humantime::format_duration(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Outcome;

    fn verdict(keys: PublishedKeys, issuer: Option<&str>, seconds: i64) -> Verdict {
        let base = Url::parse("http://auth:3001/x").unwrap();
        let at = |seconds: i64| Timestamp::from_micros_clamped(seconds * 1_000_000);
        let survey = Survey {
            keys,
            sessions: SessionAnswer::Understood,
            elsewhere: None,
            moved: None,
            issuer: issuer.map(str::to_owned),
            time: Some(at(seconds)),
            took: Duration::ZERO,
        };
        check_survey(&base, &survey, None, at(100), false)
    }

    #[test]
    fn sessions() {
        let is_fault = |answer: &SessionAnswer, has_failed| {
            let base = Url::parse("http://auth:3001").unwrap();
            session_fault(&base, answer, has_failed).is_some()
        };
        assert!(!is_fault(&SessionAnswer::Understood, true));
        assert!(!is_fault(&SessionAnswer::Missing, false));
        for answer in [
            SessionAnswer::Missing,
            SessionAnswer::NotASession,
            SessionAnswer::Status(302),
            SessionAnswer::Status(500),
            SessionAnswer::Failed("no answer within 2s".to_owned()),
        ] {
            assert!(is_fault(&answer, true), "{answer:?}");
        }
    }

    fn set(usable: usize, ignored: &[&str]) -> PublishedKeys {
        PublishedKeys::Set {
            usable,
            ignored: ignored.iter().map(|&one| one.to_owned()).collect(),
        }
    }

    #[test]
    fn verdicts() {
        for (keys, issuer, seconds, outcome) in [
            (set(2, &[]), None, 100, Outcome::Pass),
            (
                set(2, &["oct"]),
                Some("http://auth:3001"),
                104,
                Outcome::Pass,
            ),
            (set(0, &[]), None, 96, Outcome::Warn),
            (set(1, &[]), None, 96, Outcome::Pass),
            (set(0, &["oct"]), None, 100, Outcome::Warn),
            (set(2, &[]), None, 110, Outcome::Warn),
            (set(2, &[]), None, 90, Outcome::Warn),
            (
                set(2, &[]),
                Some("https://auth.example.com"),
                100,
                Outcome::Fail,
            ),
            (PublishedKeys::None, None, 100, Outcome::Pass),
            (PublishedKeys::NotAKeySet, None, 100, Outcome::Fail),
            (PublishedKeys::Status(500), None, 100, Outcome::Warn),
        ] {
            let found = verdict(keys.clone(), issuer, seconds);
            assert_eq!(found.outcome, outcome, "{keys:?} {issuer:?} {seconds}");
        }
    }
}
