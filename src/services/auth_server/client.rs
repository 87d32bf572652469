//! One question over HTTP.

use std::time::Duration;

use http::HeaderValue;
use http::header::{ACCEPT, COOKIE};
use prometheus::IntCounterVec;
use url::Url;

use crate::services::{ClientError, http_client, innermost};

use super::{AuthServerError, LIMIT};

const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Asks the auth server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    requests: IntCounterVec,
}

impl Client {
    pub fn new(base: &Url, requests: IntCounterVec) -> Result<Self, ClientError> {
        let http = http_client()?
            .connect_timeout(CONNECT_LIMIT)
            .timeout(LIMIT)
            .build()?;
        Ok(Self {
            http,
            base: base.clone(),
            requests,
        })
    }

    /// The body of the server's 200 to `GET {base}{path}`, at most `max` bytes, as `read`
    /// understands it. `question` is the metric's label.
    pub async fn ask<T>(
        &self,
        question: &'static str,
        path: &str,
        cookie: Option<HeaderValue>,
        max: usize,
        read: impl FnOnce(&[u8]) -> Result<T, AuthServerError>,
    ) -> Result<T, AuthServerError> {
        let answer = match self.body(path, cookie, max).await {
            Ok(body) => read(&body),
            Err(error) => Err(error),
        };
        let outcome = if answer.is_ok() { "answered" } else { "failed" };
        self.count(question, outcome);
        answer
    }

    /// Counts a question, also one that was not put.
    pub fn count(&self, question: &'static str, outcome: &'static str) {
        self.requests.with_label_values(&[question, outcome]).inc();
    }

    async fn body(
        &self,
        path: &str,
        cookie: Option<HeaderValue>,
        max: usize,
    ) -> Result<Vec<u8>, AuthServerError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.set_query(None);
        let mut request = self
            .http
            .get(url)
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(mut cookie) = cookie {
            cookie.set_sensitive(true);
            request = request.header(COOKIE, cookie);
        }
        let mut response = request.send().await.map_err(named)?;
        let status = response.status();
        if status != reqwest::StatusCode::OK {
            return Err(AuthServerError::Status(status.as_u16()));
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(named)? {
            if body.len() + piece.len() > max {
                return Err(AuthServerError::Unreadable("it is too long"));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

fn named(error: reqwest::Error) -> AuthServerError {
    if error.is_timeout() {
        AuthServerError::TimedOut
    } else {
        AuthServerError::Unreachable(innermost(&error.without_url()))
    }
}
