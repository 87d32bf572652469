//! Checks of the services that the daemon uses. No credentials are sent, except to a Redis.

use std::time::Duration;

use url::Url;

use crate::config::{GEMINI_API, RESEND_API, Remedy, Secret};
use crate::services::redis;

use super::check::{Check, run};
use super::context::Context;
use super::probe::reach::{self, ReachError, RedisAnswer};
use super::verdict::Verdict;

pub(super) static CHECKS: &[Check] = &[
    Check::new(
        "services.auth_server",
        "Auth server",
        run!(Always, auth_server),
    )
    .needs(&["config.env_file"]),
    Check::new("services.redis", "Redis", run!(Always, redis_counter)).needs(&["config.env_file"]),
    Check::new("services.mail", "Mail", run!(Always, mail_provider)).needs(&["config.env_file"]),
    Check::new(
        "services.key_provider",
        "Key provider",
        run!(Always, key_provider),
    )
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
            show(
                "this shows what answers; if it is another service, correct AUTH_SERVER_URL:",
                &format!("{origin}{JWKS}"),
            ),
        ),
        Err(error) => Verdict::fail(
            format!("{origin} cannot be reached: {error}"),
            Remedy::note(format!(
                "start the auth server at {origin}, or correct AUTH_SERVER_URL"
            )),
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
            redis_password(),
        ),
        (Ok(_), _) => match redis::try_count(url, limit).await {
            Ok(()) => Verdict::pass("counts"),
            Err(error) => Verdict::fail(
                format!("answers, but does not count: {error}; each daemon counts for itself"),
                redis_remedy(url, &error),
            ),
        },
        (Err(error @ ReachError::SomethingElse(_)), _) => Verdict::fail(
            error.to_string(),
            Remedy::note("correct host and port in REDIS_URL; rediss:// is for TLS"),
        ),
        (Err(error), _) => Verdict::fail(
            format!("cannot be reached: {error}; until then each daemon counts for itself"),
            Remedy::note(
                "start that Redis, or correct REDIS_URL; to do without it, with a limit per daemon: todoctl config unset REDIS_URL",
            ),
        ),
    }
}

/// What to do about the error of a Redis that answers.
fn redis_remedy(url: &Secret, error: &str) -> Remedy {
    let has = |word: &str| error.contains(word);
    if has("WRONGPASS") || has("AuthenticationFailed") || has("authentication failed") {
        redis_password()
    } else if has("READONLY") || has("read only replica") {
        Remedy::note("name the primary in REDIS_URL, not a replica")
    } else if has("OOM") {
        Remedy::note("let Redis drop keys that expire, or raise its maxmemory (with the password in REDISCLI_AUTH if it has one):")
            .then(redis_cli(url).arg("CONFIG").arg("SET").arg("maxmemory-policy").arg("volatile-ttl"))
    } else if has("switch database") || has("DB index") {
        Remedy::set("REDIS_URL.database", 0)
    } else if has("NOPERM") {
        let user = parsed(url).map_or_else(String::new, |url| url.username().to_owned());
        let user = if user.is_empty() { "default" } else { &user };
        Remedy::note("as an administrator of Redis:").then(
            redis_cli(url)
                .arg("ACL")
                .arg("SETUSER")
                .arg(user)
                .arg("~todoctl:limit:*")
                .arg("+evalsha")
                .arg("+script|load")
                .arg("+incr")
                .arg("+pttl")
                .arg("+pexpire")
                .arg("+ping")
                .arg("+select"),
        )
    } else {
        Remedy::note("read the log of Redis, which says more")
    }
}

fn redis_password() -> Remedy {
    Remedy::note(
        "correct user and password in REDIS_URL; this asks for the password, and encodes it: todoctl config set REDIS_URL.password=-",
    )
}

fn parsed(url: &Secret) -> Option<Url> {
    Url::parse(url.expose()).ok()
}

/// Redis's client with the server's address. Never the password.
fn redis_cli(url: &Secret) -> Remedy {
    let parsed = parsed(url);
    let host = parsed
        .as_ref()
        .and_then(Url::host_str)
        .unwrap_or("127.0.0.1");
    let port = parsed.as_ref().and_then(Url::port).unwrap_or(6379);
    let client = Remedy::command("redis-cli -h")
        .arg(host)
        .arg("-p")
        .arg(port.to_string());
    match parsed {
        Some(url) if url.scheme() == "rediss" => client.arg("--tls"),
        _ => client,
    }
}

fn show(why: &str, url: &str) -> Remedy {
    Remedy::note(why).then(Remedy::command("curl -i").arg(url))
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
            format!(
                "{origin} answers, but EMAIL_FROM is not set: the provider's default sender reaches only the owner of the account"
            ),
            Remedy::note(
                "name a sender whose domain the provider has verified: todoctl config set 'EMAIL_FROM=Todo <todo@example.com>'",
            ),
        ),
        Ok(status) if status < 500 => Verdict::pass(format!("{origin} answers")),
        Ok(status) => Verdict::warn(
            format!("{origin} answers {status}: mails wait until it recovers"),
            Remedy::note(format!(
                "wait until {origin} recovers; nothing is lost before 24 hours"
            )),
        ),
        Err(error) => Verdict::warn(
            format!("{origin} cannot be reached: {error}; mails wait until it can"),
            reach(&origin, "RESEND_API_URL"),
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
            Remedy::note(format!("wait until {origin} recovers")),
        ),
        Err(error) => Verdict::warn(
            format!(
                "{origin} cannot be reached: {error}; no provider key can be saved until it can"
            ),
            reach(&origin, "GEMINI_API_URL"),
        ),
    }
}

fn reach(origin: &str, variable: &str) -> Remedy {
    Remedy::note(format!(
        "let this machine connect to {origin} (firewall, proxy), or correct {variable}"
    ))
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
