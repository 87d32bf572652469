//! `todoctl serve` as a process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is what ends a test"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

pub use super::ports::free_port;

pub const SERVICE_TOKEN: &str = "5f0c1d2e3b4a59687786958493a2b1c0d1e2f3a4b5c6d7e8f90a1b2c3d4e5f60";

/// A daemon in a directory and an environment of its own.
pub struct Process {
    child: Child,
    /// Lines of stderr as they come.
    lines: mpsc::Receiver<String>,
    pub seen: Vec<String>,
}

/// The command in `directory`, with an environment of its own.
pub fn serve(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_todoctl"));
    in_directory(command.arg("serve"), directory);
    command
}

/// The same from a shell, after `preparation`, such as `ulimit -n 420`.
pub fn serve_after(preparation: &str, directory: &Path) -> Command {
    let script = format!(
        "{preparation}; exec '{}' serve",
        env!("CARGO_BIN_EXE_todoctl")
    );
    let mut command = Command::new("sh");
    in_directory(command.args(["-c", &script]), directory);
    command
}

fn in_directory(command: &mut Command, directory: &Path) {
    command
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("PORT", "0")
        .env("TMPDIR", directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
}

/// The secrets that a daemon on PostgreSQL requires.
pub fn with_secrets(command: &mut Command) -> &mut Command {
    command
        .env("SERVICE_AUTH_TOKEN", SERVICE_TOKEN)
        .env("SESSION_HASH_SECRET", SERVICE_TOKEN.replace("5f0c", "6a1b"))
        .env(
            "ENCRYPTION_KEY",
            "ZmVybmV0LWtleS1vZi0zMi1ieXRlcy1mb3ItdGVzdHM=",
        )
}

impl Process {
    /// Starts it, and reads what it says.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the binary starts");
        let stderr = child.stderr.take().expect("piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Waits for a line that contains `text` and returns it.
    pub fn line(&mut self, text: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout | mpsc::RecvTimeoutError::Disconnected) => {
                    panic!("no line with {text:?} in\n{}", self.seen.join("\n"))
                }
            }
        }
    }

    /// Waits for one more line: `None` if it contains `text`; otherwise the exit status, if that
    /// was the end.
    pub fn ended_or_line(&mut self, text: &str) -> Option<Option<ExitStatus>> {
        match self.lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                let is_found = line.contains(text);
                self.seen.push(line);
                (!is_found).then_some(None)
            }
            Err(mpsc::RecvTimeoutError::Timeout) => Some(None),
            Err(mpsc::RecvTimeoutError::Disconnected) => Some(Some(self.child.wait().unwrap())),
        }
    }

    /// The daemon's address, once it listens.
    pub fn base(&mut self) -> String {
        let line = self.line("listening");
        let line: Value = serde_json::from_str(&line).expect("a pipe gets JSON lines");
        format!("http://{}", line["address"].as_str().expect("an address"))
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal such as `-TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end; what it wrote to stderr in all.
    pub fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        self.seen.extend(self.lines.iter());
        (status, self.seen.join("\n"))
    }

    /// Asks it to stop; it has to do so well. What it said in all.
    pub fn stop(self) -> String {
        self.signal("-TERM");
        let (status, said) = self.end();
        assert_eq!(status.code(), Some(0), "{said}");
        said
    }

    /// As `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
