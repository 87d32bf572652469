//! The parts of the OpenAPI document that no handler's types give.
//!
//! What requests may hold is declared in [`super::input`].

use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponsesBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::error_body::{CodedDetail, CodedError, ErrorEnvelope, PlainError};
use super::input::{
    BulkDelete, CHANGE_CONDITIONS, CREATE_ONCE, CompleteTask, CreateTask, Declaration, FieldError,
    Input, ListTasks, NotificationPath, READ_CONDITIONS, SaveKey, TaskPath, UpdateTask,
};

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

/// A 500 of the key status: plain if the stored key cannot be decrypted (contract 5.1).
pub struct KeyStatusError;

impl PartialSchema for KeyStatusError {
    fn schema() -> RefOr<utoipa::openapi::Schema> {
        let either = OneOfBuilder::new()
            .item(Ref::from_schema_name("PlainError"))
            .item(Ref::from_schema_name("ErrorEnvelope"));
        RefOr::T(either.build().into())
    }
}

impl ToSchema for KeyStatusError {}

/// Adds the answers that any route behind credentials can give, and what they are made of.
pub(super) struct CommonAnswers;

/// The input of each operation.
const INPUTS: &[(&str, &str, &[Option<&Declaration>])] = &[
    (
        "get",
        "/tasks/",
        &[ListTasks::DECLARATION, Some(READ_CONDITIONS)],
    ),
    (
        "post",
        "/tasks/",
        &[Some(CREATE_ONCE), CreateTask::DECLARATION],
    ),
    ("post", "/tasks/bulk-delete", &[BulkDelete::DECLARATION]),
    (
        "get",
        "/tasks/{task_id}",
        &[TaskPath::DECLARATION, Some(READ_CONDITIONS)],
    ),
    (
        "put",
        "/tasks/{task_id}",
        &[
            TaskPath::DECLARATION,
            Some(CHANGE_CONDITIONS),
            UpdateTask::DECLARATION,
        ],
    ),
    (
        "patch",
        "/tasks/{task_id}",
        &[
            TaskPath::DECLARATION,
            Some(CHANGE_CONDITIONS),
            CompleteTask::DECLARATION,
        ],
    ),
    (
        "delete",
        "/tasks/{task_id}",
        &[TaskPath::DECLARATION, Some(CHANGE_CONDITIONS)],
    ),
    (
        "patch",
        "/notifications/{notification_id}/read",
        &[NotificationPath::DECLARATION],
    ),
    ("post", "/api/user-api-keys", &[SaveKey::DECLARATION]),
];

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
        for (_, _, declarations) in INPUTS {
            for declaration in declarations.iter().copied().flatten() {
                if declaration.location.is_body() {
                    schemas.insert(declaration.name.to_owned(), declaration.schema().into());
                }
            }
        }
        for (method, path, declarations) in INPUTS {
            let Some(item) = document.paths.paths.get_mut(*path) else {
                continue;
            };
            let operation = match *method {
                "get" => &mut item.get,
                "post" => &mut item.post,
                "put" => &mut item.put,
                "patch" => &mut item.patch,
                _ => &mut item.delete,
            };
            let Some(operation) = operation else {
                continue;
            };
            for declaration in declarations.iter().copied().flatten() {
                let parameters = operation.parameters.get_or_insert_default();
                parameters.extend(declaration.parameters().into_iter().map(RefOr::T));
                if declaration.location.is_body() {
                    operation.request_body = Some(RefOr::T(declaration.request_body()));
                }
            }
        }
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
