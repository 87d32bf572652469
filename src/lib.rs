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
