//! What becomes of the log never matters to the work.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::Value;

use super::create;
use crate::support::process::{Process, SERVICE_TOKEN, free_port, serve, with_secrets};
use crate::support::{blocking_http_client, sqlite_dir};

/// A daemon at a port that is known although its log is not read. Killed with its value.
struct Unheard(Child, String);

impl Unheard {
    fn start(directory: &Path, stderr: Stdio) -> Self {
        let port = free_port();
        let mut command = serve(directory);
        let command: &mut Command = with_secrets(&mut command);
        let child = command
            .env("PORT", port.to_string())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let started = Self(child, format!("http://127.0.0.1:{port}"));
        let deadline = Instant::now() + Duration::from_secs(30);
        while started.get("/health/live").is_none() {
            assert!(Instant::now() < deadline, "it does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        started
    }

    fn get(&self, path: &str) -> Option<(u16, String)> {
        let answer = blocking_http_client()
            .get(format!("{}{path}", self.1))
            .send()
            .ok()?;
        Some((answer.status().as_u16(), answer.text().ok()?))
    }

    fn dropped(&self) -> u64 {
        let (_, text) = self.get("/metrics").unwrap();
        let name = "todoctl_log_lines_dropped_total ";
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].parse().unwrap()
    }

    /// Stops it, which has to take less than ten seconds.
    fn stop(mut self) -> ExitStatus {
        let id = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As `todoctl serve 2> >(head -n 6 >/dev/null)`.
#[test]
fn a_closed_log() {
    let directory = sqlite_dir();
    let mut daemon = Unheard::start(directory.path(), Stdio::piped());
    let mut lines = BufReader::new(daemon.0.stderr.take().unwrap()).lines();
    for _ in 0..6 {
        lines.next().unwrap().unwrap();
    }
    drop(lines);
    for number in 0..50 {
        create(&daemon.1, SERVICE_TOKEN, &format!("t{number}"));
    }
    assert_eq!(daemon.get("/health").unwrap().0, 200);
    assert!(daemon.dropped() >= 40);
    assert_eq!(daemon.stop().code(), Some(0));
}

/// A full disk.
#[test]
fn a_full_log() {
    let directory = sqlite_dir();
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let daemon = Unheard::start(directory.path(), full.into());
    for number in 0..50 {
        create(&daemon.1, SERVICE_TOKEN, &format!("t{number}"));
    }
    assert_eq!(daemon.get("/health/ready").unwrap().0, 200);
    assert!(daemon.dropped() >= 50);
    assert_eq!(daemon.stop().code(), Some(0));
}

/// A reader that has stopped reading holds nothing up: requests, probes, the stop.
#[test]
fn a_stalled_log() {
    let directory = sqlite_dir();
    let daemon = Unheard::start(directory.path(), Stdio::piped());
    let client = blocking_http_client();
    for _ in 0..2000 {
        let answer = client.get(format!("{}/tasks/", daemon.1)).send().unwrap();
        assert_eq!(answer.status(), 401);
    }
    create(&daemon.1, SERVICE_TOKEN, "t");
    let started = Instant::now();
    assert_eq!(daemon.get("/health/live").unwrap().0, 200);
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(daemon.stop().code(), Some(0));
}

/// `LOG_REQUESTS`: a request that is answered at once, one that takes long, one that is refused.
#[rstest]
#[case("all", &["/health/live", "/tasks/", "/nowhere"])]
#[case("slow", &["/tasks/", "/nowhere"])]
#[case("errors", &["/nowhere"])]
fn requests_in_the_log(#[case] setting: &str, #[case] expected: &[&str]) {
    let directory = sqlite_dir();
    let mut command = serve(directory.path());
    let command = with_secrets(&mut command);
    let mut daemon = Process::start(command.env("LOG_REQUESTS", setting));
    let base = daemon.base();
    let address = base.strip_prefix("http://").unwrap();
    let client = blocking_http_client();
    let get = |path: &str| client.get(format!("{base}{path}")).send().unwrap().status();
    assert_eq!(get("/health/live"), 200);
    let mut slow = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /tasks/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SERVICE_TOKEN}\r\nX-User-ID: me\r\nContent-Type: application/json\r\nContent-Length: 13\r\nConnection: close\r\n\r\n{{\"title\""
    );
    slow.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    slow.write_all(b":\"t\"}").unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(get("/nowhere"), 404);
    let log = daemon.stop();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect(line));
    let logged: Vec<String> = lines
        .filter(|line| line["status"].is_u64())
        .map(|line| match line["route"].as_str().unwrap() {
            "other" => "/nowhere".to_owned(),
            route => route.to_owned(),
        })
        .collect();
    assert_eq!(logged, expected);
}

/// The notes of the other commands go to stderr too; without it, the exit code still tells.
#[test]
fn commands_without_stderr() {
    let full = || {
        std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    for (arguments, code) in [
        (&["db", "check"][..], 1),
        (&["explain", "x"], 1),
        (&["no-such-command"], 2),
        (&["session", "revoke", "1"], 2),
        (&[], 2),
    ] {
        let directory = sqlite_dir();
        let status = Command::new(env!("CARGO_BIN_EXE_todoctl"))
            .args(arguments)
            .current_dir(directory.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(full())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
}
