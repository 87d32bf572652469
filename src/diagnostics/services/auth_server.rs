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
use super::tls::plain;
use keys::check_keys;
use sessions::{Failure, session_fault};

mod advice;
mod keys;
mod sessions;

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
            let daemon = context.daemon(limit).await;
            let failure = daemon
                .has_failed_with(UNAVAILABLE)
                .then(|| Failure::of(daemon.service("auth_server"), now));
            check_survey(base, &survey, own, now, failure.as_ref())
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
    let start = Remedy::note(if error.starts_with("no answer") {
        format!(
            "find out why {origin} is slow or silent: the daemon waits 2 s for it, and answers 503 then; or correct AUTH_SERVER_URL"
        )
    } else {
        format!("start the auth server at {origin}, or correct AUTH_SERVER_URL")
    });
    let source = &context.request.source;
    let verdict = Verdict::fail(
        format!("{origin} cannot be reached: {}", plain(error)),
        reach(&origin, "AUTH_SERVER_URL", error, source, start),
    );
    let host = base.host_str().unwrap_or_default();
    let port = base.port_or_known_default().unwrap_or_default();
    with_halted(verdict, host, port).await
}

/// `failure` is why the daemon failed to ask it lately.
fn check_survey(
    base: &Url,
    survey: &Survey,
    issuer: Option<&str>,
    now: Timestamp,
    failure: Option<&Failure<'_>>,
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
    if let Some((answer, remedy)) = session_fault(base, &survey.sessions, failure) {
        return Verdict::warn(format!("{detail}, but {answer}"), remedy);
    }
    if let Some(passed) = failure.and_then(Failure::passed) {
        detail += &passed;
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
        check_survey(&base, &survey, None, at(100), None)
    }

    fn set(usable: usize, ignored: &[&str]) -> PublishedKeys {
        PublishedKeys::Set {
            usable,
            ignored: ignored.iter().map(|&one| one.to_owned()).collect(),
            has_misdeclared: false,
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
            (PublishedKeys::TooLong, None, 100, Outcome::Fail),
            (
                PublishedKeys::Encoded("br".to_owned()),
                None,
                100,
                Outcome::Fail,
            ),
            (PublishedKeys::Status(500), None, 100, Outcome::Warn),
        ] {
            let found = verdict(keys.clone(), issuer, seconds);
            assert_eq!(found.outcome, outcome, "{keys:?} {issuer:?} {seconds}");
        }
    }
}
