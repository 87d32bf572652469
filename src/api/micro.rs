//! The steps of a request that `benches/micro.rs` measures, each by itself.

use std::sync::LazyLock;

use http::{HeaderMap, Method};

use crate::domain::Task;

use super::auth;
use super::endpoints::{ENDPOINTS, SUBTREES};
use super::input::{self, CreateTask, ListTasks, Sources, parse_json};
use super::json::ToJson as _;
use super::router::Router;

pub use auth::micro::{access_token, identify};

static ROUTER: LazyLock<Router> = LazyLock::new(|| {
    Router::new(ENDPOINTS, SUBTREES).unwrap_or_else(|error| unreachable!("{error}"))
});

/// Finds the endpoint of a path, and returns its label.
#[must_use]
pub fn route(path: &str) -> &'static str {
    ROUTER.find(&Method::GET, path).label()
}

/// Whether a query of the list of tasks is valid.
#[must_use]
pub fn read_query(query: &str) -> bool {
    let sources = Sources {
        query,
        ..Sources::default()
    };
    input::read::<(), ListTasks, ()>(&sources).is_ok()
}

/// Whether a body creates a task.
#[must_use]
pub fn read_body(body: &[u8]) -> bool {
    let Ok(body) = parse_json(&HeaderMap::new(), body) else {
        return false;
    };
    let sources = Sources {
        body: body.as_ref(),
        ..Sources::default()
    };
    input::read::<(), (), CreateTask>(&sources).is_ok()
}

/// Tasks as JSON.
#[must_use]
pub fn serialize(tasks: &[Task]) -> Vec<u8> {
    tasks.to_json()
}
