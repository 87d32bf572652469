//! What several endpoints of the table have in common.

use http::Method;

use crate::api::endpoint::{
    Answer, BodySchema, CachePolicy, Content, Endpoint, Listener, OnTimeout, handler,
};
use crate::api::error_body::{ErrorEnvelope, PlainError};
use crate::api::health;

/// The defaults of a field that an entry leaves out.
const COMMON: Endpoint = Endpoint {
    method: Method::GET,
    path: "",
    name: "",
    tag: "",
    summary: "",
    description: "",
    handler: handler!(Open, health::live),
    headers: &[],
    answers: &[],
    cache: CachePolicy::Unspecified,
    on_timeout: OnTimeout::Unavailable,
    listener: Listener::Public,
};

pub(super) const TASKS: Endpoint = Endpoint {
    tag: "tasks",
    ..COMMON
};

pub(super) const NOTIFICATIONS: Endpoint = Endpoint {
    tag: "notifications",
    ..COMMON
};

pub(super) const KEYS: Endpoint = Endpoint {
    tag: "keys",
    ..COMMON
};

pub(super) const SESSIONS: Endpoint = Endpoint {
    tag: "sessions",
    ..COMMON
};

pub(super) const OPERATIONS: Endpoint = Endpoint {
    tag: "operations",
    ..COMMON
};

pub(super) const DOCUMENTATION: Endpoint = Endpoint {
    tag: "documentation",
    ..COMMON
};

pub(super) const NOT_MODIFIED: Answer = Answer::new(
    304,
    "Not modified: the client has the current version",
    Content::Empty,
);

pub(super) const PRECONDITION_FAILED: Answer = Answer::new(
    412,
    "Precondition failed: the ETag does not match",
    Content::Json(&[BodySchema::of::<PlainError>()]),
);

pub(super) const ON_METRICS_LISTENER: Answer = Answer::new(
    404,
    "METRICS_ADDR is set, and that listener serves it",
    Content::Json(&[BodySchema::of::<PlainError>()]),
);

pub(super) const SERVER_ERROR: Answer = Answer::new(
    500,
    "Server error",
    Content::Json(&[BodySchema::of::<ErrorEnvelope>()]),
);

pub(super) const REPLAYED: (&str, &str) = (
    "Idempotency-Replayed",
    "`true` if an earlier request with the same Idempotency-Key created the task",
);

/// A documented answer with a JSON body of one of these types.
macro_rules! json {
    ($status:literal, $description:literal, $($body:ty)|+) => {
        $crate::api::endpoint::Answer::new(
            $status,
            $description,
            $crate::api::endpoint::Content::Json(&[
                $($crate::api::endpoint::BodySchema::of::<$body>()),+
            ]),
        )
    };
}

pub(super) use json;
