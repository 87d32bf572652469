//! What a stop owes to clients, and how long it takes.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rstest::rstest;
use sqlx::{Connection as _, SqliteConnection};

use crate::support::process::{Process, SERVICE_TOKEN, serve, with_secrets};
use crate::support::sqlite_dir;

/// `SHUTDOWN_GRACE_SECONDS` of these tests.
const GRACE: Duration = Duration::from_secs(20);

fn start(directory: &Path, grace: Duration) -> (Process, SocketAddr) {
    let mut command = serve(directory);
    let grace = grace.as_secs().to_string();
    with_secrets(&mut command)
        .env("DATABASE_URL", "sqlite://todo.db")
        .env("SHUTDOWN_GRACE_SECONDS", grace);
    let mut daemon = Process::start(&mut command);
    let address = daemon.base().replace("http://", "").parse().unwrap();
    (daemon, address)
}

/// Stops the daemon; how long that took.
fn stop(daemon: Process) -> (ExitStatus, String, Duration) {
    let started = Instant::now();
    daemon.signal("-TERM");
    let (status, said) = daemon.end();
    (status, said, started.elapsed())
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(40)))
        .unwrap();
    stream
}

fn create(user: usize) -> String {
    let body = r#"{"title":"t"}"#;
    format!(
        "POST /tasks/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SERVICE_TOKEN}\r\n\
         X-User-ID: usr_{user}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The status of the next answer, whose body is read too.
fn answer(stream: &mut TcpStream) -> io::Result<u16> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap();
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    stream.read_exact(&mut vec![0; length])?;
    Ok(head.split(' ').nth(1).unwrap().parse().unwrap())
}

/// Requests that were written before the signal: on new connections, which the daemon may not have
/// accepted yet, on such whose client has closed its side, and on connections that it believes idle.
#[test]
fn every_request_is_answered() {
    let directory = sqlite_dir();
    let (daemon, address) = start(directory.path(), GRACE);
    let mut clients = Vec::new();
    for number in 0..800 {
        let mut client = connect(address);
        if number % 2 == 0 {
            write!(client, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            assert_eq!(answer(&mut client).unwrap(), 200);
        }
        clients.push(client);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        if number % 4 == 3 {
            // Not accepted yet, perhaps.
            *client = connect(address);
        }
        client.write_all(create(number).as_bytes()).unwrap();
        if number % 8 > 3 {
            client.shutdown(Shutdown::Write).unwrap();
        }
    }
    daemon.signal("-TERM");
    let unanswered: Vec<_> = clients
        .iter_mut()
        .enumerate()
        .filter_map(|(number, client)| match answer(client) {
            Ok(201 | 503) => None,
            other => Some((number, other)),
        })
        .collect();
    assert!(
        unanswered.is_empty(),
        "{} of 800: {unanswered:?}",
        unanswered.len()
    );
    let (status, said) = daemon.end();
    assert_eq!(status.code(), Some(0), "{said}");
}

/// A client that sends nothing more than its request gets the answer, also without a stop.
#[test]
fn a_half_closed_client_is_answered() {
    let directory = sqlite_dir();
    let (daemon, address) = start(directory.path(), GRACE);
    for request in [
        create(1),
        "GET /health HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    ] {
        let mut client = connect(address);
        client.write_all(request.as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert!(matches!(answer(&mut client), Ok(200 | 201)), "{request}");
        // And the daemon closes its side too.
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
    daemon.stop();
}

/// A client that is slow to read gets the whole answer, as long as the grace lasts.
#[test]
fn a_slow_client_gets_the_whole_answer() {
    let directory = sqlite_dir();
    let (daemon, address) = start(directory.path(), GRACE);
    let mut client = connect(address);
    let request = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n";
    client.write_all(request.as_bytes()).unwrap();
    // More than the buffers of both sockets hold.
    assert_eq!(client.peek(&mut [0]).unwrap(), 1);
    daemon.signal("-TERM");
    // Longer than a connection without a request would stay.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(answer(&mut client).unwrap(), 200);
    let (status, said) = daemon.end();
    assert_eq!(status.code(), Some(0), "{said}");
}

/// Connections without a request do not keep the daemon, and what arrives soon is answered.
#[test]
fn half_a_head_does_not_cost_the_grace() {
    let directory = sqlite_dir();
    let (mut daemon, address) = start(directory.path(), GRACE);
    let silent = connect(address);
    let mut idle = connect(address);
    write!(idle, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(answer(&mut idle).unwrap(), 200);
    let half = "GET /health/live HTTP/1.1\r\nHost";
    let mut halves: Vec<_> = (0..4).map(|_| connect(address)).collect();
    for client in &mut halves {
        client.write_all(half.as_bytes()).unwrap();
    }
    // The half of a second request.
    idle.write_all(half.as_bytes()).unwrap();
    let started = Instant::now();
    daemon.signal("-TERM");
    daemon.line("SIGTERM received");
    let mut finished = halves.pop().unwrap();
    finished.write_all(b": x\r\n\r\n").unwrap();
    assert_eq!(answer(&mut finished).unwrap(), 200);
    let (status, said) = daemon.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(started.elapsed() < GRACE / 2, "{:?}", started.elapsed());
    drop((silent, idle, halves));
}

/// Another process keeps the file locked, as a backup or a shell does.
#[rstest]
#[case::nothing_waits(false, 0)]
#[case::a_change_waits(true, 1)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_file_is_locked(#[case] waits: bool, #[case] code: i32) {
    let directory = sqlite_dir();
    let grace = Duration::from_secs(1);
    let (daemon, address) = start(directory.path(), grace);
    let url = format!("sqlite://{}", directory.path().join("todo.db").display());
    let mut holder = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE; DELETE FROM tasks")
        .execute(&mut holder)
        .await
        .unwrap();
    let mut client = connect(address);
    if waits {
        client.write_all(create(1).as_bytes()).unwrap();
    }
    let (status, said, took) = stop(daemon);
    assert_eq!(status.code(), Some(code), "{said}");
    assert!(took < Duration::from_secs(6), "{took:?}: {said}");
    assert_eq!(said.contains("stopped with requests unanswered"), waits);
    holder.close().await.unwrap();
}
