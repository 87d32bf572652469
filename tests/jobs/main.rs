//! The jobs beside requests, on both engines; contract 9.2 and 10.37 to 10.41.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is what ends a test"
)]

#[path = "../support/mod.rs"]
mod support;

mod command;
mod mail;
mod pooler;
mod reminders;
mod world;

pub(crate) use support::on_both_engines;
use world::World as Fixture;
