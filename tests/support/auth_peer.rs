//! A small HTTP server that stands for the auth server, on good days and on bad ones.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub const GET_SESSION: &str = "/api/auth/get-session";
pub const JWKS: &str = "/api/auth/jwks";

/// How the server feels.
#[derive(Debug, Clone, Copy)]
pub enum Mood {
    /// It answers as it should.
    Fine,
    /// As it should, but late.
    Slow(Duration),
    /// It accepts the question and never answers.
    Hangs,
    /// A page instead of JSON.
    Garbage,
    /// JSON of another form.
    OtherJson,
    /// 200, and megabytes of white space.
    Huge,
    /// This status.
    Fails(u16),
    /// 429, and to ask again after so many seconds, in this header.
    Limits(&'static str, u64),
    /// It hangs up without an answer.
    HangsUp,
}

struct State {
    mood: Mood,
    sessions: HashMap<String, Value>,
    keys: Value,
    /// Path, cookies and `X-Forwarded-For` of each question.
    asked: Vec<(String, String, String)>,
}

/// The server; it is gone with its value.
pub struct AuthPeer {
    pub url: url::Url,
    state: Arc<Mutex<State>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl AuthPeer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            mood: Mood::Fine,
            sessions: HashMap::new(),
            keys: json!({ "keys": [] }),
            asked: Vec::new(),
        }));
        let accepting = tokio::spawn(accept(listener, state.clone()));
        Self {
            url: url.parse().unwrap(),
            state,
            accepting,
        }
    }

    /// What it calls itself in its tokens.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    pub fn be(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// From now on this cookie value is `user`'s session.
    pub fn vouch(&self, token: &str, user: &str, expires_at: &str) {
        let session = json!({
            "session": { "id": "s1", "userId": user, "token": "t", "expiresAt": expires_at },
            "user": { "id": user, "email": "a@example.com", "name": "A" },
        });
        self.state().sessions.insert(token.to_owned(), session);
    }

    /// The user signs out.
    pub fn forget(&self, token: &str) {
        self.state().sessions.remove(token);
    }

    /// These are its keys from now on.
    pub fn publish(&self, keys: &[&TestKey]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        self.state().keys = json!({ "keys": keys });
    }

    /// How often it was asked for this path.
    pub fn asked(&self, path: &str) -> usize {
        let state = self.state();
        state
            .asked
            .iter()
            .filter(|(asked, ..)| asked == path)
            .count()
    }

    /// The `Cookie` header of the newest question.
    pub fn last_cookies(&self) -> String {
        self.state().asked.last().unwrap().1.clone()
    }

    /// The `X-Forwarded-For` of the newest question.
    pub fn last_forwarded(&self) -> String {
        self.state().asked.last().unwrap().2.clone()
    }

    /// It has no page for keys: 404.
    pub fn publish_nothing(&self) {
        self.state().keys = Value::Null;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for AuthPeer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<hyper::body::Incoming>| {
                let state = state.clone();
                async move { answer(&request, &state).await.ok_or(HungUp) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Makes hyper close the connection.
#[derive(Debug, thiserror::Error)]
#[error("hung up")]
struct HungUp;

async fn answer<B>(request: &Request<B>, state: &Mutex<State>) -> Option<Response<Full<Bytes>>> {
    let path = request.uri().path().to_owned();
    let cookies = request.headers().get_all("cookie").iter();
    let cookies: Vec<&str> = cookies.map(|value| value.to_str().unwrap()).collect();
    let cookies = cookies.join(" AND ");
    let forwarded = request.headers().get("x-forwarded-for");
    let forwarded = forwarded.map_or("", |value| value.to_str().unwrap());
    let mood = {
        let mut state = state.lock().unwrap();
        let asked = (path.clone(), cookies.clone(), forwarded.to_owned());
        state.asked.push(asked);
        state.mood
    };
    let body = match mood {
        Mood::Fine => right_answer(&path, &cookies, state),
        Mood::Slow(pause) => {
            tokio::time::sleep(pause).await;
            right_answer(&path, &cookies, state)
        }
        Mood::Hangs => std::future::pending::<Option<Infallible>>()
            .await
            .map(|never| match never {}),
        Mood::HangsUp => return None,
        Mood::Garbage => Some("<html>Bad gateway</html>".to_owned()),
        Mood::OtherJson => Some(json!({ "data": {} }).to_string()),
        Mood::Huge => Some(" ".repeat(8 * 1024 * 1024) + "null"),
        Mood::Limits(header, seconds) => {
            let response = Response::builder().status(429).header(header, seconds);
            return Some(response.body(Full::default()).unwrap());
        }
        Mood::Fails(status) => {
            let body = Full::new(Bytes::from_static(b"null"));
            return Some(Response::builder().status(status).body(body).unwrap());
        }
    };
    let (status, body) = body.map_or((404, String::new()), |body| (200, body));
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/json");
    Some(response.body(Full::new(Bytes::from(body))).unwrap())
}

fn right_answer(path: &str, cookies: &str, state: &Mutex<State>) -> Option<String> {
    let state = state.lock().unwrap();
    match path {
        GET_SESSION => {
            let token = cookies
                .split("; ")
                .find_map(|cookie| cookie.strip_prefix("better-auth.session_token="));
            let session = token.and_then(|token| state.sessions.get(token));
            Some(session.unwrap_or(&Value::Null).to_string())
        }
        JWKS if state.keys.is_null() => None,
        JWKS => Some(state.keys.to_string()),
        _ => None,
    }
}

/// A private key, the id under which its public half is published, and its algorithm.
pub struct TestKey {
    pub id: Option<&'static str>,
    pub algorithm: Algorithm,
    key: EncodingKey,
}

impl TestKey {
    pub fn ed25519() -> Self {
        Self {
            id: Some("ed"),
            algorithm: Algorithm::EdDSA,
            key: EncodingKey::from_ed_der(include_bytes!("keys/ed25519.der")),
        }
    }

    /// Another one, for when keys change.
    pub fn next_ed25519() -> Self {
        Self {
            id: Some("ed-next"),
            algorithm: Algorithm::EdDSA,
            key: EncodingKey::from_ed_der(include_bytes!("keys/ed25519-next.der")),
        }
    }

    pub fn es256() -> Self {
        Self {
            id: Some("es"),
            algorithm: Algorithm::ES256,
            key: EncodingKey::from_ec_der(include_bytes!("keys/es256.der")),
        }
    }

    pub fn rs256() -> Self {
        Self {
            id: Some("rs"),
            algorithm: Algorithm::RS256,
            key: EncodingKey::from_rsa_der(include_bytes!("keys/rs256.der")),
        }
    }

    /// The same key under another id.
    pub fn named(self, id: Option<&'static str>) -> Self {
        Self { id, ..self }
    }

    /// The public half as it is published.
    pub fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = self.id.map(str::to_owned);
        serde_json::to_value(jwk).unwrap()
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = self.id.map(str::to_owned);
        self.sign_with(&header, claims)
    }

    /// A token with this header.
    pub fn sign_with(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).unwrap()
    }
}
