//! Redis, where replicas count requests together.

use std::time::Duration;

use crate::config::{Remedy, Source};
use crate::diagnostics::context::Context;
use crate::diagnostics::halted::with_halted;
use crate::diagnostics::probe::reach::{self, ReachError, RedisAnswer};
use crate::diagnostics::verdict::Verdict;
use crate::services::redis::{TIMEOUT, TryError, try_count};

use super::address;
use super::tls::{self, Peer};
use client::Client;
use refusal::{correct_password, is_login, remedy, short};

mod client;
mod refusal;

const ALONE: &str = "each daemon counts for itself";

pub(super) async fn redis(context: &Context, limit: Duration) -> Verdict {
    let Some(url) = &context.audit.services.redis_url else {
        return Verdict::skip("REDIS_URL is not set: each daemon counts for itself");
    };
    let client = Client::of(url);
    // Without credentials first, so that none are sent to another service.
    match (reach::redis(url, limit).await, client.has_password) {
        (Ok(RedisAnswer::RequiresPassword), false) => Verdict::fail(
            "requires a password, and REDIS_URL has none",
            correct_password(&client),
        ),
        // Such a replica says who its primary is.
        (Ok(RedisAnswer::Refuses(why)), _) if !is_cut_off(&why) => Verdict::fail(
            format!("refuses the connection: {why}; until then {ALONE}"),
            remedy(&client, &TryError::of_message(&why)),
        ),
        (Ok(answer), _) => match try_count(url, limit).await {
            Ok(took) if took > TIMEOUT => Verdict::fail(
                format!(
                    "counts, and takes {} ms for it: the daemon waits {} ms, so {ALONE}",
                    took.as_millis(),
                    TIMEOUT.as_millis()
                ),
                Remedy::note("name a Redis in REDIS_URL that is near this machine, or find out why this one is slow; this shows its slow commands:")
                    .then(client.command(&["SLOWLOG", "GET", "10"]))
                    .then(Remedy::note("to do without it, with a limit per daemon: todoctl config unset REDIS_URL")),
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
            Err(error) => does_not_count(&client, &error, &context.request.source),
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

fn does_not_count(client: &Client, error: &TryError, source: &Source) -> Verdict {
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
    let detail = format!(
        "answers, but does not count: {}; {ALONE}",
        short(&error.message)
    );
    let Some((host, port)) = &error.primary else {
        return Verdict::fail(detail, remedy(client, error));
    };
    if is_cut_off(&error.message) {
        return Verdict::fail(
            format!("{detail}; it is a replica, and does not reach its primary {host}:{port}"),
            Remedy::note(format!(
                "start the primary {host}:{port}, or let the replica reach it; this shows the state of their connection:"
            ))
            .then(client.command(&["INFO", "replication"]))
            .then(Remedy::note(
                "where another one has become the primary, name it in REDIS_URL",
            )),
        );
    }
    Verdict::fail(
        format!("{detail}; its primary is {host}:{port}"),
        Remedy::set("REDIS_URL.host", host).then(Remedy::set("REDIS_URL.port", port)),
    )
}

/// Whether it is the answer of a replica that does not reach its primary
/// (`replica-serve-stale-data no`).
fn is_cut_off(answer: &str) -> bool {
    answer.contains("MASTERDOWN") || answer.contains("MasterDown")
}
