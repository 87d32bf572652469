//! A replica, which does not count, and where its primary is.

use std::net::IpAddr;
use std::time::Duration;

use url::Url;

use crate::config::{Remedy, Secret};
use crate::diagnostics::probe::reach;
use crate::diagnostics::verdict::Verdict;
use crate::services::redis::{Replica, is_primary};

use super::client::Client;

/// `detail` is what it answers.
pub(super) async fn of_replica(
    client: &Client,
    url: &Secret,
    replica: &Replica,
    detail: &str,
    limit: Duration,
) -> Verdict {
    let Replica { host, port, .. } = replica;
    if !replica.is_linked {
        return Verdict::fail(
            format!("{detail}; it is a replica, and does not reach its primary {host}:{port}"),
            Remedy::note(format!(
                "start the primary {host}:{port}, or let the replica reach it; while a failover takes place, wait until it has ended; this shows the state of their connection:"
            ))
            .then(client.command(&["INFO", "replication"]))
            .then(Remedy::note(
                "where another one has become the primary, name it in REDIS_URL",
            )),
        );
    }
    let detail = format!("{detail}; its primary is {host}:{port}");
    for host in places(&client.host, host) {
        if leads_to_primary(url, host, replica, limit / 4).await {
            return Verdict::fail(
                detail,
                Remedy::set("REDIS_URL.host", host).then(Remedy::set("REDIS_URL.port", port)),
            );
        }
    }
    Verdict::fail(
        detail,
        Remedy::note(format!(
            "name the primary in REDIS_URL, with an address that leads to it from here: {host}:{port} is where the replica reaches it, and from here that did not lead to it (containers and private networks have addresses of their own)"
        )),
    )
}

/// Where the primary may be, which the replica at `own` reaches at `named`.
fn places<'a>(own: &'a str, named: &'a str) -> Vec<&'a str> {
    if is_loopback(named) && !is_loopback(own) {
        // It is on the replica's machine, and not on this one.
        return vec![own];
    }
    let mut places = vec![named, own];
    places.dedup();
    places
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Whether the replica's primary answers there. The password is sent only to a Redis.
async fn leads_to_primary(url: &Secret, host: &str, replica: &Replica, limit: Duration) -> bool {
    let Some(url) = at(url, host, replica.port) else {
        return false;
    };
    !replica.history.is_empty()
        && reach::redis(&url, limit).await.is_ok()
        && is_primary(&url, &replica.history, limit).await
}

fn at(url: &Secret, host: &str, port: u16) -> Option<Secret> {
    let mut url = Url::parse(url.expose()).ok()?;
    let is_bare = host
        .parse::<IpAddr>()
        .is_ok_and(|address| address.is_ipv6());
    let host = if is_bare {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    url.set_host(Some(&host)).ok()?;
    url.set_port(Some(port)).ok()?;
    Some(Secret::new(String::from(url)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_primary_may_be() {
        for (own, named, expected) in [
            ("127.0.0.1", "127.0.0.1", &["127.0.0.1"][..]),
            ("redis.example", "127.0.0.1", &["redis.example"]),
            ("redis.example", "10.0.0.7", &["10.0.0.7", "redis.example"]),
            ("localhost", "primary", &["primary", "localhost"]),
        ] {
            assert_eq!(places(own, named), expected, "{own} {named}");
        }
    }

    #[test]
    fn the_same_url_with_another_address() {
        let url = Secret::new("rediss://todo:canary@redis.example:6380/3");
        for (host, expected) in [
            ("10.0.0.7", "rediss://todo:canary@10.0.0.7:6379/3"),
            ("::1", "rediss://todo:canary@[::1]:6379/3"),
        ] {
            assert_eq!(at(&url, host, 6379).unwrap().expose(), expected);
        }
    }
}
