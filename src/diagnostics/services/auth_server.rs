//! The auth server: its keys, its clock, and how its tokens name it.

use std::time::Duration;

use url::Url;

use crate::config::Remedy;
use crate::diagnostics::context::Context;
use crate::diagnostics::halted::with_halted;
use crate::diagnostics::verdict::Verdict;
use crate::domain::Timestamp;
use crate::services::auth_server::{PublishedKeys, Survey, survey};

use super::address::{origin, reach};

/// Where the keys are, below `AUTH_SERVER_URL`.
const KEYS: &str = "/api/auth/jwks";

/// The header has seconds, and tokens are accepted for a few seconds more.
const CLOCK_WARN: Duration = Duration::from_secs(5);

pub(super) async fn auth_server(context: &Context, limit: Duration) -> Verdict {
    let services = &context.audit.services;
    let Some(base) = &services.auth_server_url else {
        return Verdict::skip("AUTH_SERVER_URL is not set");
    };
    let found = tokio::time::timeout(limit, survey(base)).await;
    match found {
        Ok(Ok(survey)) => {
            let now = context.request.clock.now();
            let own = services.auth_issuer.as_deref();
            check_survey(base, &survey, own, now)
        }
        Ok(Err(error)) => unreachable(base, &error.to_string()).await,
        Err(_) => unreachable(base, &format!("no answer within {} s", limit.as_secs())).await,
    }
}

async fn unreachable(base: &Url, error: &str) -> Verdict {
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
    let start = Remedy::note(format!(
        "start the auth server at {origin}, or correct AUTH_SERVER_URL"
    ));
    let verdict = Verdict::fail(
        format!("{origin} cannot be reached: {error}"),
        reach(&origin, "AUTH_SERVER_URL", error, start),
    );
    let host = base.host_str().unwrap_or_default();
    let port = base.port_or_known_default().unwrap_or_default();
    with_halted(verdict, host, port).await
}

fn check_survey(base: &Url, survey: &Survey, issuer: Option<&str>, now: Timestamp) -> Verdict {
    let origin = origin(base);
    let detail = match &survey.keys {
        PublishedKeys::Set { usable: 0, ignored } if !ignored.is_empty() => {
            return Verdict::warn(
                format!(
                    "{origin} publishes {} keys, all of kinds that todoctl does not accept ({}): tokens that they sign are answered with 401",
                    ignored.len(),
                    ignored.join(", ")
                ),
                Remedy::note(
                    "let the auth server sign with EdDSA (Ed25519), ES256 or RS256 (2048 bits or more)",
                ),
            );
        }
        PublishedKeys::Set { usable: 0, .. } => {
            return Verdict::warn(
                format!(
                    "{origin} publishes an empty set of keys: JWTs that it signs are answered with 401"
                ),
                Remedy::note(
                    "let the auth server make its key, as better-auth does when it signs the first JWT; this shows what it publishes:",
                )
                .then(Remedy::command("curl -i").arg(format!("{}{KEYS}", base.as_str().trim_end_matches('/')))),
            );
        }
        PublishedKeys::Set { usable, ignored } if ignored.is_empty() => {
            format!("{origin} publishes its keys, {usable}")
        }
        PublishedKeys::Set { usable, ignored } => format!(
            "{origin} publishes its keys, {usable}; {} of other kinds are ignored ({})",
            ignored.len(),
            ignored.join(", ")
        ),
        PublishedKeys::None { has_sessions: true } => {
            format!("{origin} validates session tokens; it publishes no keys (404)")
        }
        PublishedKeys::None {
            has_sessions: false,
        } => {
            return Verdict::warn(
                format!(
                    "{origin} answers 404 to the questions for keys and for sessions: its tokens cannot be verified"
                ),
                other_service(),
            );
        }
        PublishedKeys::NotAKeySet => {
            return Verdict::fail(
                format!(
                    "what {origin} answers is not a set of keys: its tokens cannot be verified"
                ),
                other_service(),
            );
        }
        PublishedKeys::Status(status) => {
            return Verdict::warn(
                format!(
                    "{origin} answers {status} to the question for its keys: its tokens cannot be verified"
                ),
                match status {
                    500.. => Remedy::note(format!("read the log of the auth server at {origin}")),
                    300..=399 | 401 | 403 | 407 => Remedy::note(format!(
                        "a proxy in front of it asks for a login or leads elsewhere: let this machine ask {KEYS} without, or give AUTH_SERVER_URL the address behind the proxy"
                    )),
                    _ => other_service(),
                },
            );
        }
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
    if let Some(difference) = survey.time.and_then(|theirs| difference(theirs, now)) {
        return Verdict::warn(
            format!("{detail}; its clock and this machine's differ by {difference}: tokens are too early or too old"),
            Remedy::note("on the machine whose time is wrong, as root: timedatectl set-ntp true; this machine's time:")
                .then(Remedy::command("date -u")),
        );
    }
    Verdict::pass(detail)
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
            issuer: issuer.map(str::to_owned),
            time: Some(at(seconds)),
        };
        check_survey(&base, &survey, None, at(100))
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
            (
                PublishedKeys::None { has_sessions: true },
                None,
                100,
                Outcome::Pass,
            ),
            (
                PublishedKeys::None {
                    has_sessions: false,
                },
                None,
                100,
                Outcome::Warn,
            ),
            (PublishedKeys::NotAKeySet, None, 100, Outcome::Fail),
            (PublishedKeys::Status(500), None, 100, Outcome::Warn),
        ] {
            let found = verdict(keys.clone(), issuer, seconds);
            assert_eq!(found.outcome, outcome, "{keys:?} {issuer:?} {seconds}");
        }
    }
}
