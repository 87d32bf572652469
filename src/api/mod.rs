//! The HTTP daemon.
//!
//! A request passes `server` (connection limits, timeouts), then the layers of
//! `layers` that every answer gets (request id, metrics, log line, security
//! headers, CORS, panics), then warp's filters. Which path and method lead where
//! stands in one table, [`route_table`], which metrics, `Allow` and the OpenAPI
//! test share. Handlers return `Result<_, ApiError>` as a value; a rejection
//! means only "not this route".

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

mod api_keys;
mod auth;
mod body;
mod call;
mod conditional;
pub mod context;
mod cors;
mod cursor;
pub mod docs;
mod document;
mod error;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod health;
mod idempotency;
mod layers;
mod limits;
mod metrics;
mod notifications;
mod query;
mod rejection;
mod request;
pub mod route_table;
mod schema;
mod server;
mod status;
mod tasks;
mod tokens;
mod validation;

pub use context::{ApiContext, SetupError};
pub use server::{ServeError, Server};

/// Every route, boxed a resource.
pub(crate) fn routes(context: &ApiContext) -> BoxedFilter<(Response,)> {
    tasks::routes(context)
        .or(notifications::routes(context))
        .unify()
        .or(api_keys::routes(context))
        .unify()
        .or(tokens::routes(context))
        .unify()
        .or(health::routes(context))
        .unify()
        .or(metrics::routes(context))
        .unify()
        .or(status::routes(context))
        .unify()
        .or(docs::routes(context))
        .unify()
        .recover(rejection::recover)
        .unify()
        .boxed()
}
