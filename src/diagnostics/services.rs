//! Checks of the services that the daemon uses: what it sends them is tried, and nothing of a user
//! leaves.

use super::check::{Check, run};
use super::verdict::Outcome::{Fail, Pass, Skip, Warn};

mod address;
mod auth_server;
mod key_provider;
pub(super) mod mail;
mod redis;
mod tls;

pub(super) static CHECKS: &[Check] = &[
    Check::new(
        "services.auth_server",
        "Auth server",
        run!(Always, auth_server::auth_server),
    )
    .about(
        "The auth server's public keys are fetched and parsed, its clock is compared with this \
         machine's, and the issuer that it publishes with AUTH_ISSUER. Without usable keys, \
         tokens that it issued are answered with 401 or 503. Usual causes are an auth server \
         that is not running, an AUTH_SERVER_URL with a wrong host, port or path, and keys of \
         a kind that todoctl does not accept.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .needs(&["config.env_file"]),
    Check::new("services.redis", "Redis", run!(Always, redis::redis))
        .about(
            "A counter that expires after a second is incremented in Redis, as the rate limiter \
         does it: login, database, script. Without Redis each daemon counts for itself, so \
         limits are higher than configured. Usual causes are a wrong password, a replica that \
         is read-only, full memory, a failover, and TLS on one side only.",
        )
        .outcomes(&[Pass, Fail, Skip])
        .needs(&["config.env_file"]),
    Check::new("services.mail", "Mail", run!(Always, mail::mail))
        .about(
            "The mail provider is asked for the domains of the account, which shows whether it \
         accepts the key and whether the sender's domain is verified; no mail is sent. A relay that \
         does not list domains is sent a mail without anything in it, which it has to refuse; mails of \
         the running daemon that were accepted within 6 hours are a proof as well. While mails \
         are refused they wait, and after 24 hours they are given up. Usual causes are a key that \
         was deleted, a domain that is not verified, and a firewall that forbids outgoing connections.",
        )
        .outcomes(&[Pass, Warn, Fail, Skip])
        .needs(&["config.env_file"]),
    Check::new(
        "services.key_provider",
        "Key provider",
        run!(Always, key_provider::key_provider),
    )
    .about(
        "The provider that validates API keys of users is asked about a key that cannot be \
         valid, and has to refuse it. While it does not answer, or refuses all keys for a reason that \
         is not the key's, no provider key can be saved. Usual causes are a firewall that forbids \
         outgoing connections, and a location of this machine that the provider does not serve.",
    )
    .outcomes(&[Pass, Warn])
    .needs(&["config.env_file"]),
];
