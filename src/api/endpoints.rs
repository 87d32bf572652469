//! The table of endpoints.

use std::sync::LazyLock;

use http::{HeaderValue, Method};

use crate::domain::{Notification, Task};
use crate::services::daemon::DaemonStatus;

use super::endpoint::{
    Answer, CachePolicy, Call, Content, Endpoint, Inputs, Listener, OnTimeout, Subtree, handler,
};
use super::error::ApiError;
use super::error_body::{CodedError, ErrorEnvelope, PlainError};
use super::health::{Health, ProbeStatus};
use super::input::{CHANGE_CONDITIONS, CREATE_ONCE, READ_CONDITIONS, REFRESH_COOKIES};
use super::notifications::Notifications;
use super::reply::Reply;
use super::tasks::{BulkDeleted, TaskListAnswer};
use super::tokens::{AccessToken, LoggedOut};
use super::{api_keys, docs, health, metrics, notifications, openapi, status, tasks, tokens};

mod common;

use common::{
    DOCUMENTATION, KEYS, NOT_MODIFIED, NOTIFICATIONS, ON_METRICS_LISTENER, OPERATIONS,
    PRECONDITION_FAILED, REPLAYED, SERVER_ERROR, SESSIONS, TASKS, json,
};

/// Every endpoint. A slash more or less at the end of a path makes no difference.
pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: Method::GET,
        path: "/tasks/",
        name: "list_tasks",
        summary: "List tasks",
        description: "Newest first.",
        handler: handler!(UserOrService, tasks::list_tasks),
        headers: &[READ_CONDITIONS],
        answers: &[
            json!(200, "The tasks", TaskListAnswer),
            NOT_MODIFIED,
            PRECONDITION_FAILED,
        ],
        cache: CachePolicy::RevalidatePrivate,
        ..TASKS
    },
    Endpoint {
        method: Method::POST,
        path: "/tasks/",
        name: "create_task",
        summary: "Create a task",
        handler: handler!(UserOrService, tasks::create_task),
        headers: &[CREATE_ONCE],
        answers: &[Answer {
            headers: &[REPLAYED],
            ..json!(201, "The new task", Task)
        }],
        cache: CachePolicy::RevalidatePrivate,
        on_timeout: OnTimeout::OutcomeUnknown {
            unless: "Idempotency-Key",
        },
        ..TASKS
    },
    Endpoint {
        method: Method::POST,
        path: "/tasks/bulk-delete",
        name: "bulk_delete",
        summary: "Delete several tasks",
        description: "An id that does not exist is no error.",
        handler: handler!(UserOrService, tasks::bulk_delete),
        answers: &[json!(200, "The outcome for each id", BulkDeleted)],
        ..TASKS
    },
    Endpoint {
        method: Method::GET,
        path: "/tasks/{task_id}",
        name: "get_task",
        summary: "Get a task",
        handler: handler!(UserOrService, tasks::get_task),
        headers: &[READ_CONDITIONS],
        answers: &[
            json!(200, "The task", Task),
            NOT_MODIFIED,
            PRECONDITION_FAILED,
        ],
        cache: CachePolicy::RevalidatePrivate,
        ..TASKS
    },
    Endpoint {
        method: Method::PUT,
        path: "/tasks/{task_id}",
        name: "update_task",
        summary: "Change the fields that are present",
        handler: handler!(UserOrService, tasks::update_task),
        headers: &[CHANGE_CONDITIONS],
        answers: &[json!(200, "The changed task", Task), PRECONDITION_FAILED],
        cache: CachePolicy::RevalidatePrivate,
        ..TASKS
    },
    Endpoint {
        method: Method::PATCH,
        path: "/tasks/{task_id}",
        name: "complete_task",
        summary: "Mark a task as completed or not completed",
        handler: handler!(UserOrService, tasks::complete_task),
        headers: &[CHANGE_CONDITIONS],
        answers: &[json!(200, "The changed task", Task), PRECONDITION_FAILED],
        cache: CachePolicy::RevalidatePrivate,
        ..TASKS
    },
    Endpoint {
        method: Method::DELETE,
        path: "/tasks/{task_id}",
        name: "delete_task",
        summary: "Delete a task and its notifications",
        handler: handler!(UserOrService, tasks::delete_task),
        headers: &[CHANGE_CONDITIONS],
        answers: &[
            Answer::new(204, "The task is deleted", Content::Empty),
            PRECONDITION_FAILED,
        ],
        ..TASKS
    },
    Endpoint {
        method: Method::GET,
        path: "/notifications/",
        name: "list_notifications",
        summary: "List the 50 newest notifications",
        handler: handler!(UserOrService, notifications::list_notifications),
        answers: &[json!(200, "The newest notifications", Notifications)],
        ..NOTIFICATIONS
    },
    Endpoint {
        method: Method::POST,
        path: "/notifications/read-all",
        name: "mark_all_read",
        summary: "Mark all notifications as read",
        handler: handler!(UserOrService, notifications::mark_all_read),
        answers: &[Answer::new(
            204,
            "All notifications are read",
            Content::Empty,
        )],
        ..NOTIFICATIONS
    },
    Endpoint {
        method: Method::PATCH,
        path: "/notifications/{notification_id}/read",
        name: "mark_read",
        summary: "Mark a notification as read",
        description: "Marking it again changes nothing.",
        handler: handler!(UserOrService, notifications::mark_read),
        answers: &[json!(200, "The changed notification", Notification)],
        ..NOTIFICATIONS
    },
    Endpoint {
        method: Method::POST,
        path: "/api/user-api-keys",
        name: "save_key",
        summary: "Save a provider key",
        description: "The provider has to accept the key. A user has five attempts an hour.",
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
        ..KEYS
    },
    Endpoint {
        method: Method::GET,
        path: "/api/user-api-keys/current",
        name: "key_status",
        summary: "Get the state of the stored provider key",
        description: "A service that sends X-User-ID and X-Service-Auth instead of a token gets \
                      the key itself.",
        handler: handler!(UserOrKeyReader, api_keys::key_status),
        answers: &[
            json!(200, "The state of the key", api_keys::KeyStatus),
            json!(
                500,
                "The stored key cannot be read, or another server error",
                PlainError | ErrorEnvelope
            ),
        ],
        ..KEYS
    },
    Endpoint {
        method: Method::DELETE,
        path: "/api/user-api-keys/current",
        name: "delete_key",
        summary: "Delete the stored provider key",
        handler: handler!(User, api_keys::delete_key),
        answers: &[
            json!(200, "The key is deleted", api_keys::KeyDeleted),
            json!(404, "No key is stored", PlainError),
        ],
        ..KEYS
    },
    Endpoint {
        method: Method::POST,
        path: "/api/auth/refresh",
        name: "refresh",
        summary: "Get a new access token for the refresh token in the cookie",
        description: "The refresh token stays as it is.",
        handler: handler!(RefreshCookie, tokens::refresh),
        headers: &[REFRESH_COOKIES],
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
        // RFC 6749, section 5.1.
        cache: CachePolicy::NoStore,
        ..SESSIONS
    },
    Endpoint {
        method: Method::POST,
        path: "/api/auth/logout",
        name: "logout",
        summary: "Delete the refresh tokens in the cookies, and the cookies",
        description: "The access token stays valid until it expires.",
        handler: handler!(User, tokens::logout),
        headers: &[REFRESH_COOKIES],
        answers: &[Answer {
            headers: &[("Set-Cookie", "Twice: one deletes each cookie")],
            ..json!(200, "Signed out", LoggedOut)
        }],
        cache: CachePolicy::NoStore,
        ..SESSIONS
    },
    Endpoint {
        method: Method::GET,
        path: "/health",
        name: "health",
        summary: "Check the service and its database",
        handler: handler!(Open, health::health),
        answers: &[
            json!(200, "The service works", Health),
            json!(503, "The database does not answer", Health),
        ],
        cache: CachePolicy::NoStore,
        ..OPERATIONS
    },
    Endpoint {
        method: Method::GET,
        path: "/health/live",
        name: "live",
        summary: "Check that the process runs",
        description: "The database is not asked.",
        handler: handler!(Open, health::live),
        answers: &[json!(200, "The process runs", ProbeStatus)],
        cache: CachePolicy::NoStore,
        ..OPERATIONS
    },
    Endpoint {
        method: Method::GET,
        path: "/health/ready",
        name: "ready",
        summary: "Check that the process can take requests",
        handler: handler!(Open, health::ready),
        answers: &[
            json!(200, "Ready", ProbeStatus),
            json!(503, "Not ready", ProbeStatus),
        ],
        cache: CachePolicy::NoStore,
        ..OPERATIONS
    },
    Endpoint {
        method: Method::GET,
        path: "/metrics",
        name: "metrics",
        summary: "Get all metrics as Prometheus text",
        handler: handler!(Open, metrics::metrics),
        answers: &[Answer::new(
            200,
            "Prometheus text",
            Content::Text("text/plain"),
        )],
        listener: Listener::Metrics,
        ..OPERATIONS
    },
    Endpoint {
        method: Method::GET,
        path: "/status",
        name: "status",
        summary: "Get version, connection pools, mails and reminders",
        handler: handler!(Open, status::status),
        answers: &[
            json!(200, "The daemon's state", DaemonStatus),
            ON_METRICS_LISTENER,
            SERVER_ERROR,
        ],
        cache: CachePolicy::NoStore,
        listener: Listener::Metrics,
        ..OPERATIONS
    },
    Endpoint {
        method: Method::GET,
        path: "/docs",
        name: "docs_page",
        summary: "Read and try the API",
        handler: handler!(Open, docs::page),
        answers: &[Answer::new(200, "Swagger UI", Content::Text("text/html"))],
        cache: CachePolicy::Revalidate,
        ..DOCUMENTATION
    },
    Endpoint {
        method: Method::GET,
        path: "/docs/{asset}",
        name: "docs_asset",
        summary: "Get a file of the page",
        handler: handler!(Open, docs::asset),
        answers: &[
            Answer::new(200, "The file", Content::Bytes),
            json!(404, "There is no such file", PlainError),
        ],
        cache: CachePolicy::Revalidate,
        ..DOCUMENTATION
    },
    Endpoint {
        method: Method::GET,
        path: "/redoc",
        name: "redoc",
        summary: "Redirect to `/docs`",
        handler: handler!(Open, docs::redoc),
        answers: &[Answer {
            headers: &[("Location", "`/docs`")],
            ..Answer::new(307, "To `/docs`", Content::Empty)
        }],
        ..DOCUMENTATION
    },
    Endpoint {
        method: Method::GET,
        path: "/openapi.json",
        name: "openapi",
        summary: "Get this description",
        handler: handler!(Open, openapi_json),
        answers: &[Answer::new(200, "OpenAPI", Content::AnyJson)],
        cache: CachePolicy::Revalidate,
        ..DOCUMENTATION
    },
];

/// Contract section 5: the errors of any path below it too.
pub(super) static SUBTREES: &[Subtree] = &[Subtree {
    path: "/api/user-api-keys",
    cache: CachePolicy::NeverStore,
}];

/// The OpenAPI document of [`ENDPOINTS`].
pub(super) static DOCUMENT: LazyLock<utoipa::openapi::OpenApi> =
    LazyLock::new(|| openapi::document(ENDPOINTS));

async fn openapi_json(_: Call<()>, _: Inputs) -> Result<Reply, ApiError> {
    static TEXT: LazyLock<String> = LazyLock::new(|| DOCUMENT.to_json().unwrap_or_default());

    let json = HeaderValue::from_static("application/json");
    Ok(docs::file(json, TEXT.as_bytes()))
}
