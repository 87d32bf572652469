//! A todo API daemon and the toolkit that runs it, in one binary.
//!
//! Allowed dependencies between the modules: `main -> cli -> {api, jobs, diagnostics} ->
//! {store, services} -> {config, domain, clock}`. `docs/architecture.md` gives the reasons.

// The types of nested futures are deeper than the default allows.
#![recursion_limit = "256"]

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod diagnostics;
pub mod domain;
pub mod jobs;
pub mod services;
pub mod store;
pub mod telemetry;

#[cfg(fuzzing)]
#[doc(hidden)]
pub use api::fuzzing;

/// The commit of the build, seven digits; empty if it is unknown.
pub const COMMIT: &str = env!("TODOCTL_BUILT_FROM");

/// `0.1.0 (1a2b3c4)`, or `0.1.0` if the commit is unknown.
pub const VERSION: &str = env!("TODOCTL_VERSION");
