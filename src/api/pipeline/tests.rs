//! What no route can be made to do from outside: a panic.

use http::StatusCode;
use http_body_util::BodyExt as _;
use warp::Filter;

use super::*;
use crate::clock::Clock;
use crate::config::{Config, Source};
use crate::store::Store;

/// Contract 5, 8 and 10.20: an answer for a handler that panicked has every header.
#[tokio::test]
async fn a_panic_is_answered_like_anything_else() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/todo.db", directory.path().display());
    let source = Source::from_values([
        ("DATABASE_URL", url.as_str()),
        ("CORS_ORIGINS", "https://app.example.com"),
    ]);
    let config = Config::load(&source).unwrap().value;
    let clock = Clock::system();
    let store = Store::connect(&config.database, clock.clone())
        .await
        .unwrap();
    let context = ApiContext::new(&config, store, clock).unwrap();
    let routes = warp::any()
        .map(|| -> Response { panic!("as a handler might") })
        .boxed();
    let app = App::new(context, routes);

    let request = Request::get("/api/user-api-keys/current")
        .header("Origin", "https://app.example.com")
        .body(String::new())
        .unwrap();
    let response = app.answer([127, 0, 0, 1].into(), request).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers();
    for (name, value) in SECURITY_HEADERS.iter().chain(&NEVER_STORED) {
        assert_eq!(headers.get(name), Some(value), "{name}");
    }
    assert!(headers.contains_key(X_REQUEST_ID));
    assert_eq!(
        headers["access-control-allow-origin"],
        "https://app.example.com"
    );
    assert_eq!(headers["content-type"], "application/json");

    // Contract 1.1 (c), 10.5: what it says, and nothing of the panic.
    let id = headers[X_REQUEST_ID].to_str().unwrap().to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["type"], "internal_error");
    assert_eq!(body["status"], 500);
    assert_eq!(body["instance"], "/api/user-api-keys/current");
    assert_eq!(body["request_id"], id.as_str());
    assert!(body["detail"].is_string() && body["errors"].is_null());
    assert!(!body.to_string().contains("handler"), "{body}");
}
