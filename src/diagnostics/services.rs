//! Checks of the services that the daemon uses. No credentials are sent, except to a Redis.

use std::time::Duration;

use url::Url;

use crate::config::{GEMINI_API, RESEND_API};
use crate::services::redis;

use super::check::{Check, run};
use super::context::Context;
use super::probe::reach::{self, ReachError, RedisAnswer};
use super::verdict::Outcome::{Fail, Pass, Skip, Warn};
use super::verdict::Verdict;

pub(super) static CHECKS: &[Check] = &[
    Check::new(
        "services.auth_server",
        "Auth server",
        run!(Always, auth_server),
    )
    .about(
        "The auth server's public keys are fetched. Without the auth server, tokens \
         that it issued are answered with 401 or 503. Usual causes are an auth server \
         that is not running, and an AUTH_SERVER_URL with a wrong host, port or path.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .needs(&["config.env_file"]),
    Check::new("services.redis", "Redis", run!(Always, redis_counter))
        .about(
            "A counter is incremented in Redis, as the rate limiter does. Without Redis \
         each daemon counts for itself, so limits are higher than configured. Usual \
         causes are a wrong password, a replica that is read-only, and full memory.",
        )
        .outcomes(&[Pass, Fail, Skip])
        .needs(&["config.env_file"]),
    Check::new("services.mail", "Mail", run!(Always, mail_provider))
        .about(
            "Whether the mail provider answers, and whether a sender is configured. While \
         the provider cannot be reached, mails wait, and after 24 hours they are given \
         up. Usual causes are a firewall that forbids outgoing connections, and \
         EMAIL_FROM not set.",
        )
        .outcomes(&[Pass, Warn, Skip])
        .needs(&["config.env_file"]),
    Check::new(
        "services.key_provider",
        "Key provider",
        run!(Always, key_provider),
    )
    .about(
        "Whether the provider that validates API keys of users answers. While it does \
         not, no provider key can be saved. The usual cause is a firewall that forbids \
         outgoing connections.",
    )
    .outcomes(&[Pass, Warn])
    .needs(&["config.env_file"]),
];

/// The auth server's public keys; no credentials are needed.
const JWKS: &str = "/api/auth/jwks";

/// Answers `null` to a question without a session.
const SESSION: &str = "/api/auth/get-session";

async fn auth_server(context: &Context, limit: Duration) -> Verdict {
    let Some(base) = &context.audit.services.auth_server_url else {
        return Verdict::skip("AUTH_SERVER_URL is not set");
    };
    let at = |path: &str| {
        let mut url = base.clone();
        url.set_query(None);
        url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
        url
    };
    let origin = origin(base);
    match reach::http(&at(JWKS), limit / 2).await {
        Ok(200) => Verdict::pass(format!("{origin} publishes its keys")),
        // Not every auth server signs tokens with keys of its own.
        Ok(404) if matches!(reach::http(&at(SESSION), limit / 2).await, Ok(200 | 401)) => {
            Verdict::pass(format!(
                "{origin} validates session tokens; it publishes no keys ({JWKS} answers 404)"
            ))
        }
        Ok(status) => Verdict::warn(
            format!("{origin}{JWKS} answers {status}, not 200: its tokens cannot be verified"),
            format!("curl -i {origin}{JWKS}; if that is another service, correct AUTH_SERVER_URL"),
        ),
        Err(error) => Verdict::fail(
            format!("{origin} cannot be reached: {error}"),
            format!("curl -i {origin}{JWKS}; start the auth server, or correct AUTH_SERVER_URL"),
        ),
    }
}

async fn redis_counter(context: &Context, limit: Duration) -> Verdict {
    let Some(url) = &context.audit.services.redis_url else {
        return Verdict::skip("REDIS_URL is not set: each daemon counts for itself");
    };
    let has_password =
        Url::parse(url.expose()).is_ok_and(|url| url.password().is_some_and(|one| !one.is_empty()));
    // Without credentials first, so that none are sent to another service.
    match (reach::redis(url, limit).await, has_password) {
        (Ok(RedisAnswer::RequiresPassword), false) => Verdict::fail(
            "requires a password, and REDIS_URL has none",
            "REDIS_URL=redis://:PASSWORD@HOST:6379/0".to_owned(),
        ),
        (Ok(_), _) => match redis::try_count(url, limit).await {
            Ok(()) => Verdict::pass("counts"),
            Err(error) => Verdict::fail(
                format!("answers, but does not count: {error}; each daemon counts for itself"),
                redis_remedy(&error).to_owned(),
            ),
        },
        (Err(error @ ReachError::SomethingElse(_)), _) => Verdict::fail(
            error.to_string(),
            "correct the host and port in REDIS_URL; rediss:// is for TLS".to_owned(),
        ),
        (Err(error), _) => Verdict::fail(
            format!("cannot be reached: {error}; until then each daemon counts for itself"),
            "start Redis, correct REDIS_URL, or unset it".to_owned(),
        ),
    }
}

/// What to do about the error of a Redis that answers.
fn redis_remedy(error: &str) -> &'static str {
    let has = |word: &str| error.contains(word);
    if has("WRONGPASS") || has("AuthenticationFailed") || has("authentication failed") {
        "correct the user and password: REDIS_URL=redis://USER:PASSWORD@HOST:6379/0"
    } else if has("READONLY") || has("read only replica") {
        "point REDIS_URL at the primary"
    } else if has("OOM") {
        "raise maxmemory, or let Redis drop keys that expire: redis-cli CONFIG SET maxmemory-policy volatile-ttl"
    } else if has("switch database") || has("DB index") {
        "name a database that exists, or none: REDIS_URL=redis://HOST:6379/0"
    } else if has("NOPERM") {
        "allow the user the keys todoctl:limit:* and the commands EVALSHA, SCRIPT LOAD, INCR, PTTL and PEXPIRE"
    } else {
        "read the log of Redis; try it: redis-cli -u REDIS_URL INCR todoctl:limit:probe"
    }
}

async fn mail_provider(context: &Context, limit: Duration) -> Verdict {
    let config = &context.audit.services;
    if config.resend_api_key.is_none() {
        return Verdict::skip("RESEND_API_KEY is not set: reminders are not mailed");
    }
    let base = url_or(config.resend_api_url.as_ref(), RESEND_API);
    let origin = origin(&base);
    match reach::http(&base, limit).await {
        Ok(status) if status < 500 && config.email_from.is_none() => Verdict::warn(
            format!("{origin} answers, but EMAIL_FROM is not set: the provider's default sender reaches only the owner of the account"),
            "EMAIL_FROM=Todo <todo@example.com> (an address of a domain that the provider has verified)".to_owned(),
        ),
        Ok(status) if status < 500 => Verdict::pass(format!("{origin} answers")),
        Ok(status) => Verdict::warn(
            format!("{origin} answers {status}: mails wait until it recovers"),
            format!("curl -i {origin}"),
        ),
        Err(error) => Verdict::warn(
            format!("{origin} cannot be reached: {error}; mails wait until it can"),
            format!("curl -i {origin}; allow outgoing connections to it, or correct RESEND_API_URL"),
        ),
    }
}

async fn key_provider(context: &Context, limit: Duration) -> Verdict {
    let config = &context.audit.services;
    let base = url_or(config.gemini_api_url.as_ref(), GEMINI_API);
    let origin = origin(&base);
    match reach::http(&base, limit).await {
        Ok(status) if status < 500 => Verdict::pass(format!("{origin} answers")),
        Ok(status) => Verdict::warn(
            format!("{origin} answers {status}: no provider key can be saved until it recovers"),
            format!("curl -i {origin}"),
        ),
        Err(error) => Verdict::warn(
            format!(
                "{origin} cannot be reached: {error}; no provider key can be saved until it can"
            ),
            format!(
                "curl -i {origin}; allow outgoing connections to it, or correct GEMINI_API_URL"
            ),
        ),
    }
}

/// The configured address, or the service's own.
#[expect(
    clippy::expect_used,
    reason = "the addresses are constants, tested below"
)]
fn url_or(url: Option<&Url>, own: &'static str) -> Url {
    let own = || Url::parse(own).expect("a constant address is a URL");
    url.cloned().unwrap_or_else(own)
}

/// Scheme, host and port: path and query may hold secrets.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses() {
        for own in [RESEND_API, GEMINI_API] {
            assert_eq!(origin(&url_or(None, own)), own);
        }
    }
}
