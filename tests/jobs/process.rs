//! `todoctl serve` as a process.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

pub const SERVICE_TOKEN: &str = "5f0c1d2e3b4a59687786958493a2b1c0d1e2f3a4b5c6d7e8f90a1b2c3d4e5f60";

/// A running daemon, and what it says.
pub struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Process {
    /// Starts one in `directory`, in an environment that `configure` completes.
    pub fn serve(directory: &Path, configure: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_todoctl"));
        command
            .arg("serve")
            .current_dir(directory)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("PORT", "0")
            .env("SERVICE_AUTH_TOKEN", SERVICE_TOKEN)
            .env("SESSION_HASH_SECRET", SERVICE_TOKEN.replace("5f0c", "6a1b"))
            .env(
                "ENCRYPTION_KEY",
                "ZmVybmV0LWtleS1vZi0zMi1ieXRlcy1mb3ItdGVzdHM=",
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        configure(&mut command);
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
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with {text:?} in\n{}", self.seen.join("\n"));
            };
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The daemon's address, once it listens.
    pub fn base(&mut self) -> String {
        let line = self.line("listening");
        let line: Value = serde_json::from_str(&line).expect("a pipe gets JSON lines");
        format!("http://{}", line["address"].as_str().expect("an address"))
    }

    /// Asks it to stop; it has to do so well. What it said in all.
    pub fn end(mut self) -> String {
        let id = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status();
        assert!(told.is_ok_and(|status| status.success()));
        let status = self.child.wait().expect("a child");
        self.seen.extend(self.lines.iter());
        let said = self.seen.join("\n");
        assert_eq!(status.code(), Some(0), "{said}");
        said
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
