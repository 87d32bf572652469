//! Requests to the auth server.

use std::net::IpAddr;
use std::time::Duration;

use http::header::{ACCEPT, COOKIE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue};
use prometheus::IntCounterVec;
use reqwest::StatusCode;
use url::Url;

use crate::services::http_client::{self, ClientError, HttpClient};

use super::error::AuthServerError;

/// The time limit for a whole request.
pub(super) const LIMIT: Duration = Duration::from_secs(2);

pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// The address on whose behalf the server is asked: it counts requests by it.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How better-auth, the server that todoctl is made for, names `Retry-After`.
const X_RETRY_AFTER: HeaderName = HeaderName::from_static("x-retry-after");

/// The pause after a 429 that does not say how long it lasts, and the longest pause.
const LIMITED: Duration = Duration::from_secs(5);
const LONGEST_LIMITED: Duration = Duration::from_secs(300);

/// What accompanies a question about a session.
pub(super) struct Asker {
    pub cookie: HeaderValue,
    pub address: IpAddr,
}

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
        asker: Option<Asker>,
        max: usize,
        read: impl FnOnce(&[u8]) -> Result<T, AuthServerError>,
    ) -> Result<T, AuthServerError> {
        let body = self.body(path, asker, max).await;
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
        asker: Option<Asker>,
        max: usize,
    ) -> Result<Vec<u8>, AuthServerError> {
        let mut request = self
            .http
            .get(http_client::join(&self.base, path))
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(Asker {
            mut cookie,
            address,
        }) = asker
        {
            cookie.set_sensitive(true);
            request = request
                .header(COOKIE, cookie)
                .header(X_FORWARDED_FOR, address.to_string());
        }
        let response = self.http.send(request).await?;
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Err(AuthServerError::Limited(pause_of(response.headers())));
        }
        if status != StatusCode::OK {
            return Err(AuthServerError::Status(status.as_u16()));
        }
        Ok(self.http.body(response, max).await?)
    }
}

/// How long a 429 asks to wait. A date (RFC 9110, section 10.2.3) counts as no answer.
fn pause_of(headers: &HeaderMap) -> Duration {
    [RETRY_AFTER, X_RETRY_AFTER]
        .iter()
        .find_map(|name| headers.get(name)?.to_str().ok()?.trim().parse().ok())
        .map_or(LIMITED, Duration::from_secs)
        .clamp(Duration::from_secs(1), LONGEST_LIMITED)
}
