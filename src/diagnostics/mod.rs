//! Checks as data: what is well, what is not, and what to type about it.
//!
//! A check returns a value and never an error, so that one fault does not hide
//! the next; what cannot be looked at because of an earlier fault is skipped
//! with the reason. Nothing here prints, and nothing changes anything.

pub mod check;
pub mod config;
pub mod daemon;
pub mod database;
mod directory;
pub mod doctor;
pub mod explain;
pub mod migrations;
pub mod services;

pub use check::{Budget, Check, Outcome, Report, Summary};
