//! Servers that the tests of todoctl use too.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the files are those of the tests, where a failed expectation ends a test"
)]

#[path = "../../tests/support/pgbouncer.rs"]
pub mod pgbouncer;
#[path = "../../tests/support/ports.rs"]
pub mod ports;
