//! What no client can cause: a handler that panics, fails or never ends.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::*;
use crate::api::endpoint::{
    CachePolicy, Endpoint, Handler, Inputs, Listener, Options, Subtree, Tag, handler,
};
use crate::api::head::X_REQUEST_ID;
use crate::api::render::SECURITY_HEADERS;
use crate::clock::Clock;
use crate::config::{Config, Source};
use crate::store::{Store, StoreError};

async fn panics(_: Call<()>, _: Inputs) -> Result<Reply, ApiError> {
    panic!("as a handler might")
}

async fn hangs(_: Call<()>, _: Inputs) -> Result<Reply, ApiError> {
    std::future::pending().await
}

async fn fails(_: Call<()>, _: Inputs) -> Result<Reply, ApiError> {
    tracing::warn!("on the way");
    Err(StoreError::Closed.into())
}

async fn loses_track(_: Call<()>, _: Inputs) -> Result<Reply, ApiError> {
    Err(ApiError::OutcomeUnknown(Some(StoreError::Closed)))
}

const DEFAULT: Options = Options {
    headers: &[],
    cache: CachePolicy::Unspecified,
    on_timeout: OnTimeout::Unavailable,
    listener: Listener::Public,
    is_probe: false,
};

const fn endpoint(path: &'static str, handler: Handler, options: Options) -> Endpoint {
    Endpoint {
        method: Method::POST,
        path,
        tag: &Tag {
            name: "",
            description: "",
        },
        doc: "",
        handler,
        answers: &[],
        options,
    }
}

static ENDPOINTS: &[Endpoint] = &[
    endpoint(
        "/hangs",
        handler!(Open, hangs),
        Options {
            on_timeout: OnTimeout::OutcomeUnknown {
                unless: "Idempotency-Key",
            },
            ..DEFAULT
        },
    ),
    endpoint("/hangs/harmlessly", handler!(Open, hangs), DEFAULT),
    endpoint("/secret/panics", handler!(Open, panics), DEFAULT),
    endpoint("/fails", handler!(Open, fails), DEFAULT),
    endpoint("/loses-track", handler!(Open, loses_track), DEFAULT),
];

static SUBTREES: &[Subtree] = &[Subtree {
    path: "/secret",
    cache: CachePolicy::NeverStore,
}];

/// An answer's status, headers and body.
struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

async fn post(path: &str, header: (&str, &str)) -> Answered {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/todo.db", directory.path().display());
    let source = Source::from_values([
        ("DATABASE_URL", url.as_str()),
        ("CORS_ORIGINS", "https://app.example.com"),
        ("REQUEST_TIMEOUT_SECONDS", "1"),
    ]);
    let config = Config::load(&source).unwrap().value;
    let clock = Clock::system();
    let store = Store::connect(&config.database, clock.clone())
        .await
        .unwrap();
    let context = ApiContext::new(&config, store, clock).unwrap();
    let app = App::new(context, Router::new(ENDPOINTS, SUBTREES).unwrap());
    let request = Request::post(path)
        .header("Host", "x")
        .header(header.0, header.1)
        .body(())
        .unwrap();
    let request = app.receive(
        [127, 0, 0, 1].into(),
        Admission::All,
        ClientWatch::default(),
        request,
    );
    let head = request.extensions().get::<Arc<Head>>().unwrap().clone();
    let body = stream::empty::<Result<Bytes, warp::Error>>();
    let response: Response<_> = app.answer(head, body).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answered {
        status: parts.status,
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap(),
    }
}

/// contract 5, 8 and 10.20: the answer of a handler that panicked has every header.
#[tokio::test]
async fn a_panic_is_answered_like_anything_else() {
    let answered = post("/secret/panics", ("Origin", "https://app.example.com")).await;
    assert_eq!(answered.status, StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answered.headers;
    for (name, value) in SECURITY_HEADERS
        .iter()
        .chain(CachePolicy::NeverStore.headers())
    {
        assert_eq!(headers.get(name), Some(value), "{name}");
    }
    assert_eq!(
        headers["access-control-allow-origin"],
        "https://app.example.com"
    );
    assert_eq!(headers["content-type"], "application/json");

    // contract 1.1 (c), 10.5: nothing of the panic reaches the client.
    let id = headers[X_REQUEST_ID].to_str().unwrap();
    let body = answered.body;
    assert_eq!(body["type"], "internal_error");
    assert_eq!(body["status"], 500);
    assert_eq!(body["instance"], "/secret/panics");
    assert_eq!(body["request_id"], id);
    assert!(body["detail"].is_string() && body["errors"].is_null());
    assert!(!body.to_string().contains("handler"), "{body}");
}

/// contract 11.3: only where a repeat would do it twice is a timeout no 5xx.
#[tokio::test]
async fn the_endpoint_says_what_a_timeout_means() {
    let answered = post("/hangs", ("Accept", "*/*")).await;
    assert_eq!(answered.status, StatusCode::CONFLICT);
    assert_eq!(answered.body["type"], "outcome_unknown");
    let answered = post("/hangs", ("Idempotency-Key", "k")).await;
    assert_eq!(answered.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answered.headers.contains_key("retry-after"));
    let answered = post("/hangs/harmlessly", ("Accept", "*/*")).await;
    assert_eq!(answered.status, StatusCode::SERVICE_UNAVAILABLE);
}

/// contract 5: errors of paths below a subtree, and of other methods, have its policy.
#[tokio::test]
async fn subtrees_cover_errors() {
    for path in ["/secret", "/secret/", "/secret/other", "/secret/a/b"] {
        let answered = post(path, ("Accept", "*/*")).await;
        assert_eq!(answered.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answered.headers["pragma"], "no-cache", "{path}");
    }
    let answered = post("/secrets", ("Accept", "*/*")).await;
    assert!(!answered.headers.contains_key("pragma"));
}

/// Collects a log.
#[derive(Clone, Default)]
struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The log lines of a request with the id `r-1`, as JSON.
async fn logged(path: &str) -> Vec<Value> {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    post(path, ("X-Request-ID", "r-1")).await;
    drop(guard);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines
        .filter(|line: &Value| line.to_string().contains("r-1"))
        .collect()
}

/// The cause of every error is logged with the request's id, whatever the status.
#[tokio::test]
async fn causes_reach_the_log() {
    for (path, status, level) in [("/fails", 503, "WARN"), ("/loses-track", 409, "INFO")] {
        let lines = logged(path).await;
        let line = lines.last().unwrap();
        assert_eq!(line["request_id"], "r-1");
        assert_eq!(line["status"], status);
        assert_eq!(line["level"], level);
        assert_eq!(line["error"], StoreError::Closed.to_string());
    }
    let lines = logged("/secret/panics").await;
    assert_eq!(lines[0]["level"], "ERROR");
    assert_eq!(
        lines[0]["error"],
        "the handler panicked: as a handler might"
    );
}

/// What a handler logs itself is in a span with the request's id.
#[tokio::test]
async fn handlers_log_with_the_request_id() {
    let lines = logged("/fails").await;
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["message"], "on the way");
    assert_eq!(lines[0]["spans"][0]["request_id"], "r-1");
}
