//! Redis, where replicas count requests together.

use std::time::{Duration, Instant};

use crate::config::{Remedy, Secret, Source};
use crate::diagnostics::context::Context;
use crate::diagnostics::halted::with_halted;
use crate::diagnostics::probe::reach::{self, ReachError, RedisAnswer};
use crate::diagnostics::verdict::Verdict;
use crate::services::redis::{TIMEOUT, TryError, try_count};

use super::address;
use super::tls::{self, Peer};
use client::Client;
use refusal::{correct_password, is_login, paused, remedy, short, slow};
use replica::of_replica;

mod client;
mod refusal;
mod replica;

const ALONE: &str = "each daemon counts for itself";

pub(super) async fn redis(context: &Context, limit: Duration) -> Verdict {
    let Some(url) = &context.audit.services.redis_url else {
        return Verdict::skip("REDIS_URL is not set: each daemon counts for itself");
    };
    let client = Client::of(url);
    let until = Instant::now() + limit;
    // Without credentials first, so that none are sent to another service.
    match (reach::redis(url, limit).await, client.has_password) {
        (Ok((RedisAnswer::RequiresPassword, _)), false) => Verdict::fail(
            "requires a password, and REDIS_URL has none",
            correct_password(&client),
        ),
        // A replica that does not reach its primary says who that is.
        (Ok((RedisAnswer::Refuses(why), _)), _) if !why.starts_with("MASTERDOWN") => Verdict::fail(
            format!("refuses the connection: {why}; until then {ALONE}"),
            remedy(&client, &TryError::of_message(&why)),
        ),
        (Ok((answer, pong)), _) => match try_count(url, until - Instant::now()).await {
            Ok(took) if took > TIMEOUT => Verdict::fail(
                format!(
                    "counts, and takes {} ms for it: the daemon waits {} ms, so {ALONE}",
                    took.as_millis(),
                    TIMEOUT.as_millis()
                ),
                slow(&client),
            ),
            Err(error) if error.is_late && pong > TIMEOUT => Verdict::fail(
                format!(
                    "answers after {} ms: the daemon waits {} ms, so {ALONE}",
                    pong.as_millis(),
                    TIMEOUT.as_millis()
                ),
                slow(&client),
            ),
            Ok(_) => Verdict::pass("counts"),
            Err(error)
                if answer == RedisAnswer::Open
                    && client.has_password
                    && client.user == "default"
                    && is_login(&error.message) =>
            {
                Verdict::fail(
                    format!("requires no password, and REDIS_URL has one; {ALONE}"),
                    Remedy::unset("REDIS_URL.password"),
                )
            }
            Err(error) => {
                let source = &context.request.source;
                does_not_count(&client, url, &error, source, limit).await
            }
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
        (Err(error @ ReachError::Closed), _) => Verdict::fail(
            format!("{error}; until then {ALONE}"),
            Remedy::note("correct host and port in REDIS_URL; a load balancer or a tunnel there may have no Redis behind it, or refuse this machine: its log says which")
                .then(refusal::without()),
        ),
        (Err(error @ ReachError::Silent(_)), _) => {
            let verdict = Verdict::fail(
                format!("{error}; until then {ALONE}"),
                Remedy::note("find out why it is silent: another service may listen there (correct host and port in REDIS_URL), all clients of that Redis may be paused (CLIENT PAUSE ends by itself), one command may keep it busy, or its machine has no memory left")
                    .then(refusal::without()),
            );
            with_halted(verdict, &client.host, client.port).await
        }
        (Err(error), _) => {
            let start = Remedy::note(
                "start that Redis, or correct REDIS_URL; to do without it, with a limit per daemon: todoctl config unset REDIS_URL",
            );
            let origin = format!("{}:{}", client.host, client.port);
            let verdict = Verdict::fail(
                format!("cannot be reached: {error}; until then {ALONE}"),
                address::reach(
                    &origin,
                    "REDIS_URL",
                    &error.to_string(),
                    &context.request.source,
                    start,
                ),
            );
            with_halted(verdict, &client.host, client.port).await
        }
    }
}

async fn does_not_count(
    client: &Client,
    url: &Secret,
    error: &TryError,
    source: &Source,
    limit: Duration,
) -> Verdict {
    let peer = Peer {
        origin: &format!("{}:{}", client.host, client.port),
        variable: "REDIS_URL",
        source,
    };
    // The client that counts trusts SSL_CERT_FILE alone, and the first question public CAs too.
    if let Some(remedy) = tls::remedy(&peer, &error.message) {
        return Verdict::fail(
            format!("cannot be reached: {}; until then {ALONE}", error.message),
            remedy,
        );
    }
    if error.is_sentinel() {
        return Verdict::fail(
            "is a Sentinel, which watches others and counts nothing",
            Remedy::note("name the Redis that it watches in REDIS_URL; this shows them:")
                .then(client.command(&["SENTINEL", "MASTERS"])),
        );
    }
    if error.is_paused {
        return Verdict::fail(
            format!(
                "answers questions, and nothing that changes a key: its writes are paused (CLIENT PAUSE), as during a failover or an upgrade; until then {ALONE}"
            ),
            paused(client),
        );
    }
    let detail = format!(
        "answers, but does not count: {}; {ALONE}",
        short(&error.message)
    );
    match &error.replica {
        Some(replica) => of_replica(client, url, replica, &detail, limit).await,
        None if error.is_late => Verdict::fail(detail, slow(client)),
        None => Verdict::fail(detail, remedy(client, error)),
    }
}
