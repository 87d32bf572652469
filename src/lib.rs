//! todoctl: a todo API daemon and the toolkit that runs it.
//!
//! Who may know whom: `main -> cli -> {api, jobs, diagnostics} -> {store,
//! services} -> {config, domain, clock}`. `api` and `diagnostics` never import each other,
//! [`store`] knows neither warp nor clap, [`domain`] knows nobody. See
//! `docs/architecture.md` for the reasons.

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

/// The commit this was built from, seven digits; empty where it is not known.
pub const COMMIT: &str = env!("TODOCTL_BUILT_FROM");

/// `0.1.0 (1a2b3c4)`, or the number alone where the commit is not known.
pub const VERSION: &str = env!("TODOCTL_VERSION");
