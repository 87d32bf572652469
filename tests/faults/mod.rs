//! Environments that are broken on purpose, and what `todoctl doctor` and `db check` say.
//!
//! Every fault is a real one: a server, a port, a file, a certificate, a disk. Each test
//! gives the id of the check that has to find it, how that ends, and a piece of what has to
//! be typed; all within the time that is promised.

mod canary;
mod configuration;
mod daemon;
mod files;
mod fix;
mod healthy;
mod network;
mod page;
mod peers;
mod private_ca;
mod servers;
mod tls;
mod watch;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support;

/// What is promised for a whole run, and the time that a loaded machine needs besides.
const PROMISE: Duration = Duration::from_secs(33);

/// An environment of its own, healthy but for what a test breaks.
struct Broken {
    directory: tempfile::TempDir,
    environment: Vec<(String, String)>,
    user: Option<u32>,
}

/// One report.
struct Report {
    command: String,
    code: i32,
    json: Value,
}

impl Broken {
    /// The embedded database in a directory of its own, and nothing that leaves the machine.
    fn new() -> Self {
        let closed = "http://127.0.0.1:1";
        Self {
            directory: support::sqlite_dir(),
            environment: Vec::new(),
            user: None,
        }
        .env("GEMINI_API_URL", closed)
        .env("PORT", "1")
    }

    /// With a database at `url`, and the secrets that PostgreSQL requires.
    fn with_server(url: &str) -> Self {
        Self::new().env("DATABASE_URL", url).secrets()
    }

    fn secrets(self) -> Self {
        let hex = |seed: &str| seed.repeat(4);
        self.env("SESSION_HASH_SECRET", &hex("0f1e2d3c4b5a6978"))
            .env("SERVICE_AUTH_TOKEN", &hex("89abcdef01234567"))
            .env("JWT_SECRET", &hex("fedcba9876543210"))
            .env(
                "ENCRYPTION_KEY",
                "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
            )
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs everything as another user from now on.
    fn run_by(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn output(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_todoctl"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        if let Some(user) = self.user {
            use std::os::unix::process::CommandExt as _;
            command.uid(user).gid(user);
        }
        command.output().expect("the binary runs")
    }

    fn report(&self, arguments: &[&str]) -> Report {
        let started = Instant::now();
        let output = self.output(arguments);
        assert!(
            started.elapsed() < PROMISE,
            "{arguments:?} took {:?}",
            started.elapsed()
        );
        let said = String::from_utf8(output.stdout).unwrap();
        let command = arguments.join(" ");
        let json = serde_json::from_str(&said).unwrap_or_else(|error| {
            panic!(
                "{command}: {error}: {said}{}",
                String::from_utf8_lossy(&output.stderr)
            )
        });
        Report {
            command,
            code: output.status.code().unwrap(),
            json,
        }
    }

    fn doctor(&self) -> Report {
        self.report(&["doctor", "--format", "json"])
    }

    fn db_check(&self) -> Report {
        self.report(&["db", "check", "--format", "json"])
    }

    /// `doctor` and `db check` find the same.
    #[track_caller]
    fn database_says(&self, id: &str, outcome: &str, remedy: &str) {
        for report in [self.db_check(), self.doctor()] {
            report.says(id, outcome, remedy);
        }
    }
}

impl Report {
    fn check(&self, id: &str) -> &Value {
        let checks = self.json["checks"].as_array().unwrap();
        let found = checks.iter().find(|check| check["id"] == id);
        found.unwrap_or_else(|| panic!("{}: no {id} in {:#}", self.command, self.json))
    }

    fn detail(&self, id: &str) -> &str {
        self.check(id)["detail"].as_str().unwrap()
    }

    /// The check ended so, and its remedy holds `remedy`; the exit code fits.
    #[track_caller]
    fn says(&self, id: &str, outcome: &str, remedy: &str) -> &Self {
        let check = self.check(id);
        assert_eq!(
            check["outcome"], outcome,
            "{}: {:#}",
            self.command, self.json
        );
        let said = check["remedy"].as_str().unwrap_or_default();
        assert!(said.contains(remedy), "{}: {check:#}", self.command);
        if outcome == "fail" {
            assert_eq!(self.code, 1, "{}", self.command);
            assert!(!said.is_empty(), "a fault without a remedy: {check:#}");
        }
        self
    }
}
