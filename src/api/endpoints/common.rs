//! What several endpoints of the table have in common.

use crate::api::endpoint::{
    Answer, BodySchema, CachePolicy, Content, Listener, OnTimeout, Options, Tag,
};
use crate::api::error_body::{ErrorEnvelope, PlainError};
use crate::api::input::{CHANGE_CONDITIONS, READ_CONDITIONS, REFRESH_COOKIES};

pub(super) const TASKS: Tag = Tag {
    name: "tasks",
    description: "A user's tasks",
};

pub(super) const KEYS: Tag = Tag {
    name: "keys",
    description: "A user's key for an AI provider",
};

pub(super) const SESSIONS: Tag = Tag {
    name: "sessions",
    description: "Refresh tokens of the sign-in service",
};

pub(super) const NOTIFICATIONS: Tag = Tag {
    name: "notifications",
    description: "Reminders about tasks",
};

pub(super) const OPERATIONS: Tag = Tag {
    name: "operations",
    description: "Probes and metrics",
};

pub(super) const DOCUMENTATION: Tag = Tag {
    name: "documentation",
    description: "This description, for programs and people",
};

pub(super) const DEFAULT: Options = Options {
    headers: &[],
    cache: CachePolicy::Unspecified,
    on_timeout: OnTimeout::Unavailable,
    listener: Listener::Public,
    is_probe: false,
};

/// Answers have an `ETag`, which a GET can name in a condition.
pub(super) const TAGGED_READ: Options = Options {
    headers: &[READ_CONDITIONS],
    cache: CachePolicy::RevalidatePrivate,
    ..DEFAULT
};

/// Answers have an `ETag`, which a change can name in a condition.
pub(super) const TAGGED_CHANGE: Options = Options {
    headers: &[CHANGE_CONDITIONS],
    cache: CachePolicy::RevalidatePrivate,
    ..DEFAULT
};

/// RFC 6749, section 5.1: tokens are not stored by caches.
pub(super) const REFRESH_TOKEN: Options = Options {
    headers: &[REFRESH_COOKIES],
    cache: CachePolicy::NoStore,
    ..DEFAULT
};

pub(super) const PROBE: Options = Options {
    cache: CachePolicy::NoStore,
    is_probe: true,
    ..DEFAULT
};

pub(super) const NO_CACHE: Options = Options {
    cache: CachePolicy::Revalidate,
    ..DEFAULT
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
