//! The HTTP client that all services use.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use url::Url;

use super::tls;

/// An HTTP client that could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the HTTP client: {0}")]
pub struct ClientError(String);

impl From<rustls::Error> for ClientError {
    fn from(error: rustls::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<url::ParseError> for ClientError {
    fn from(error: url::ParseError) -> Self {
        Self(error.to_string())
    }
}

/// Why a request got no complete answer. Never contains the URL.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("no answer within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    #[error("{0}")]
    Unreachable(String),
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// A client that follows no redirects and ignores proxy variables: addresses come from the
/// configuration alone. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient {
    client: Client,
    limit: Duration,
}

impl HttpClient {
    /// `limit` is the time for a whole exchange, from connecting to the end of the answer.
    pub fn new(limit: Duration) -> Result<Self, ClientError> {
        Self::with_connect_limit(limit, limit)
    }

    pub fn with_connect_limit(limit: Duration, connect: Duration) -> Result<Self, ClientError> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls::client_config()?)
            .no_proxy()
            .redirect(Policy::none())
            .user_agent(concat!("todoctl/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect)
            .timeout(limit)
            .build()
            .map_err(|error| ClientError(root_cause(error)))?;
        Ok(Self { client, limit })
    }

    pub fn get(&self, url: Url) -> RequestBuilder {
        self.client.get(url)
    }

    pub fn post(&self, url: Url) -> RequestBuilder {
        self.client.post(url)
    }

    /// Sends a request and returns the answer's head, whatever its status.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, HttpError> {
        request.send().await.map_err(|error| self.error(error))
    }

    /// The answer's body, if it has at most `max` bytes.
    pub async fn body(&self, mut response: Response, max: usize) -> Result<Vec<u8>, HttpError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.error(error))? {
            if body.len() + chunk.len() > max {
                return Err(HttpError::TooLong(max));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn error(&self, error: reqwest::Error) -> HttpError {
        if error.is_timeout() {
            HttpError::TimedOut(self.limit)
        } else {
            HttpError::Unreachable(root_cause(error))
        }
    }
}

/// `base` with `path` after its own path, without query and fragment.
pub(super) fn join(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// Where an answer leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redirection {
    /// What to ask in place of the address that was asked, without credentials and query.
    pub(crate) base: Url,
    /// Whether it is the same host, no less encrypted: what was sent there may be sent here.
    pub(crate) is_safe: bool,
}

/// Where the answer to a request for `path` below `base` leads; `None` if that is another page.
pub(super) fn redirection(base: &Url, path: &str, answer: &Response) -> Option<Redirection> {
    let location = answer.headers().get(LOCATION)?.to_str().ok()?;
    let mut to = join(base, path).join(location).ok()?;
    let is_safe = to.host() == base.host()
        && (to.scheme() == "https" || to.scheme() == base.scheme())
        && to.username().is_empty()
        && to.password().is_none();
    let shorter = to.path().strip_suffix(path)?.to_owned();
    to.set_path(&shorter);
    to.set_query(None);
    to.set_fragment(None);
    to.set_username("").ok()?;
    to.set_password(None).ok()?;
    answer
        .status()
        .is_redirection()
        .then_some(Redirection { base: to, is_safe })
}

/// The message of the innermost cause: reqwest's own only repeats the request.
fn root_cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined() {
        for (base, expected) in [
            ("http://127.0.0.1:9", "http://127.0.0.1:9/v1/x"),
            ("http://127.0.0.1:9/", "http://127.0.0.1:9/v1/x"),
            (
                "https://proxy.example/a/?b#c",
                "https://proxy.example/a/v1/x",
            ),
        ] {
            let base = Url::parse(base).unwrap();
            assert_eq!(join(&base, "/v1/x").as_str(), expected);
        }
    }
}
