//! A small HTTP server that stands for somebody else's: it answers as it is
//! told and remembers what it was asked.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: Method,
    pub path: String,
    /// Without its question mark.
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Received {
    /// A header's text; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A status and a JSON body.
    Json(u16, serde_json::Value),
    /// The same, after a while.
    Late(Duration, u16, serde_json::Value),
    /// Nothing, for as long as the client waits.
    Silence,
    /// The connection is closed.
    HangUp,
}

type Script = Box<dyn Fn(&Received) -> Answer + Send + Sync>;

struct Shared {
    script: Mutex<Arc<Script>>,
    received: Mutex<Vec<Received>>,
}

/// A running server, stopped with its value.
pub struct HttpPeer {
    /// Its address, without a slash at the end.
    pub url: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl HttpPeer {
    /// Starts a server that always gives this answer.
    pub async fn answering(answer: Answer) -> Self {
        Self::start(move |_| answer.clone()).await
    }

    /// Starts a server that looks at each request.
    pub async fn start(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            script: Mutex::new(Arc::new(Box::new(script))),
            received: Mutex::new(Vec::new()),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self {
            url,
            shared,
            accepting,
        }
    }

    /// From now on it gives this answer.
    pub fn set(&self, answer: Answer) {
        *self.shared.script.lock().unwrap() = Arc::new(Box::new(move |_| answer.clone()));
    }

    /// All requests so far, oldest first.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// How many requests came so far.
    pub fn count(&self) -> usize {
        self.shared.received.lock().unwrap().len()
    }
}

impl Drop for HttpPeer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and every connection with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(shared.clone(), request));
            // An error is a client, or the script, that hung up.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// An error makes hyper close the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the script says to hang up")]
struct HangUp;

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, HangUp> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| HangUp)?.to_bytes();
    let received = Received {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        body,
    };
    let script = shared.script.lock().unwrap().clone();
    let answer = script(&received);
    shared.received.lock().unwrap().push(received);
    let (status, body) = match answer {
        Answer::Json(status, body) => (status, body),
        Answer::Late(pause, status, body) => {
            tokio::time::sleep(pause).await;
            (status, body)
        }
        Answer::Silence => match std::future::pending::<Infallible>().await {},
        Answer::HangUp => return Err(HangUp),
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
        .headers_mut()
        .insert("content-type", "application/json".parse().unwrap());
    Ok(response)
}
