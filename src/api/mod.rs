//! The HTTP daemon.
//!
//! `server` accepts connections and hands each request to the one warp filter of `pipeline`.
//! `pipeline` has the steps of a request in their order: `router` finds the endpoint in the table
//! of `endpoints`, `auth` identifies the caller, `limits` counts the request, `input` reads and
//! validates it, the endpoint's handler answers, and `render` writes the response.

use std::sync::LazyLock;

use http::Method;

mod allowance;
mod api_keys;
mod auth;
mod body;
mod conditional;
mod connection;
mod context;
mod cors;
mod cursor;
mod docs;
mod endpoint;
mod endpoints;
mod error;
mod error_body;
mod framing;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod head;
mod health;
mod idempotency;
mod input;
mod json;
mod limits;
mod metrics;
#[cfg(feature = "micro")]
pub mod micro;
mod notifications;
mod openapi;
mod pipeline;
mod refusal;
mod refused;
mod render;
mod reply;
mod router;
mod schema_gap;
mod server;
mod slots;
mod socket;
mod status;
mod tasks;
mod tokens;
mod uninterrupted;
mod unsent;
mod workers;

pub use context::{ApiContext, SetupError};
pub use server::{ServeError, Server};

/// Method and canonical path of every endpoint; `{name}` is a variable segment.
pub fn endpoints() -> impl Iterator<Item = (&'static Method, &'static str)> {
    let table = endpoints::ENDPOINTS.iter();
    table.map(|endpoint| (&endpoint.method, endpoint.path))
}

/// The OpenAPI document.
#[must_use]
pub fn document() -> &'static utoipa::openapi::OpenApi {
    LazyLock::force(&endpoints::DOCUMENT)
}
