//! The parts of the OpenAPI document that no handler's types give.
//!
//! The shapes of bodies, queries and errors are declared here for the document
//! alone: [`super::body`] and [`super::query`] read them by hand, because serde
//! stops at the first fault, and [`super::error`] writes the errors.

use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponsesBuilder};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::{Priority, Timestamp};

use super::error::FieldError;

/// The body of `POST /tasks/`.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "documents a body")]
pub struct CreateTask {
    /// Not blank; white space at its ends is cut off.
    #[schema(min_length = 1, max_length = 200, example = "Pay rent")]
    title: String,
    /// Empty or blank is none.
    #[schema(max_length = 1000)]
    description: Option<String>,
    /// How urgent; Medium when absent.
    #[schema(value_type = Priority, required = false)]
    priority: Priority,
    /// RFC 3339; without an offset it is UTC, a date alone is its midnight.
    due_date: Option<Timestamp>,
}

/// The body of `PUT /tasks/{task_id}`; absent fields stay as they are.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "documents a body")]
pub struct UpdateTask {
    /// Null leaves it as it is.
    #[schema(min_length = 1, max_length = 200)]
    title: Option<String>,
    /// Null, empty or blank clears it.
    #[schema(max_length = 1000)]
    description: Option<String>,
    /// Null leaves it as it is.
    priority: Option<Priority>,
    /// Null clears it.
    due_date: Option<Timestamp>,
    /// Null leaves it as it is.
    completed: Option<bool>,
}

/// The body of `PATCH /tasks/{task_id}`.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "documents a body")]
pub struct CompleteTask {
    /// Done?
    completed: bool,
}

/// The body of `POST /tasks/bulk-delete`.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "documents a body")]
pub struct BulkDelete {
    /// Unknown ids are reported as not found.
    #[schema(min_items = 1)]
    task_ids: Vec<i64>,
}

/// The body of `POST /api/user-api-keys`.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "documents a body")]
pub struct SaveKey {
    /// The key; white space at its ends is cut off.
    #[schema(
        min_length = 20,
        max_length = 303,
        example = "AIzaSyExample-0123456789"
    )]
    api_key: String,
    /// Whose key it is; gemini when absent.
    #[schema(required = false, pattern = "^gemini$", example = "gemini")]
    provider: String,
}

/// The query of `GET /tasks/`.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "documents a query")]
pub struct ListParameters {
    /// Part of the title or of the description, whatever its case.
    search: Option<String>,
    /// Exactly this priority.
    priority: Option<Priority>,
    /// Done, or not.
    completed: Option<bool>,
    /// Due at or before the end of this UTC day.
    #[param(value_type = Option<String>, format = Date)]
    due_before: Option<String>,
    /// Due at or after the start of this UTC day.
    #[param(value_type = Option<String>, format = Date)]
    due_after: Option<String>,
    /// The page's number, from 1.
    #[param(minimum = 1, default = 1)]
    page: Option<i64>,
    /// Tasks on a page.
    #[param(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<i64>,
    /// Go on where a list before ended, as its `next_cursor` says; empty starts one. Nothing is
    /// counted then, and `page` must be absent.
    cursor: Option<String>,
}

/// An error raised on purpose; contract 1.1 (a).
#[derive(ToSchema)]
#[allow(dead_code, reason = "documents an answer")]
pub struct PlainError {
    /// What is wrong, for people.
    #[schema(example = "Not authenticated")]
    detail: String,
}

/// An error about a token; contract 1.1 (b).
#[derive(ToSchema)]
#[allow(dead_code, reason = "documents an answer")]
pub struct CodedError {
    detail: CodedDetail,
}

/// What is wrong with a token.
#[derive(ToSchema)]
#[allow(dead_code, reason = "documents an answer")]
pub struct CodedDetail {
    /// For programs.
    #[schema(example = "token_expired")]
    error_code: String,
    /// For people.
    message: String,
}

/// A 401 of a route that wants a token: plain without one, coded with a bad one.
pub struct CredentialsError;

impl PartialSchema for CredentialsError {
    fn schema() -> RefOr<utoipa::openapi::Schema> {
        let token = OneOfBuilder::new()
            .item(Ref::from_schema_name("PlainError"))
            .item(Ref::from_schema_name("CodedError"));
        RefOr::T(token.build().into())
    }
}

impl ToSchema for CredentialsError {}

/// A validation error or a fault of the server; contract 1.1 (c).
#[derive(ToSchema)]
#[allow(dead_code, reason = "documents an answer")]
pub struct ErrorEnvelope {
    /// `validation_error`, `integrity_error`, `database_error`, `internal_error`, `service_unavailable`.
    r#type: String,
    /// The kind of error, for people.
    title: String,
    /// The HTTP status again.
    status: u16,
    /// What is wrong, for people.
    detail: String,
    /// The request's path.
    instance: String,
    /// When, in UTC.
    #[schema(format = DateTime)]
    timestamp: String,
    /// What `X-Request-ID` says, to be found in the log.
    #[schema(required)]
    request_id: Option<String>,
    /// Each faulty field; null outside validation.
    #[schema(required)]
    errors: Option<Vec<FieldError>>,
    /// Seconds to wait before another try, where that helps.
    #[schema(required)]
    retry_after: Option<u32>,
    /// Always null.
    #[schema(required, value_type = Option<Object>)]
    rate_limit_info: Option<()>,
}

/// Either of two shapes.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "documents an answer")]
pub enum AnyError {
    /// Raised on purpose.
    Plain(PlainError),
    /// A fault of the server.
    Envelope(ErrorEnvelope),
}

/// Adds the answers that any route behind credentials can give, and what they are made of.
pub(super) struct CommonAnswers;

/// The routes that ask who is calling.
const BEHIND_CREDENTIALS: [&str; 4] = [
    "/tasks",
    "/notifications",
    "/api/user-api-keys",
    "/api/auth/logout",
];

/// Those of them that have a POST, PUT or PATCH without a body, and no query.
const WITHOUT_BODY: [&str; 2] = ["/notifications", "/api/auth"];

/// The route that is shown a credential of its own, and so counts wrong ones.
const REFRESH: &str = "/api/auth/refresh";

impl utoipa::Modify for CommonAnswers {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        let schemas = &mut components.schemas;
        schemas.insert("PlainError".to_owned(), PlainError::schema());
        schemas.insert("CodedError".to_owned(), CodedError::schema());
        schemas.insert("CodedDetail".to_owned(), CodedDetail::schema());
        schemas.insert("ErrorEnvelope".to_owned(), ErrorEnvelope::schema());
        schemas.insert("FieldError".to_owned(), FieldError::schema());
        if let Some(item) = document.paths.paths.get_mut(REFRESH)
            && let Some(operation) = &mut item.post
        {
            let responses = &mut operation.responses.responses;
            responses.insert("429".to_owned(), too_many().into());
        }
        for (path, item) in &mut document.paths.paths {
            if !BEHIND_CREDENTIALS
                .iter()
                .any(|start| path.starts_with(start))
            {
                continue;
            }
            let operations = [
                (false, &mut item.get),
                (true, &mut item.post),
                (true, &mut item.put),
                (true, &mut item.patch),
                (false, &mut item.delete),
            ];
            for (has_body, operation) in operations {
                if let Some(operation) = operation {
                    let without_body = WITHOUT_BODY.iter().any(|start| path.starts_with(start));
                    let has_body = has_body && !without_body;
                    let has_id = path.contains('{');
                    let has_fields = has_id || has_body || path == "/tasks/";
                    add_answers(operation, has_id, has_body, has_fields);
                }
            }
        }
    }
}

fn add_answers(operation: &mut Operation, has_id: bool, has_body: bool, has_fields: bool) {
    let plain = || reference("PlainError");
    let envelope = || reference("ErrorEnvelope");
    let token = OneOfBuilder::new()
        .item(Ref::from_schema_name("PlainError"))
        .item(Ref::from_schema_name("CodedError"))
        .build();
    let mut answers = vec![
        ("400", "X-User-ID or the body cannot be read", plain()),
        (
            "401",
            "No credentials, or ones that are not good",
            RefOr::T(token.into()),
        ),
        ("500", "A fault of the server", envelope()),
        (
            "503",
            "The database is not available at the moment",
            envelope(),
        ),
    ];
    if has_fields {
        answers.push((
            "422",
            "Fields are not valid; all of them are listed",
            envelope(),
        ));
    }
    if has_id {
        answers.push((
            "404",
            "There is none with this id, or it is somebody else's",
            plain(),
        ));
    }
    if has_body {
        answers.push(("408", "The body did not arrive in time", plain()));
        answers.push(("413", "The body is too large", plain()));
        answers.push(("415", "The body is not declared as JSON", plain()));
        answers.push((
            "409",
            "The change conflicts with existing data, or it is not known whether it took place",
            envelope(),
        ));
    }
    let mut responses = ResponsesBuilder::new();
    for (status, description, schema) in answers {
        responses = responses.response(status, answer(description, schema).build());
    }
    responses = responses.response("429", too_many());
    for (status, response) in responses.build().responses {
        // What a route says of itself is more precise.
        let known = &mut operation.responses.responses;
        known.entry(status).or_insert(response);
    }
}

fn answer(description: &str, schema: RefOr<utoipa::openapi::Schema>) -> ResponseBuilder {
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new()
        .description(description)
        .content("application/json", content)
}

fn too_many() -> utoipa::openapi::Response {
    let description = "Too much of this within a minute or an hour";
    let plain = answer(description, reference("PlainError"));
    limit_headers()
        .into_iter()
        .fold(plain, |answer, (name, header)| answer.header(name, header))
        .build()
}

/// What a 429 says beside its body.
fn limit_headers() -> [(&'static str, Header); 4] {
    let header = |kind: Type, text| {
        HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(kind).build()))
            .description(Some(text))
            .build()
    };
    [
        (
            "Retry-After",
            header(Type::Integer, "Seconds until another try makes sense"),
        ),
        (
            "X-RateLimit-Limit",
            header(Type::Integer, "How many are allowed"),
        ),
        ("X-RateLimit-Remaining", header(Type::Integer, "0")),
        (
            "X-RateLimit-Reset",
            header(Type::String, "When counting begins anew, in UTC"),
        ),
    ]
}

fn reference(name: &str) -> RefOr<utoipa::openapi::Schema> {
    RefOr::Ref(Ref::from_schema_name(name))
}
