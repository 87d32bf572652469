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
