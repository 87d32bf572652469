//! More connections than the daemon has room for.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::blocking_http_client;
use crate::support::process::{Process, SERVICE_TOKEN, serve_after, with_secrets};
use crate::support::sqlite_dir;

/// Silent connections, more than there are places: probes are answered at once, other requests
/// are told to come back, and the silent ones are dropped.
#[test]
fn silent_connections() {
    let directory = sqlite_dir();
    let mut command = serve_after("ulimit -n 420", directory.path());
    let mut daemon = Process::start(with_secrets(&mut command));
    let base = daemon.base();
    let silent: Vec<TcpStream> = (0..500)
        .map(|_| TcpStream::connect(base.trim_start_matches("http://")).unwrap())
        .collect();
    let get = |path: &str| {
        let started = Instant::now();
        let request = blocking_http_client().get(format!("{base}{path}"));
        let request = request.bearer_auth(SERVICE_TOKEN).header("X-User-ID", "me");
        (request.send().unwrap(), started.elapsed())
    };
    for path in ["/health/live", "/health", "/health/ready", "/metrics"] {
        let (answer, time) = get(path);
        assert_eq!(answer.status(), 200, "{path}");
        assert!(time < Duration::from_secs(1), "{path}: {time:?}");
    }
    let (refused, _) = get("/tasks/");
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(refused.headers()["connection"], "close");
    let deadline = Instant::now() + Duration::from_secs(40);
    while get("/tasks/").0.status() != 200 {
        assert!(Instant::now() < deadline, "the silent connections stay");
        std::thread::sleep(Duration::from_millis(200));
    }
    for mut stream in silent {
        let _ = stream.write_all(b"x");
        let _ = stream.read(&mut [0]);
    }
    daemon.stop();
}

/// A burst beyond the limits, of which the daemon learns at once: whoever has to make room has been
/// answered before.
#[test]
fn a_burst_of_requests() {
    let directory = sqlite_dir();
    let mut command = serve_after("ulimit -n 420", directory.path());
    let mut daemon = Process::start(with_secrets(&mut command));
    let base = daemon.base();
    let address = base.trim_start_matches("http://");
    let silent: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    daemon.signal("-STOP");
    let mut clients: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    for client in &mut clients {
        let request = "GET /tasks/ HTTP/1.1\r\nHost: x\r\n\r\n";
        client.write_all(request.as_bytes()).unwrap();
    }
    daemon.signal("-CONT");
    let unanswered: Vec<_> = clients
        .into_iter()
        .enumerate()
        .filter_map(|(number, mut client)| {
            let mut answer = String::new();
            let ended = client.read_to_string(&mut answer);
            let is_answered = ended.is_ok() && answer.starts_with("HTTP/1.1 503 ");
            (!is_answered).then_some((number, ended, answer))
        })
        .collect();
    assert!(unanswered.is_empty(), "{unanswered:?}");
    drop(silent);
    daemon.stop();
}
