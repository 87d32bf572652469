//! Requests to a test's daemon: `daemon.get("/tasks/").user("bob").await`.

use std::pin::Pin;

use reqwest::header::HeaderValue;
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde_json::Value;

use crate::api::daemon::{Daemon, SERVICE_TOKEN};

/// A request, by default the service's on behalf of `alice`. Awaiting it sends it and returns the
/// status and the body, parsed if it is JSON.
pub struct Request {
    builder: RequestBuilder,
    caller: Caller,
}

enum Caller {
    Anonymous,
    Bearer(String),
    Service { user: String },
}

impl Daemon {
    pub fn request(&self, method: Method, path: &str) -> Request {
        Request {
            builder: self.client.request(method, format!("{}{path}", self.base)),
            caller: Caller::Service {
                user: "alice".to_owned(),
            },
        }
    }

    pub fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> Request {
        self.request(Method::POST, path)
    }

    pub fn put(&self, path: &str) -> Request {
        self.request(Method::PUT, path)
    }

    pub fn patch(&self, path: &str) -> Request {
        self.request(Method::PATCH, path)
    }

    pub fn delete(&self, path: &str) -> Request {
        self.request(Method::DELETE, path)
    }

    /// What /metrics answers.
    pub async fn metrics(&self) -> String {
        let response = self.get("/metrics").anonymous().send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.text().await.unwrap()
    }

    /// The value of a time series, such as `http_connections`; 0 if there is none yet.
    pub async fn metric(&self, series: &str) -> u64 {
        let metrics = self.metrics().await;
        let value = metrics
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }
}

impl Request {
    /// Without credentials.
    pub fn anonymous(mut self) -> Self {
        self.caller = Caller::Anonymous;
        self
    }

    /// As the service on behalf of `user`.
    pub fn user(mut self, user: &str) -> Self {
        self.caller = Caller::Service {
            user: user.to_owned(),
        };
        self
    }

    /// With this bearer token and no user.
    pub fn bearer(mut self, token: impl Into<String>) -> Self {
        self.caller = Caller::Bearer(token.into());
        self
    }

    pub fn json(mut self, body: &(impl Serialize + ?Sized)) -> Self {
        self.builder = self.builder.json(body);
        self
    }

    /// A body that is JSON, or pretends to be.
    pub fn raw_json(self, body: impl Into<Body>) -> Self {
        self.header("Content-Type", "application/json").body(body)
    }

    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.builder = self.builder.body(body);
        self
    }

    pub fn header<V>(mut self, name: &str, value: V) -> Self
    where
        HeaderValue: TryFrom<V, Error: Into<http::Error>>,
    {
        self.builder = self.builder.header(name, value);
        self
    }

    /// Sends it and returns the response with its body unread.
    pub async fn send(self) -> reqwest::Result<Response> {
        match self.caller {
            Caller::Anonymous => self.builder,
            Caller::Bearer(token) => self.builder.bearer_auth(token),
            Caller::Service { user } => self
                .builder
                .bearer_auth(SERVICE_TOKEN)
                .header("X-User-ID", user),
        }
        .send()
        .await
    }
}

impl IntoFuture for Request {
    type Output = (StatusCode, Value);
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { read(self.send().await.unwrap()).await })
    }
}

/// A response's status and body, parsed if it is JSON.
pub async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, body)
}
