//! What the OpenAPI document says about headers: those that a request may have,
//! and those that every answer of a kind has.

use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr};

/// Adds the headers that answers have, and the answer to a wrong method, which belongs to no
/// operation.
pub(super) struct AnswerHeaders;

impl utoipa::Modify for AnswerHeaders {
    fn modify(&self, document: &mut OpenApi) {
        for (path, item) in &mut document.paths.paths {
            let is_tagged = matches!(path.as_str(), "/tasks/" | "/tasks/{task_id}");
            for operation in operations(item) {
                for (status, response) in &mut operation.responses.responses {
                    if let RefOr::T(response) = response {
                        add_headers(status, response, is_tagged);
                    }
                }
            }
        }
        let mut wrong_method = ResponseBuilder::new()
            .description("The path does not have this method; `Allow` names those that it has")
            .content(
                "application/json",
                Content::new(Some(Ref::from_schema_name("PlainError"))),
            )
            .header("Allow", text("The methods of the path"))
            .build();
        add_headers("405", &mut wrong_method, false);
        document
            .components
            .get_or_insert_default()
            .responses
            .insert("MethodNotAllowed".to_owned(), RefOr::T(wrong_method));
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.post,
        &mut item.put,
        &mut item.patch,
        &mut item.delete,
    ]
    .into_iter()
    .flatten()
}

/// What a route says of itself stays.
fn add_headers(status: &str, response: &mut Response, is_tagged: bool) {
    let mut add = |name: &str, header: Header| {
        let headers = &mut response.headers;
        headers.entry(name.to_owned()).or_insert(RefOr::T(header));
    };
    add("X-Request-ID", text("To be found in the log"));
    match status {
        "200" | "201" | "304" if is_tagged => {
            add("ETag", text("A strong tag of exactly this body"));
            add("Cache-Control", text("private, no-cache"));
            add("Vary", text("Authorization, X-User-ID, Origin"));
        }
        "401" => add("WWW-Authenticate", text("Bearer")),
        "503" => add(
            "Retry-After",
            header(Type::Integer, "Seconds until another try makes sense"),
        ),
        _ => {}
    }
    if status == "201" && is_tagged {
        let replayed =
            "`true` when the task was created by an earlier request with the same Idempotency-Key";
        add("Idempotency-Replayed", text(replayed));
    }
}

fn text(description: &str) -> Header {
    header(Type::String, description)
}

fn header(kind: Type, description: &str) -> Header {
    let schema: Schema = ObjectBuilder::new().schema_type(kind).build().into();
    HeaderBuilder::new()
        .schema(Some(schema))
        .description(Some(description))
        .build()
}
