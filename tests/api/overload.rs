//! Clients that send too much, read too little, or are too many.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::api::daemon::{Daemon, SERVICE_TOKEN};
use crate::support::Engine::{self, Postgres, Sqlite};

fn address(daemon: &Daemon) -> &str {
    daemon.base.strip_prefix("http://").unwrap()
}

/// Sends a whole request before it reads, as proxies do; the answer's status and its head.
async fn exchange(stream: &mut TcpStream, head: &str, body: &[u8]) -> (u16, String) {
    let head = format!(
        "{head}\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    answer(stream).await
}

async fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap();
    let length = length.split('\r').next().unwrap().parse().unwrap();
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    (head[9..12].parse().unwrap(), head)
}

/// 10.20: a body that nobody wants is read, so that the answer arrives and the connection lives.
#[rstest]
#[tokio::test]
async fn refused_bodies(#[values(Sqlite, Postgres)] engine: Engine) {
    const JSON: &str = "Content-Type: application/json";
    let daemon = Daemon::start(engine).await;
    let good = format!("Authorization: Bearer {SERVICE_TOKEN}\r\nX-User-ID: alice");
    let bad = "Authorization: Bearer wrong\r\nX-User-ID: alice";
    let large = vec![b' '; 3_000_000];
    let small = vec![b' '; 900_000];
    for (head, body, status) in [
        (
            format!("POST /tasks/ HTTP/1.1\r\n{good}\r\n{JSON}"),
            &large,
            413,
        ),
        (
            format!("POST /tasks/ HTTP/1.1\r\n{bad}\r\n{JSON}"),
            &small,
            401,
        ),
        (
            format!("POST /tasks/ HTTP/1.1\r\n{good}\r\nContent-Type: text/plain"),
            &small,
            415,
        ),
        (format!("POST /nope HTTP/1.1\r\n{good}"), &small, 404),
        (format!("POST /health HTTP/1.1\r\n{good}"), &small, 405),
        (format!("GET /health/live HTTP/1.1\r\n{JSON}"), &small, 200),
    ] {
        let mut stream = TcpStream::connect(address(&daemon)).await.unwrap();
        for _ in 0..3 {
            let (found, answered) = exchange(&mut stream, &head, body).await;
            assert_eq!(found, status, "{head}");
            assert!(!answered.contains("connection: close"), "{answered}");
        }
        let live = "GET /health/live HTTP/1.1";
        assert_eq!(exchange(&mut stream, live, b"").await.0, 200, "{head}");
    }
}

/// 10.20: beyond some megabytes, or after two seconds, nothing is read any more.
#[rstest]
#[tokio::test]
async fn refused_bodies_without_end(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let mut stream = TcpStream::connect(address(&daemon)).await.unwrap();
    let head = "POST /tasks/ HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n ";
    stream.write_all(head.as_bytes()).await.unwrap();
    let started = Instant::now();
    assert_eq!(
        answer(&mut stream).await.0,
        401,
        "it does not wait for the body"
    );
    assert!(started.elapsed() < Duration::from_secs(1));
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    let elapsed = started.elapsed();
    assert!(
        rest.is_empty() && elapsed < Duration::from_secs(5),
        "{elapsed:?}"
    );

    let mut stream = TcpStream::connect(address(&daemon)).await.unwrap();
    let head = "POST /tasks/ HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let block = vec![b' '; 1 << 20];
    let mut sent = 0;
    while sent < 200 && stream.write_all(&block).await.is_ok() {
        sent += 1;
    }
    assert!(sent < 200, "{sent} MiB were read");

    // Who asks first sends nothing.
    let mut stream = TcpStream::connect(address(&daemon)).await.unwrap();
    let head = "POST /tasks/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 900000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (status, head) = answer(&mut stream).await;
    assert_eq!(status, 401, "{head}");
}

/// 1.1, 3.10: a small request gets a small answer, whatever is wrong with it.
#[rstest]
#[tokio::test]
async fn many_errors(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let bulk = |ids: Vec<Value>| {
        daemon
            .post("/tasks/bulk-delete")
            .json(&json!({ "task_ids": ids }))
            .send()
    };
    let answer = bulk(vec![json!(""); 10_000]).await.unwrap();
    assert_eq!(answer.status(), 422);
    let text = answer.text().await.unwrap();
    assert!(text.len() < 50_000, "{}", text.len());
    let body: Value = serde_json::from_str(&text).unwrap();
    let errors = body["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 100);
    assert_eq!(errors[99]["field"], "task_ids.99");
    assert_eq!(
        body["detail"],
        "10000 fields are not valid; the first 100 are listed"
    );

    let answer = bulk(vec![json!(""); 349_518]).await.unwrap();
    assert_eq!(answer.status(), 422);
    let text = answer.text().await.unwrap();
    assert!(text.len() < 5_000, "{}", text.len());
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["errors"][0]["code"], "too_long");
    assert_eq!(body["errors"].as_array().unwrap().len(), 1);

    assert_eq!(
        bulk((1..=100_001).map(Value::from).collect())
            .await
            .unwrap()
            .status(),
        422
    );
    let answer = bulk((1..=100_000).map(Value::from).collect())
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["not_found"].as_array().unwrap().len(), 100_000);
}

/// 10.36: who would wait too long for the database is refused at once; probes are answered.
#[tokio::test]
async fn a_long_queue_is_shed() {
    let daemon = Daemon::start_with(Postgres, |config| {
        config.database.pool.size = 2;
        config.database.pool.timeout = Duration::from_millis(2500);
    })
    .await;
    assert_eq!(daemon.get("/tasks/").await.0, 200);
    let mut lock = PgConnection::connect(&daemon.database.url()).await.unwrap();
    let statements = "BEGIN; LOCK TABLE tasks";
    sqlx::raw_sql(statements).execute(&mut lock).await.unwrap();
    let get = |user| {
        let request = daemon.get("/tasks/").user(user).send();
        tokio::spawn(async move { request.await.unwrap() })
    };
    let holding = [get("alice"), get("bob")];
    tokio::time::sleep(Duration::from_millis(200)).await;
    // The first waits in vain, and from then on the others need not.
    let first = get("carol");
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let second = get("dave");
    let refused = first.await.unwrap();
    assert_eq!(refused.status(), 503);
    let started = Instant::now();
    let refused = daemon.get("/tasks/").user("erin").send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["detail"], "The service is overloaded at the moment");
    assert!(started.elapsed() < Duration::from_millis(1400));
    for probe in ["/health", "/health/live", "/health/ready", "/metrics"] {
        let started = Instant::now();
        let (status, _) = daemon.request(Method::GET, probe).anonymous().await;
        assert_eq!(status, 200, "{probe}");
        assert!(started.elapsed() < Duration::from_millis(1400), "{probe}");
    }
    assert_eq!(second.await.unwrap().status(), 503);
    lock.close().await.unwrap();
    for answer in holding {
        assert_eq!(answer.await.unwrap().status(), 200);
    }
    assert_eq!(daemon.get("/tasks/").await.0, 200);
}

/// An idle connection is closed after `KEEPALIVE_SECONDS`.
#[tokio::test]
async fn idle_connections() {
    let daemon = Daemon::start_with(Sqlite, |config| {
        config.http.keepalive = Duration::from_secs(2);
    })
    .await;
    let live = "GET /health/live HTTP/1.1";
    let mut stream = TcpStream::connect(address(&daemon)).await.unwrap();
    for pause in [0, 1100, 1100] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        assert_eq!(exchange(&mut stream, live, b"").await.0, 200);
    }
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert!(rest.is_empty());
}

/// An idle connection is put aside, and goes on with every byte that has arrived.
#[tokio::test]
async fn requests_after_a_pause() {
    let mut daemon = Daemon::start(Sqlite).await;
    let request = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    let pause = || tokio::time::sleep(Duration::from_millis(1200));
    let begins = [0, 1, 30, request.len() - 1];
    let scenes = begins
        .iter()
        .flat_map(|begin| [(*begin, false), (*begin, true)]);
    join_all(scenes.map(async |(begin, is_pipelined)| {
        let (begin, rest) = request.split_at(begin);
        let mut stream = TcpStream::connect(address(&daemon)).await.unwrap();
        for _ in 0..2 {
            if is_pipelined {
                let both = [request, begin].concat();
                stream.write_all(&both).await.unwrap();
                assert_eq!(answer(&mut stream).await.0, 200);
            } else {
                stream.write_all(request).await.unwrap();
                assert_eq!(answer(&mut stream).await.0, 200);
                stream.write_all(begin).await.unwrap();
            }
            pause().await;
            stream.write_all(rest).await.unwrap();
            assert_eq!(answer(&mut stream).await.0, 200);
            pause().await;
        }
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }))
    .await;
    // The rest of a body that nobody waits for is no request.
    let mut stream = TcpStream::connect(address(&daemon)).await.unwrap();
    let refused = b"POST /tasks/ HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n ";
    stream.write_all(refused).await.unwrap();
    assert_eq!(answer(&mut stream).await.0, 401);
    pause().await;
    stream.write_all(request).await.unwrap();
    pause().await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "{rest:?}");
    // It does not keep the daemon from stopping.
    let mut stream = TcpStream::connect(address(&daemon)).await.unwrap();
    stream.write_all(request).await.unwrap();
    assert_eq!(answer(&mut stream).await.0, 200);
    pause().await;
    assert!(daemon.stop().await);
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}
