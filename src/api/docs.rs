//! `/docs` (Swagger UI, from files inside the binary), `/redoc`, `/openapi.json`.

use std::sync::{Arc, LazyLock};

use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION,
};
use http::{HeaderValue, Method, StatusCode};
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::context::ApiContext;
use super::document::AnswerHeaders;
use super::error::ApiError;
use super::request::{Head, SharedHead, endpoint};
use super::route_table::{DOCS, DOCS_ASSET, OPENAPI, REDOC};
use super::schema::{CommonAnswers, PlainError};
use super::{api_keys, health, notifications, tasks, tokens};

/// Everything comes from this daemon; Swagger UI writes styles into its elements.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("docs/index.html");
const START: &str = include_str!("docs/start.js");

/// The OpenAPI document of this binary.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "todoctl",
        description = "Tasks of users, for browsers, tools and agents.\n\nEvery answer has an X-Request-ID: the request's own if it has one of 1 to 128 letters, digits and `-_.:/+=`. HEAD is answered wherever GET is. A path's other methods are answered 405, and `Allow` names those that it has. A path is good with and without a slash at its end.",
    ),
    paths(
        tasks::list::list_tasks,
        tasks::create_task,
        tasks::get_task,
        tasks::update_task,
        tasks::complete_task,
        tasks::delete_task,
        tasks::bulk_delete,
        api_keys::key_status,
        api_keys::save_key,
        api_keys::delete_key,
        tokens::refresh,
        tokens::logout,
        notifications::list_notifications,
        notifications::mark_read,
        notifications::mark_all_read,
        health::health,
        health::live,
        health::ready,
        super::metrics::metrics,
        super::status::status,
        page,
        asset,
        redoc,
        document,
    ),
    modifiers(&Security, &CommonAnswers, &AnswerHeaders),
    tags(
        (name = "tasks", description = "A user's tasks"),
        (name = "keys", description = "A user's key of an AI provider"),
        (name = "sessions", description = "Refresh tokens of the sign-in service"),
        (name = "notifications", description = "What a user was told about tasks"),
        (name = "operations", description = "Probes and metrics"),
        (name = "documentation", description = "This description, for programs and people"),
    ),
)]
pub struct Document;

/// How callers prove who they are.
struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(
            "bearer",
            SecurityScheme::Http(
                HttpBuilder::new()
                    .scheme(HttpAuthScheme::Bearer)
                    .description(Some(
                        "A user's JWT, a session token, or (with X-User-ID) the service token",
                    ))
                    .build(),
            ),
        );
        components.add_security_scheme(
            "user",
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                "X-User-ID",
                "For whom a service calls; only together with the service token",
            ))),
        );
        components.add_security_scheme(
            "service",
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                "X-Service-Auth",
                "The service token, where a service reads a user's key",
            ))),
        );
    }
}

/// The document as JSON, put together once.
static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| Document::openapi().to_json().unwrap_or_default());

/// Nobody has to say who they are.
pub(super) fn routes(_: &ApiContext) -> BoxedFilter<(Response,)> {
    let page = endpoint(&DOCS, Method::GET).map(|_| page());
    let asset = endpoint(&DOCS_ASSET, Method::GET).map(|head: SharedHead| asset(&head));
    let document = endpoint(&OPENAPI, Method::GET).map(|_| document());
    let redoc = endpoint(&REDOC, Method::GET).map(|_| redoc());
    page.or(asset)
        .unify()
        .or(document)
        .unify()
        .or(redoc)
        .unify()
        .boxed()
}

/// This description as a page to read and to try.
#[utoipa::path(
    get, path = "/docs", operation_id = "docs_page", tag = "documentation",
    responses((status = 200, description = "Swagger UI", body = String, content_type = "text/html")),
)]
fn page() -> Response {
    file(PAGE.as_bytes(), "text/html; charset=utf-8", false)
}

/// This description.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = "documentation",
    responses((status = 200, description = "OpenAPI", body = Object)),
)]
fn document() -> Response {
    file(DOCUMENT.as_bytes(), "application/json", false)
}

/// Leads to the page.
#[utoipa::path(
    get, path = "/redoc", operation_id = "redoc", tag = "documentation",
    responses((
        status = 307, description = "To `/docs`",
        headers(("Location" = String, description = "`/docs`")),
    )),
)]
fn redoc() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response
        .headers_mut()
        .insert(LOCATION, HeaderValue::from_static("/docs"));
    response
}

/// What the page is made of.
#[utoipa::path(
    get, path = "/docs/{asset}", operation_id = "docs_asset", tag = "documentation",
    params(("asset" = String, Path, description = "A file's name")),
    responses(
        (status = 200, description = "The file", body = Vec<u8>, content_type = "*/*"),
        (status = 404, description = "There is none of this name", body = PlainError),
    ),
)]
fn asset(head: &Head) -> Response {
    let name = head.parameter();
    if name == "start.js" {
        return file(START.as_bytes(), "text/javascript; charset=utf-8", false);
    }
    let config = Arc::new(utoipa_swagger_ui::Config::default());
    match utoipa_swagger_ui::serve(name, config) {
        Ok(Some(asset)) => {
            let mut response = Response::new(asset.bytes.into_owned().into());
            set_headers(&mut response, &asset.content_type, asset.gzpipped);
            response
        }
        Ok(None) | Err(_) => ApiError::not_found().into_response(),
    }
}

fn file(bytes: &'static [u8], content_type: &str, gzipped: bool) -> Response {
    let mut response = Response::new(bytes.into());
    set_headers(&mut response, content_type, gzipped);
    response
}

fn set_headers(response: &mut Response, content_type: &str, gzipped: bool) {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(content_type) {
        headers.insert(CONTENT_TYPE, value);
    }
    if gzipped {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(DOCS_POLICY),
    );
}
