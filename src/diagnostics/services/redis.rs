//! Redis, where replicas count requests together.

use std::time::Duration;

use url::Url;

use crate::config::{Remedy, Secret};
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::reach::{self, ReachError, RedisAnswer};
use crate::diagnostics::verdict::Verdict;
use crate::services::redis::{TryError, try_count};

const ALONE: &str = "each daemon counts for itself";

pub(super) async fn redis(context: &Context, limit: Duration) -> Verdict {
    let Some(url) = &context.audit.services.redis_url else {
        return Verdict::skip("REDIS_URL is not set: each daemon counts for itself");
    };
    let has_password =
        parsed(url).is_some_and(|url| url.password().is_some_and(|one| !one.is_empty()));
    // Without credentials first, so that none are sent to another service.
    match (reach::redis(url, limit).await, has_password) {
        (Ok(RedisAnswer::RequiresPassword), false) => Verdict::fail(
            "requires a password, and REDIS_URL has none",
            correct_password(),
        ),
        (Ok(RedisAnswer::Refuses(why)), _) => Verdict::fail(
            format!("refuses the connection: {why}; until then {ALONE}"),
            remedy(url, &why),
        ),
        (Ok(_), _) => match try_count(url, limit).await {
            Ok(()) => Verdict::pass("counts"),
            Err(error) => does_not_count(url, &error),
        },
        (Err(error @ ReachError::NeedsTls), _) => {
            Verdict::fail(error.to_string(), Remedy::set("REDIS_URL.scheme", "rediss"))
        }
        (Err(error @ ReachError::NoTls), _) => Verdict::fail(
            error.to_string(),
            Remedy::note(
                "enable TLS in Redis (tls-port); only if the network in between is trusted: todoctl config set REDIS_URL.scheme=redis",
            ),
        ),
        (Err(error @ ReachError::SomethingElse(_)), _) => Verdict::fail(
            error.to_string(),
            Remedy::note("correct host and port in REDIS_URL; rediss:// is for TLS"),
        ),
        (Err(error), _) => Verdict::fail(
            format!("cannot be reached: {error}; until then {ALONE}"),
            Remedy::note(
                "start that Redis, or correct REDIS_URL; to do without it, with a limit per daemon: todoctl config unset REDIS_URL",
            ),
        ),
    }
}

fn does_not_count(url: &Secret, error: &TryError) -> Verdict {
    let detail = format!("answers, but does not count: {}; {ALONE}", error.message);
    let Some((host, port)) = &error.primary else {
        return Verdict::fail(detail, remedy(url, &error.message));
    };
    Verdict::fail(
        format!("{detail}; its primary is {host}:{port}"),
        Remedy::set("REDIS_URL.host", host).then(Remedy::set("REDIS_URL.port", port)),
    )
}

/// What to do about the error of a Redis that answers.
fn remedy(url: &Secret, error: &str) -> Remedy {
    let has = |word: &str| error.contains(word);
    if has("WRONGPASS") || has("AuthenticationFailed") || has("authentication failed") {
        correct_password()
    } else if has("READONLY") || has("read only replica") {
        Remedy::note("name the primary in REDIS_URL, not a replica")
    } else if has("OOM") {
        as_administrator("let Redis drop keys that expire, or raise its maxmemory").then(
            client(url)
                .arg("CONFIG")
                .arg("SET")
                .arg("maxmemory-policy")
                .arg("volatile-ttl"),
        )
    } else if has("switch database") || has("DB index") {
        Remedy::set("REDIS_URL.database", 0)
    } else if has("NOPERM") || has("NoPerm") {
        let user = parsed(url).map_or_else(String::new, |url| url.username().to_owned());
        let user = if user.is_empty() { "default" } else { &user };
        as_administrator("let the user count").then(
            client(url)
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
    } else if has("max number of clients") {
        Remedy::note(
            "raise maxclients in redis.conf and restart Redis, or end clients of other programs",
        )
    } else if has("DENIED") {
        Remedy::note(
            "Redis accepts other machines only with a password: set requirepass in redis.conf, and then: todoctl config set REDIS_URL.password=-",
        )
    } else if has("MISCONF") {
        Remedy::note(
            "Redis cannot save its data and refuses writes: make room on its disk, and read its log",
        )
    } else if has("MOVED") || has("CLUSTERDOWN") || has("ClusterDown") || has("Moved") {
        Remedy::note(
            "this is a node of a Redis Cluster, and todoctl needs a single Redis: name one in REDIS_URL",
        )
    } else {
        Remedy::note("read the log of Redis, which says more")
    }
}

fn as_administrator(what: &str) -> Remedy {
    Remedy::note(format!(
        "{what}, as an administrator of Redis (with its password in REDISCLI_AUTH if it has one):"
    ))
}

fn correct_password() -> Remedy {
    Remedy::note(
        "correct user and password in REDIS_URL; this asks for the password, and encodes it: todoctl config set REDIS_URL.password=-",
    )
}

fn parsed(url: &Secret) -> Option<Url> {
    Url::parse(url.expose()).ok()
}

/// Redis's client with the server's address. Never the password.
fn client(url: &Secret) -> Remedy {
    let parsed = parsed(url);
    let host = parsed.as_ref().and_then(Url::host_str);
    let port = parsed.as_ref().and_then(Url::port).unwrap_or(6379);
    let client = Remedy::command("redis-cli -h")
        .arg(host.unwrap_or("127.0.0.1"))
        .arg("-p")
        .arg(port.to_string());
    match parsed {
        Some(url) if url.scheme() == "rediss" => client.arg("--tls"),
        _ => client,
    }
}
