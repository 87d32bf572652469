//! Servers that the tests of todoctl use too.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the files are those of the tests, where a failed expectation ends a test"
)]

#[path = "../../tests/support/auth_peer.rs"]
pub mod auth_peer;
#[path = "../../tests/support/http_peer.rs"]
pub mod http_peer;
#[path = "../../tests/support/mail_peer.rs"]
pub mod mail_peer;
#[path = "../../tests/support/pgbouncer.rs"]
pub mod pgbouncer;
#[path = "../../tests/support/ports.rs"]
pub mod ports;
#[path = "../../tests/support/redis.rs"]
pub mod redis;
