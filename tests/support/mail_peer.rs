//! A stand-in for the mail provider: a small HTTP server that answers as it is told and
//! remembers what it was asked.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    pub path: String,
    pub authorization: String,
    pub idempotency_key: String,
    pub body: Value,
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: &'static str,
    pub retry_after: Option<&'static str>,
    pub delay: Duration,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self {
            status,
            body: r#"{"id": "49a3999c-0ce1-4ea6-ab68-afcd6dc2e794"}"#,
            retry_after: None,
            delay: Duration::ZERO,
        }
    }
}

#[derive(Debug, Default)]
struct Script {
    answers: VecDeque<Answer>,
    received: Vec<Received>,
}

/// The server; it runs for as long as the test's runtime.
#[derive(Debug, Clone)]
pub struct MailPeer {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl MailPeer {
    /// Listens on a port of its own; says yes to everything until it is told otherwise.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        let peer = Self {
            address,
            script: Arc::default(),
        };
        let served = peer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let peer = served.clone();
                let service = service_fn(move |request| peer.clone().answer(request));
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        peer
    }

    /// What `RESEND_API_URL` is set to.
    pub fn url(&self) -> url::Url {
        format!("http://{}", self.address).parse().expect("a URL")
    }

    /// The next answers, in this order; after them, yes again.
    pub fn will_answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.script
            .lock()
            .expect("not poisoned")
            .answers
            .extend(answers);
    }

    /// Everything that arrived so far.
    pub fn received(&self) -> Vec<Received> {
        self.script.lock().expect("not poisoned").received.clone()
    }

    async fn answer(
        self,
        request: Request<hyper::body::Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let header = |name: &str| {
            let value = head.headers.get(name);
            value.map_or_else(String::new, |value| {
                value.to_str().expect("text").to_owned()
            })
        };
        let body = body.collect().await.expect("a whole body").to_bytes();
        let received = Received {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            authorization: header("authorization"),
            idempotency_key: header("idempotency-key"),
            body: serde_json::from_slice(&body).expect("JSON"),
        };
        let answer = {
            let mut script = self.script.lock().expect("not poisoned");
            script.received.push(received);
            script.answers.pop_front()
        };
        let answer = answer.unwrap_or_else(|| Answer::status(200));
        tokio::time::sleep(answer.delay).await;
        let mut response = Response::builder().status(answer.status);
        if let Some(seconds) = answer.retry_after {
            response = response.header("retry-after", seconds);
        }
        let body = Full::new(Bytes::from_static(answer.body.as_bytes()));
        Ok(response.body(body).expect("a response"))
    }
}
