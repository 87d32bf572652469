//! The OpenAPI document, derived from a table of endpoints.

use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, PathsBuilder};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::tag::{Tag, TagBuilder};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder,
    PathItem, Ref, RefOr, ResponsesBuilder, Schema,
};

use super::auth::Access;
use super::endpoint::{Answer, BodySchema, CachePolicy, Content, Endpoint, Run};
use super::error_body::{CodedError, ErrorEnvelope, PlainError};
use super::input::Declaration;

const DESCRIPTION: &str = "\
Tasks of users, for browsers, tools and agents.

Every response has an X-Request-ID: the request's own if that is 1 to 128 letters, digits and \
`-_.:/+=`. HEAD is answered wherever GET is. Other methods of a path are answered with 405; \
`Allow` lists the methods of the path. A slash at the end of a path makes no difference.";

const PLAIN: BodySchema = BodySchema::of::<PlainError>();
const CODED: BodySchema = BodySchema::of::<CodedError>();
const ENVELOPE: BodySchema = BodySchema::of::<ErrorEnvelope>();

/// Describes `endpoints`.
pub(super) fn document(endpoints: &[Endpoint]) -> OpenApi {
    let mut paths = PathsBuilder::new();
    for endpoint in endpoints {
        let item = PathItem::new(http_method(endpoint), operation(endpoint));
        paths = paths.path(endpoint.path, item);
    }
    let mut tags: Vec<Tag> = Vec::new();
    for endpoint in endpoints {
        let tag = endpoint.tag;
        if tags.iter().all(|known| known.name != tag.name) {
            let description = Some(tag.description);
            tags.push(
                TagBuilder::new()
                    .name(tag.name)
                    .description(description)
                    .build(),
            );
        }
    }
    let license = LicenseBuilder::new()
        .name(env!("CARGO_PKG_LICENSE"))
        .identifier(Some(env!("CARGO_PKG_LICENSE")))
        .build();
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("todoctl")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(DESCRIPTION))
                .license(Some(license))
                .build(),
        )
        .paths(paths)
        .components(Some(components(endpoints)))
        .tags(Some(tags))
        .build()
}

fn http_method(endpoint: &Endpoint) -> HttpMethod {
    match endpoint.method.as_str() {
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "PATCH" => HttpMethod::Patch,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn operation(endpoint: &Endpoint) -> Operation {
    let inputs = &endpoint.handler.inputs;
    let (summary, details) = match endpoint.doc.split_once("\n\n") {
        Some((summary, details)) => (summary, Some(details)),
        None => (endpoint.doc, None),
    };
    let mut operation = OperationBuilder::new()
        .operation_id(Some(endpoint.handler.name()))
        .tag(endpoint.tag.name)
        .summary(Some(summary))
        .description(details);
    let declared = [inputs.path, inputs.query].into_iter().flatten();
    for declaration in declared.chain(endpoint.options.headers.iter().copied()) {
        for parameter in declaration.parameters() {
            operation = operation.parameter(parameter);
        }
    }
    operation = operation.request_body(inputs.body.map(Declaration::request_body));
    for requirement in security(&endpoint.handler.run) {
        operation = operation.security(requirement);
    }
    let mut responses = ResponsesBuilder::new();
    for answer in endpoint.answers {
        responses = responses.response(answer.status.to_string(), response(endpoint, answer));
    }
    for answer in derived_answers(endpoint) {
        // What an endpoint declares itself is more precise.
        if endpoint
            .answers
            .iter()
            .all(|declared| declared.status != answer.status)
        {
            responses = responses.response(answer.status.to_string(), response(endpoint, &answer));
        }
    }
    operation.responses(responses).build()
}

/// The credentials that an endpoint accepts, as alternatives.
fn security(run: &Run) -> Vec<SecurityRequirement> {
    let scheme = |name: &str| SecurityRequirement::new(name, Vec::<String>::new());
    let with_user = |name: &str| scheme(name).add("user", Vec::<String>::new());
    match run {
        Run::Open(_) | Run::RefreshCookie(_) => Vec::new(),
        Run::Restricted(Access::User, _) => vec![scheme("bearer")],
        Run::Restricted(Access::UserOrService, _) => vec![scheme("bearer"), with_user("bearer")],
        Run::Restricted(Access::UserOrKeyReader, _) => {
            vec![scheme("bearer"), with_user("service")]
        }
    }
}

/// The answers that follow from who may call and what the request holds.
fn derived_answers(endpoint: &Endpoint) -> Vec<Answer> {
    const fn json(status: u16, text: &'static str, schemas: &'static [BodySchema]) -> Answer {
        Answer::new(status, text, Content::Json(schemas))
    }

    let server_error = json(500, "Server error", &[ENVELOPE]);
    let limited = json(429, "Rate limit exceeded", &[PLAIN]);
    let mut answers = match &endpoint.handler.run {
        Run::Open(_) => return Vec::new(),
        Run::RefreshCookie(_) => vec![server_error, limited],
        Run::Restricted(..) => vec![
            json(400, "X-User-ID or the body cannot be read", &[PLAIN]),
            json(
                401,
                "The credentials are missing or not valid",
                &[PLAIN, CODED],
            ),
            server_error,
            json(
                503,
                "The database or the auth server is not available",
                &[ENVELOPE],
            ),
            limited,
        ],
    };
    let inputs = &endpoint.handler.inputs;
    if inputs.path.is_some() {
        answers.push(json(
            404,
            "The id does not exist or belongs to another user",
            &[PLAIN],
        ));
    }
    if inputs.path.is_some() || inputs.query.is_some() || inputs.body.is_some() {
        answers.push(json(
            422,
            "Invalid fields; the answer lists all of them",
            &[ENVELOPE],
        ));
    }
    if inputs.body.is_some() {
        answers.extend([
            json(408, "The body did not arrive in time", &[PLAIN]),
            json(
                409,
                "The change conflicts with existing data, or its outcome is not known",
                &[ENVELOPE],
            ),
            json(413, "The body is too large", &[PLAIN]),
            json(415, "The body is not declared as JSON", &[PLAIN]),
        ]);
    }
    answers
}

fn response(endpoint: &Endpoint, answer: &Answer) -> Response {
    let mut response = ResponseBuilder::new().description(answer.description);
    if let Some((media_type, schema)) = content(&answer.content) {
        let content = ContentBuilder::new().schema(Some(schema)).build();
        response = response.content(media_type, content);
    }
    for (name, description) in answer.headers {
        response = response.header(*name, text(description));
    }
    response = response.header("X-Request-ID", text("The request's id in the log"));
    if answer.status < 400 {
        for (name, value) in endpoint.options.cache.headers() {
            let value = value.to_str().unwrap_or_default();
            // Every response depends on the origin too.
            let value = if name == http::header::VARY {
                format!("{value}, Origin")
            } else {
                value.to_owned()
            };
            response = response.header(title_case(name.as_str()), text(&value));
        }
        if endpoint.options.cache == CachePolicy::RevalidatePrivate {
            response = response.header("ETag", text("A strong tag of the body"));
        }
    }
    match answer.status {
        401 if !matches!(endpoint.handler.run, Run::RefreshCookie(_)) => {
            response = response.header("WWW-Authenticate", text("Bearer"));
        }
        429 => {
            let seconds = "Seconds until the limit is reset";
            response = response
                .header("Retry-After", header(Type::Integer, seconds))
                .header(
                    "X-RateLimit-Limit",
                    header(Type::Integer, "The number of allowed requests"),
                )
                .header("X-RateLimit-Remaining", header(Type::Integer, "0"))
                .header("X-RateLimit-Reset", text("When the limit is reset, in UTC"));
        }
        // The probes answer 503 without it.
        503 if !matches!(endpoint.handler.run, Run::Open(_)) => {
            let seconds = "Seconds to wait before another attempt";
            response = response.header("Retry-After", header(Type::Integer, seconds));
        }
        _ => {}
    }
    response.build()
}

/// The media type and schema of a body, if there is one.
fn content(content: &Content) -> Option<(&'static str, RefOr<Schema>)> {
    let of_type = |kind| ObjectBuilder::new().schema_type(kind);
    match content {
        Content::Empty => None,
        Content::Json(schemas) => Some(("application/json", one_of(schemas))),
        Content::AnyJson => Some(("application/json", of_type(Type::Object).into())),
        Content::Text(media_type) => Some((media_type, of_type(Type::String).into())),
        Content::Bytes => {
            let binary = SchemaFormat::KnownFormat(KnownFormat::Binary);
            Some(("*/*", of_type(Type::String).format(Some(binary)).into()))
        }
    }
}

fn one_of(schemas: &[BodySchema]) -> RefOr<Schema> {
    let reference = |schema: &BodySchema| Ref::from_schema_name((schema.name)());
    match schemas {
        [only] => RefOr::Ref(reference(only)),
        several => {
            let all = several.iter().map(reference);
            let one_of = all.fold(OneOfBuilder::new(), OneOfBuilder::item);
            RefOr::T(one_of.build().into())
        }
    }
}

/// The schemas of all bodies, the credentials, and the answer to a wrong method, which belongs to
/// no operation.
fn components(endpoints: &[Endpoint]) -> utoipa::openapi::Components {
    let mut schemas = Vec::new();
    let mut add = |body: &BodySchema| {
        schemas.push(((body.name)().into_owned(), (body.schema)()));
        (body.nested)(&mut schemas);
    };
    for body in [&PLAIN, &CODED, &ENVELOPE] {
        add(body);
    }
    for answer in endpoints.iter().flat_map(|endpoint| endpoint.answers) {
        if let Content::Json(bodies) = &answer.content {
            bodies.iter().for_each(&mut add);
        }
    }
    for body in endpoints
        .iter()
        .filter_map(|endpoint| endpoint.handler.inputs.body)
    {
        schemas.push((body.name.to_owned(), RefOr::T(body.schema())));
    }
    let wrong_method = ResponseBuilder::new()
        .description("The path does not have this method")
        .content(
            "application/json",
            ContentBuilder::new().schema(Some(one_of(&[PLAIN]))).build(),
        )
        .header("Allow", text("The methods of the path"))
        .header("X-Request-ID", text("The request's id in the log"))
        .build();
    ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .response("MethodNotAllowed", wrong_method)
        .security_scheme(
            "bearer",
            SecurityScheme::Http(
                HttpBuilder::new()
                    .scheme(HttpAuthScheme::Bearer)
                    .description(Some(
                        "A user's JWT, a session token, or (with X-User-ID) the service token",
                    ))
                    .build(),
            ),
        )
        .security_scheme(
            "user",
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                "X-User-ID",
                "The user on whose behalf a service calls; only together with the service token",
            ))),
        )
        .security_scheme(
            "service",
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                "X-Service-Auth",
                "The service token, where a service reads a user's key",
            ))),
        )
        .build()
}

/// `cache-control` as `Cache-Control`.
fn title_case(name: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(1);
        first.to_ascii_uppercase() + rest
    };
    name.split('-').map(word).collect::<Vec<_>>().join("-")
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
