//! Signals: what ends a command, and what the daemon makes of the others.

use std::io::Read;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{create, total};
use crate::support::process::{Process, SERVICE_TOKEN, serve, serve_after, with_secrets};
use crate::support::sqlite_dir;

fn kill(child: &Child, signal: &str) {
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args([signal, &id])
            .status()
            .unwrap()
            .success()
    );
}

/// Every command ends on SIGTERM and SIGINT by a handler of its own, whatever it waits for: the
/// first process of a container has no other. A handler is what turns a signal into an exit code.
#[test]
fn commands_end() {
    // A server that accepts and says nothing.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("postgresql://todo@127.0.0.1:{port}/todo");
    let health = format!("http://127.0.0.1:{port}");
    for (arguments, signal, code) in [
        (&["migrate", "up"][..], "-TERM", 143),
        (&["migrate", "up"], "-INT", 130),
        (&["migrate", "check"], "-TERM", 143),
        (&["db", "check"], "-TERM", 143),
        (&["doctor"], "-INT", 130),
        (&["jobs", "run", "reminders"], "-TERM", 143),
        (&["session", "list"], "-INT", 130),
        (
            &["health", "--url", &health, "--timeout", "20s"],
            "-TERM",
            143,
        ),
        // It reads stdin.
        (&["explain", "-"], "-TERM", 143),
    ] {
        let directory = sqlite_dir();
        let mut command = Command::new(env!("CARGO_BIN_EXE_todoctl"));
        command
            .args(arguments)
            .current_dir(directory.path())
            .env_clear()
            .env("DATABASE_URL", &url)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = with_secrets(&mut command).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(700));
        if let Some(status) = child.try_wait().unwrap() {
            let mut said = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut said)
                .unwrap();
            panic!("{arguments:?} ended by itself: {status} {said}");
        }
        // `wait` closes it, and the end of its input is an answer too.
        let stdin = child.stdin.take();
        let started = Instant::now();
        kill(&child, signal);
        let status = child.wait().unwrap();
        drop(stdin);
        assert_eq!(status.code(), Some(code), "{arguments:?}");
        assert!(started.elapsed() < Duration::from_secs(10), "{arguments:?}");
    }
}

/// SIGHUP stops the daemon as SIGTERM does; SIGUSR1 and SIGUSR2 do nothing.
#[test]
fn the_daemon_drains_or_ignores() {
    let directory = sqlite_dir();
    let mut command = serve(directory.path());
    let mut daemon = Process::start(with_secrets(&mut command));
    let base = daemon.base();
    for signal in ["-USR1", "-USR2"] {
        daemon.signal(signal);
        create(&base, SERVICE_TOKEN, signal);
    }
    assert_eq!(total(&base, SERVICE_TOKEN), 2);
    daemon.signal("-HUP");
    let (status, said) = daemon.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(
        said.contains("SIGHUP received; finishing requests in progress"),
        "{said}"
    );
}

/// nohup has SIGHUP ignored, and that stays so.
#[test]
fn under_nohup() {
    let directory = sqlite_dir();
    let mut command = serve_after("trap '' HUP", directory.path());
    let mut daemon = Process::start(with_secrets(&mut command));
    let base = daemon.base();
    daemon.signal("-HUP");
    create(&base, SERVICE_TOKEN, "t");
    daemon.stop();
}
