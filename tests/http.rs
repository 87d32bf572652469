//! The HTTP contract, the jobs and a model of both, with the daemon inside the test's own process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation ends a test"
)]

mod api;
mod jobs;
mod model;
mod support;
