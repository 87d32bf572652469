//! An HTTP client that knows exactly what became of a request: whether any of it was sent, and
//! whether an answer came. It never repeats one.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than the daemon's time limit and any time for which it is stopped, on a busy machine too.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A request to one daemon.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub user: String,
    /// The user's own; without one, the service token is sent with the user's id.
    pub token: Option<String>,
    pub headers: Vec<(&'static str, String)>,
    pub body: Option<Value>,
}

/// What became of a request.
#[derive(Debug)]
pub enum Answer {
    Status {
        code: u16,
        head: Head,
        body: Value,
    },
    /// No connection was made.
    NotSent,
    /// It was sent, and the connection ended without an answer.
    Lost,
    /// It was sent, and nothing came for [`PATIENCE`].
    Silent,
}

/// Headers of an answer.
#[derive(Debug, Clone, Default)]
pub struct Head {
    pub etag: Option<String>,
    /// `Idempotency-Replayed`.
    pub is_replayed: bool,
    /// `X-RateLimit-Remaining`.
    pub remaining: Option<u64>,
}

/// A connection that is kept between requests.
#[derive(Debug)]
pub struct Client {
    port: u16,
    token: String,
    stream: Option<TcpStream>,
}

impl Client {
    pub fn new(port: u16, token: &str) -> Self {
        Self {
            port,
            token: token.to_owned(),
            stream: None,
        }
    }

    pub async fn send(&mut self, request: &Request) -> Answer {
        let mut stream = match self.stream.take() {
            Some(stream) if is_open(&stream) => stream,
            _ => match timeout(PATIENCE, TcpStream::connect(("127.0.0.1", self.port))).await {
                Ok(Ok(stream)) => stream,
                _ => return Answer::NotSent,
            },
        };
        let _ = stream.set_nodelay(true);
        let bytes = encode(request, &self.token);
        let exchange = async {
            stream.write_all(&bytes).await?;
            read_answer(&mut stream).await
        };
        match timeout(PATIENCE, exchange).await {
            Ok(Ok((answer, keep))) => {
                if keep {
                    self.stream = Some(stream);
                }
                answer
            }
            Ok(Err(_)) => Answer::Lost,
            Err(_) => Answer::Silent,
        }
    }
}

/// Whether the other side has not closed the connection while it was idle.
fn is_open(stream: &TcpStream) -> bool {
    let mut byte = [0];
    matches!(stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

fn encode(request: &Request, token: &str) -> Vec<u8> {
    let body = request
        .body
        .as_ref()
        .map(Value::to_string)
        .unwrap_or_default();
    let caller = match &request.token {
        Some(own) => format!("Authorization: Bearer {own}"),
        None => format!(
            "Authorization: Bearer {token}\r\nX-User-ID: {}",
            request.user
        ),
    };
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: torture\r\n{caller}\r\nContent-Length: {}\r\n",
        request.method,
        request.path,
        body.len(),
    );
    if request.body.is_some() {
        head += "Content-Type: application/json\r\n";
    }
    for (name, value) in &request.headers {
        head += name;
        head += ": ";
        head += value;
        head += "\r\n";
    }
    head += "\r\n";
    head += &body;
    head.into_bytes()
}

async fn read_answer(stream: &mut TcpStream) -> anyhow::Result<(Answer, bool)> {
    let mut bytes = Vec::with_capacity(4096);
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            bail!("the connection ended");
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    bytes.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let status = lines.next().context("no status line")?;
    let code: u16 = status.get(9..12).context("a short status line")?.parse()?;
    let (mut length, mut keep) = (0, true);
    let mut known = Head::default();
    for line in lines {
        let (name, value) = line.split_once(':').context("a header without a colon")?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse()?,
            "etag" => known.etag = Some(value.to_owned()),
            "idempotency-replayed" => known.is_replayed = value == "true",
            "x-ratelimit-remaining" => known.remaining = value.parse().ok(),
            "connection" => keep = !value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    while bytes.len() < length {
        if stream.read_buf(&mut bytes).await? == 0 {
            bail!("the connection ended");
        }
    }
    let body = if length == 0 {
        Value::Null
    } else {
        // Metrics are plain text.
        serde_json::from_slice(&bytes[..length]).unwrap_or_else(|_| {
            String::from_utf8_lossy(&bytes[..length])
                .into_owned()
                .into()
        })
    };
    let answer = Answer::Status {
        code,
        head: known,
        body,
    };
    Ok((answer, keep))
}
