//! Headers and cookies that a request may have; contract 6 and 13.
//!
//! They are declared for the OpenAPI document. The modules that act on them read them, because a
//! malformed header is not a validation error.

use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};

use super::declaration::{Declaration, Field, Location};
use crate::domain::IdempotencyKey;

/// The conditions of a GET.
pub(crate) const READ_CONDITIONS: &Declaration = &Declaration::new(
    "ReadConditions",
    Location::Header,
    "Conditions of a request that reads.",
    &[
        Field::optional(
            "If-None-Match",
            "ETags that the client has, or `*`. If one of them is the current one (weak \
             comparison), the answer is 304.",
            string,
        ),
        Field::optional(
            "If-Match",
            "ETags, or `*`. If none of them is the current one (strong comparison), the answer \
             is 412.",
            string,
        ),
    ],
);

/// The conditions of a change.
pub(crate) const CHANGE_CONDITIONS: &Declaration = &Declaration::new(
    "ChangeConditions",
    Location::Header,
    "Conditions of a request that changes a task.",
    &[
        Field::optional(
            "If-Match",
            "ETags, or `*`. If none of them is the task's current one (strong comparison), \
             nothing changes and the answer is 412.",
            string,
        ),
        Field::optional(
            "If-None-Match",
            "ETags, or `*`. If one of them is the task's current one, nothing changes and the \
             answer is 412.",
            string,
        ),
    ],
);

/// What makes a creation repeatable.
pub(crate) const CREATE_ONCE: &Declaration = &Declaration::new(
    "CreateOnce",
    Location::Header,
    "Makes a creation repeatable.",
    &[Field::optional(
        "Idempotency-Key",
        "A name for this creation, unique among the user's. If it is sent again within 24 hours \
         with an equal task, the first answer is repeated. With a different task the answer is \
         422.",
        idempotency_key,
    )],
);

/// The refresh token; contract section 6.
pub(crate) const REFRESH_COOKIES: &Declaration = &Declaration::new(
    "RefreshCookies",
    Location::Cookie,
    "The refresh token.",
    &[
        Field::optional("refresh_token", "The refresh token.", string),
        Field::optional(
            "refreshToken",
            "The refresh token, by the former name of the cookie.",
            string,
        ),
    ],
);

fn string() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).into()
}

fn idempotency_key() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(IdempotencyKey::MAX_CHARS))
        .pattern(Some("^[!-~]+$"))
        .into()
}
