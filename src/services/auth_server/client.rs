//! Requests to the auth server.

use std::time::Duration;

use http::HeaderValue;
use http::header::{ACCEPT, COOKIE};
use prometheus::IntCounterVec;
use reqwest::StatusCode;
use url::Url;

use crate::services::http_client::{self, ClientError, HttpClient};

use super::error::AuthServerError;

/// The time limit for a whole request.
const LIMIT: Duration = Duration::from_secs(2);

const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Client {
    http: HttpClient,
    base: Url,
    requests: IntCounterVec,
}

impl Client {
    pub fn new(base: &Url, requests: IntCounterVec) -> Result<Self, ClientError> {
        Ok(Self {
            http: HttpClient::with_connect_limit(LIMIT, CONNECT_LIMIT)?,
            base: base.clone(),
            requests,
        })
    }

    /// The 200 answer to `GET {base}{path}`, of at most `max` bytes, parsed by `read`.
    /// `question` is the metric's label.
    pub async fn ask<T>(
        &self,
        question: &'static str,
        path: &str,
        cookie: Option<HeaderValue>,
        max: usize,
        read: impl FnOnce(&[u8]) -> Result<T, AuthServerError>,
    ) -> Result<T, AuthServerError> {
        let body = self.body(path, cookie, max).await;
        let answer = body.and_then(|body| read(&body));
        let outcome = if answer.is_ok() { "answered" } else { "failed" };
        self.count(question, outcome);
        answer
    }

    /// Counts a question, including one that was not sent.
    pub fn count(&self, question: &'static str, outcome: &'static str) {
        self.requests.with_label_values(&[question, outcome]).inc();
    }

    async fn body(
        &self,
        path: &str,
        cookie: Option<HeaderValue>,
        max: usize,
    ) -> Result<Vec<u8>, AuthServerError> {
        let mut request = self
            .http
            .get(http_client::join(&self.base, path))
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(mut cookie) = cookie {
            cookie.set_sensitive(true);
            request = request.header(COOKIE, cookie);
        }
        let response = self.http.send(request).await?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(AuthServerError::Status(status.as_u16()));
        }
        Ok(self.http.body(response, max).await?)
    }
}
