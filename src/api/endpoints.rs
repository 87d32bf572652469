//! The table of endpoints.

use std::sync::LazyLock;

use http::{HeaderValue, Method};

use crate::domain::{Notification, Task};
use crate::services::daemon::DaemonStatus;

use super::endpoint::{
    Answer, CachePolicy, Call, Content, Endpoint, Inputs, Listener, OnTimeout, Options, Subtree,
    handler,
};
use super::error::ApiError;
use super::error_body::{CodedError, ErrorEnvelope, PlainError};
use super::health::{Health, ProbeStatus};
use super::input::{CHANGE_CONDITIONS, CREATE_ONCE};
use super::notifications::Notifications;
use super::reply::Reply;
use super::tasks::{BulkDeleted, TaskListAnswer};
use super::tokens::{AccessToken, LoggedOut};
use super::{api_keys, docs, health, metrics, notifications, openapi, status, tasks, tokens};

mod common;

use common::{
    DEFAULT, DOCUMENTATION, KEYS, NO_CACHE, NOT_MODIFIED, NOTIFICATIONS, ON_METRICS_LISTENER,
    OPERATIONS, PRECONDITION_FAILED, PROBE, REFRESH_TOKEN, REPLAYED, SERVER_ERROR, SESSIONS,
    TAGGED_CHANGE, TAGGED_READ, TASKS, json,
};

/// Every endpoint. A slash more or less at the end of a path makes no difference.
pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: Method::GET,
        path: "/tasks/",
        tag: &TASKS,
        doc: "List tasks\n\nNewest first.",
        handler: handler!(UserOrService, tasks::list_tasks),
        answers: &[
            json!(200, "The tasks", TaskListAnswer),
            NOT_MODIFIED,
            PRECONDITION_FAILED,
        ],
        options: TAGGED_READ,
    },
    Endpoint {
        method: Method::POST,
        path: "/tasks/",
        tag: &TASKS,
        doc: "Create a task",
        handler: handler!(UserOrService, tasks::create_task),
        answers: &[Answer {
            headers: &[REPLAYED],
            ..json!(201, "The new task", Task)
        }],
        options: Options {
            headers: &[CREATE_ONCE],
            cache: CachePolicy::RevalidatePrivate,
            on_timeout: OnTimeout::OutcomeUnknown {
                unless: "Idempotency-Key",
            },
            ..DEFAULT
        },
    },
    Endpoint {
        method: Method::POST,
        path: "/tasks/bulk-delete",
        tag: &TASKS,
        doc: "Delete several tasks\n\nAn id that does not exist is no error.",
        handler: handler!(UserOrService, tasks::bulk_delete),
        answers: &[json!(200, "The outcome for each id", BulkDeleted)],
        options: DEFAULT,
    },
    Endpoint {
        method: Method::GET,
        path: "/tasks/{task_id}",
        tag: &TASKS,
        doc: "Get a task",
        handler: handler!(UserOrService, tasks::get_task),
        answers: &[
            json!(200, "The task", Task),
            NOT_MODIFIED,
            PRECONDITION_FAILED,
        ],
        options: TAGGED_READ,
    },
    Endpoint {
        method: Method::PUT,
        path: "/tasks/{task_id}",
        tag: &TASKS,
        doc: "Change the fields that are present",
        handler: handler!(UserOrService, tasks::update_task),
        answers: &[json!(200, "The changed task", Task), PRECONDITION_FAILED],
        options: TAGGED_CHANGE,
    },
    Endpoint {
        method: Method::PATCH,
        path: "/tasks/{task_id}",
        tag: &TASKS,
        doc: "Mark a task as completed or not completed",
        handler: handler!(UserOrService, tasks::complete_task),
        answers: &[json!(200, "The changed task", Task), PRECONDITION_FAILED],
        options: TAGGED_CHANGE,
    },
    Endpoint {
        method: Method::DELETE,
        path: "/tasks/{task_id}",
        tag: &TASKS,
        doc: "Delete a task and its notifications",
        handler: handler!(UserOrService, tasks::delete_task),
        answers: &[
            Answer::new(204, "The task is deleted", Content::Empty),
            PRECONDITION_FAILED,
        ],
        options: Options {
            headers: &[CHANGE_CONDITIONS],
            ..DEFAULT
        },
    },
    Endpoint {
        method: Method::GET,
        path: "/notifications/",
        tag: &NOTIFICATIONS,
        doc: "List the 50 newest notifications",
        handler: handler!(UserOrService, notifications::list_notifications),
        answers: &[json!(200, "The newest notifications", Notifications)],
        options: DEFAULT,
    },
    Endpoint {
        method: Method::POST,
        path: "/notifications/read-all",
        tag: &NOTIFICATIONS,
        doc: "Mark all notifications as read",
        handler: handler!(UserOrService, notifications::mark_all_read),
        answers: &[Answer::new(
            204,
            "All notifications are read",
            Content::Empty,
        )],
        options: DEFAULT,
    },
    Endpoint {
        method: Method::PATCH,
        path: "/notifications/{notification_id}/read",
        tag: &NOTIFICATIONS,
        doc: "Mark a notification as read\n\nMarking it again changes nothing.",
        handler: handler!(UserOrService, notifications::mark_read),
        answers: &[json!(200, "The changed notification", Notification)],
        options: DEFAULT,
    },
    Endpoint {
        method: Method::POST,
        path: "/api/user-api-keys",
        tag: &KEYS,
        doc: "Save a provider key\n\nThe provider has to accept the key. A user has five attempts an hour.",
        handler: handler!(User, api_keys::save_key),
        answers: &[
            json!(
                201,
                "The key is saved and replaces an older one",
                api_keys::KeySaved
            ),
            json!(
                400,
                "The key is malformed or the provider did not accept it; the text says why",
                PlainError
            ),
        ],
        options: DEFAULT,
    },
    Endpoint {
        method: Method::GET,
        path: "/api/user-api-keys/current",
        tag: &KEYS,
        doc: "Get the state of the stored provider key\n\nA service that sends X-User-ID and X-Service-Auth instead of a token gets the key itself.",
        handler: handler!(UserOrKeyReader, api_keys::key_status),
        answers: &[
            json!(200, "The state of the key", api_keys::KeyStatus),
            json!(
                500,
                "The stored key cannot be read, or another server error",
                PlainError | ErrorEnvelope
            ),
        ],
        options: DEFAULT,
    },
    Endpoint {
        method: Method::DELETE,
        path: "/api/user-api-keys/current",
        tag: &KEYS,
        doc: "Delete the stored provider key",
        handler: handler!(User, api_keys::delete_key),
        answers: &[
            json!(200, "The key is deleted", api_keys::KeyDeleted),
            json!(404, "No key is stored", PlainError),
        ],
        options: DEFAULT,
    },
    Endpoint {
        method: Method::POST,
        path: "/api/auth/refresh",
        tag: &SESSIONS,
        doc: "Get a new access token for the refresh token in the cookie\n\nThe refresh token stays as it is.",
        handler: handler!(RefreshCookie, tokens::refresh),
        answers: &[
            json!(200, "An access token", AccessToken),
            json!(
                401,
                "There is no refresh token, or it is unknown or expired",
                CodedError
            ),
            json!(
                503,
                "The database is not available, or JWT_SECRET is not configured",
                ErrorEnvelope
            ),
        ],
        options: REFRESH_TOKEN,
    },
    Endpoint {
        method: Method::POST,
        path: "/api/auth/logout",
        tag: &SESSIONS,
        doc: "Delete the refresh tokens in the cookies, and the cookies\n\nThe access token stays valid until it expires.",
        handler: handler!(User, tokens::logout),
        answers: &[Answer {
            headers: &[("Set-Cookie", "Twice: one deletes each cookie")],
            ..json!(200, "Signed out", LoggedOut)
        }],
        options: REFRESH_TOKEN,
    },
    Endpoint {
        method: Method::GET,
        path: "/health",
        tag: &OPERATIONS,
        doc: "Check the service and its database",
        handler: handler!(Open, health::health),
        answers: &[
            json!(200, "The service works", Health),
            json!(503, "The database does not answer", Health),
        ],
        options: PROBE,
    },
    Endpoint {
        method: Method::GET,
        path: "/health/live",
        tag: &OPERATIONS,
        doc: "Check that the process runs\n\nThe database is not asked.",
        handler: handler!(Open, health::live),
        answers: &[json!(200, "The process runs", ProbeStatus)],
        options: PROBE,
    },
    Endpoint {
        method: Method::GET,
        path: "/health/ready",
        tag: &OPERATIONS,
        doc: "Check that the process can take requests",
        handler: handler!(Open, health::ready),
        answers: &[
            json!(200, "Ready", ProbeStatus),
            json!(503, "Not ready", ProbeStatus),
        ],
        options: PROBE,
    },
    Endpoint {
        method: Method::GET,
        path: "/metrics",
        tag: &OPERATIONS,
        doc: "Get all metrics as Prometheus text",
        handler: handler!(Open, metrics::metrics),
        answers: &[
            Answer::new(200, "Prometheus text", Content::Text("text/plain")),
            ON_METRICS_LISTENER,
            SERVER_ERROR,
        ],
        options: Options {
            listener: Listener::Metrics,
            is_probe: true,
            ..DEFAULT
        },
    },
    Endpoint {
        method: Method::GET,
        path: "/status",
        tag: &OPERATIONS,
        doc: "Get version, connection pools, mails and reminders",
        handler: handler!(Open, status::status),
        answers: &[
            json!(200, "The daemon's state", DaemonStatus),
            ON_METRICS_LISTENER,
            SERVER_ERROR,
        ],
        options: Options {
            listener: Listener::Metrics,
            ..PROBE
        },
    },
    Endpoint {
        method: Method::GET,
        path: "/docs",
        tag: &DOCUMENTATION,
        doc: "Read and try the API",
        handler: handler!(Open, docs::docs_page),
        answers: &[Answer::new(200, "Swagger UI", Content::Text("text/html"))],
        options: NO_CACHE,
    },
    Endpoint {
        method: Method::GET,
        path: "/docs/{asset}",
        tag: &DOCUMENTATION,
        doc: "Get a file of the page",
        handler: handler!(Open, docs::docs_asset),
        answers: &[
            Answer::new(200, "The file", Content::Bytes),
            json!(404, "There is no such file", PlainError),
        ],
        options: NO_CACHE,
    },
    Endpoint {
        method: Method::GET,
        path: "/redoc",
        tag: &DOCUMENTATION,
        doc: "Redirect to `/docs`",
        handler: handler!(Open, docs::redoc),
        answers: &[Answer {
            headers: &[("Location", "`/docs`")],
            ..Answer::new(307, "To `/docs`", Content::Empty)
        }],
        options: DEFAULT,
    },
    Endpoint {
        method: Method::GET,
        path: "/openapi.json",
        tag: &DOCUMENTATION,
        doc: "Get this description",
        handler: handler!(Open, openapi),
        answers: &[Answer::new(200, "OpenAPI", Content::AnyJson)],
        options: NO_CACHE,
    },
];

/// contract section 5: the errors of any path below it too.
pub(super) static SUBTREES: &[Subtree] = &[Subtree {
    path: "/api/user-api-keys",
    cache: CachePolicy::NeverStore,
}];

/// The OpenAPI document of [`ENDPOINTS`].
pub(super) static DOCUMENT: LazyLock<utoipa::openapi::OpenApi> =
    LazyLock::new(|| openapi::document(ENDPOINTS));

async fn openapi(_: Call<()>, _: Inputs) -> Result<Reply, ApiError> {
    static TEXT: LazyLock<String> = LazyLock::new(|| DOCUMENT.to_json().unwrap_or_default());

    let json = HeaderValue::from_static("application/json");
    Ok(docs::file(json, TEXT.as_bytes()))
}

#[cfg(test)]
mod tests;
