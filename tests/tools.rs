//! The `todoctl` program as a process, and the database layer below it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation ends a test"
)]

mod cli;
mod faults;
mod migrations;
mod power;
mod runbooks;
mod serve;
mod store;
mod support;
