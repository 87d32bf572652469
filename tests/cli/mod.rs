//! What each command prints, to the letter.
//!
//! A snapshot holds the exit code, stdout and stderr. After a wanted change:
//! `cargo insta review`, or run with `INSTA_UPDATE=always`.

mod config;
mod database;
mod doctor;
mod edit;
mod gen_secrets;
mod health;
mod migrate;
mod session;
mod stdout;
mod usage;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support;

/// Runs of the binary in a directory and an environment of their own.
struct Cli {
    directory: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// What one run said.
struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Cli {
    fn new() -> Self {
        Self {
            directory: support::sqlite_dir(),
            environment: Vec::new(),
        }
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn file(&self, name: &str, text: &str) -> &Self {
        std::fs::write(self.path().join(name), text).unwrap();
        self
    }

    fn run(&self, arguments: &[&str]) -> Said {
        self.run_with(arguments, "")
    }

    /// The same with something on standard input.
    fn run_with(&self, arguments: &[&str], input: &str) -> Said {
        let mut child = Command::new(env!("CARGO_BIN_EXE_todoctl"))
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        // A command that does not read has closed it.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("the binary ends");
        Said {
            code: output.status.code().expect("it was not killed"),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

impl Said {
    /// The form of a snapshot.
    fn text(&self) -> String {
        let mut text = format!("exit {}\n", self.code);
        for (name, said) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !said.is_empty() {
                text += &format!("--- {name}\n{said}");
            }
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).expect("JSON on stdout")
    }
}

/// Compares what was said with the snapshot, without what differs from run to run.
fn assert_said(name: &str, said: &Said) {
    insta::with_settings!({
        filters => vec![
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[time]"),
            (r"\b\d+(\.\d+)? ms", "[n] ms"),
            (r#""millis": \d+"#, r#""millis": 0"#),
            (r"/\S*/todoctl-test-\w+", "[directory]"),
            // What a report says of a database's URL is broken into lines in the middle of a
            // name that differs from run to run.
            (r"(postgresql://\S+)\n {36,}([0-9a-z_]+)", "$1$2"),
            (r"\n {36,}(\S)", " $1"),
            (r"todoctl_test_[0-9a-f]{24}", "[database]"),
            (r"127\.0\.0\.1:\d+", "127.0.0.1:[port]"),
            (r"-p \d+ -U", "-p [port] -U"),
            (r"todo_[0-9a-f]{64}", "[token]"),
            (r"\b[0-9a-f]{64}\b", "[64 hex digits]"),
            (r"[A-Za-z0-9_-]{43}=", "[fernet key]"),
            (r"PostgreSQL \d+\.\d+( \([^)]*\))?", "PostgreSQL [version]"),
            (r"SQLite 3\.\d+\.\d+", "SQLite [version]"),
            (r"\b\d+ bytes", "[n] bytes"),
            (r"(sqlite|postgresql)://\S+ drops", "[url] drops"),
            (r"pid \d+ \([^)]+\)", "pid [pid] ([session])"),
            (r"pg_terminate_backend\(\d+\)", "pg_terminate_backend([pid])"),
            (r"WORKERS=\d+", "WORKERS=[cores]"),
            (r"WORKERS +\d+", "WORKERS [cores]"),
            (r"\b\d+ KiB; \d+ [KMG]iB free on the disk of \S+", "[n] KiB; [n] GiB free on the disk of [directory]"),
            (r"\b\d+ MiB free", "[n] MiB free"),
            (r", owner \d+", ", owner [n]"),
            (r"none of \d+ is idle", "none of [n] is idle"),
            (r"; the server allows \d+ \(max_connections \d+ less \d+ reserved\), \d+ in use(, others have [^\[\n]*[^\[\n ])?", "; the server allows [n] (max_connections [n] less [n] reserved), [n] in use"),
            // Columns are as wide as their longest value.
            (r"(\S) {2,}", "$1  "),
            (r" +\n", "\n"),
        ],
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(name, said.text());
    });
}
