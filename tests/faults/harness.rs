//! A fault that is made for real, found, corrected by typing its remedy, and gone.

use std::any::Any;
use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use url::Url;

use super::fingerprint::Fingerprint;
use super::report::{PROMISE, Report};
use crate::support::process::{Process, serve};
use crate::support::{TestDatabase, blocking_http_client, postgres_url, sqlite_dir};

/// A row of the table of faults. `docs/checks.md` lists them.
#[derive(Debug)]
pub struct Fault {
    /// What is wrong, in a few words; unique.
    pub title: &'static str,
    pub symptom: Symptom,
    /// The check that finds it.
    pub check: &'static str,
    /// How that check ends: `fail` or `warn`.
    pub outcome: &'static str,
    pub after: After,
}

/// What a client or an operator notices.
#[derive(Debug, Clone, Copy)]
pub enum Symptom {
    /// `todoctl serve` ends with exit code 2, and this text is in what it prints.
    Start(&'static str),
    /// The daemon answers a request of a user with this status, and with 2xx when the fault is
    /// gone.
    Answer {
        method: &'static str,
        path: &'static str,
        status: u16,
    },
    /// Clients notice nothing yet; what is at risk.
    Risk(&'static str),
}

/// How the check ends after the remedy.
#[derive(Debug, Clone, Copy)]
pub enum After {
    /// The remedy was typed.
    Typed(&'static str),
    /// The remedy is a comment, because only a person can act; why.
    Person(&'static str),
}

impl fmt::Display for Symptom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(said) => write!(f, "`todoctl serve` ends: {said}"),
            Self::Answer {
                method,
                path,
                status,
            } => write!(f, "`{method} {path}` answers {status}"),
            Self::Risk(what) => f.write_str(what),
        }
    }
}

/// Declares the faults of a file, and lists them in its `FAULTS`.
macro_rules! faults {
    ($($name:ident = $value:expr;)*) => {
        $(static $name: $crate::faults::harness::Fault = $value;)*
        pub static FAULTS: &[&$crate::faults::harness::Fault] = &[$(&$name),*];
    };
}
pub(crate) use faults;

const SERVICE_TOKEN: &str = "89abcdef0123456789abcdef0123456789abcdef0123456789abcdef01234567";

/// How long `serve` may wait for a database that does not answer.
const START: Duration = Duration::from_secs(60);

/// A service whose configuration is a `.env` file in its working directory. Deleted with its
/// value, and the daemon stopped.
pub struct Scene {
    pub directory: tempfile::TempDir,
    /// Has the passwords of the test server's administrator.
    home: tempfile::TempDir,
    /// Has the built `todoctl`.
    programs: tempfile::TempDir,
    pub database: Option<TestDatabase>,
    daemon: Option<(Process, String)>,
    user: Option<u32>,
    /// Peers and others that live as long as the scene.
    pub parts: Vec<Box<dyn Any>>,
}

impl Scene {
    /// A configuration that is right, on the embedded database, which does not exist yet.
    pub fn new() -> Self {
        let scene = Self {
            directory: sqlite_dir(),
            home: tempfile::tempdir().unwrap(),
            programs: tempfile::tempdir().unwrap(),
            database: None,
            daemon: None,
            user: None,
            parts: Vec::new(),
        };
        for directory in [&scene.directory, &scene.programs] {
            set_mode(directory.path(), 0o755);
        }
        symlink(
            env!("CARGO_BIN_EXE_todoctl"),
            scene.programs.path().join("todoctl"),
        )
        .unwrap();
        let hex = |seed: &str| seed.repeat(4);
        scene.set("GEMINI_API_URL", "http://127.0.0.1:1");
        scene.set("PORT", "1");
        scene.set("SESSION_HASH_SECRET", &hex("0f1e2d3c4b5a6978"));
        scene.set("SERVICE_AUTH_TOKEN", SERVICE_TOKEN);
        scene.set("JWT_SECRET", &hex("fedcba9876543210"));
        scene.set(
            "ENCRYPTION_KEY",
            "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        );
        scene
    }

    /// With a task in a migrated SQLite file.
    pub async fn sqlite() -> Self {
        let scene = Self::new();
        let output = scene.todoctl(&["migrate", "up"]);
        assert!(output.status.success(), "{}", said(&output));
        let insert = "INSERT INTO tasks (user_id, title, title_folded, created_at, updated_at)
                      VALUES ('me', 'one', 'one', 1, 1)";
        super::fingerprint::sqlite(&scene.file(), insert).await;
        scene
    }

    /// With a task in a migrated PostgreSQL database.
    pub async fn postgres() -> Self {
        let scene = Self::empty_postgres_of(TestDatabase::migrated().await);
        scene
            .sql(
                "INSERT INTO tasks (user_id, title, created_at, updated_at)
                  VALUES ('me', 'one', now(), now())",
            )
            .await;
        scene
    }

    /// With an empty PostgreSQL database.
    pub async fn empty_postgres() -> Self {
        Self::empty_postgres_of(TestDatabase::create().await)
    }

    fn empty_postgres_of(database: TestDatabase) -> Self {
        let mut scene = Self::new();
        scene.set("DATABASE_URL", &database.url);
        let server = Url::parse(&postgres_url()).unwrap();
        let line = format!(
            "{}:{}:*:{}:{}\n",
            server.host_str().unwrap(),
            server.port().unwrap(),
            server.username(),
            server.password().unwrap_or_default()
        );
        let passwords = scene.home.path().join(".pgpass");
        std::fs::write(&passwords, line).unwrap();
        set_mode(&passwords, 0o600);
        scene.database = Some(database);
        scene
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The file of the embedded database.
    pub fn file(&self) -> PathBuf {
        self.path().join("data/todo.db")
    }

    fn env_file(&self) -> PathBuf {
        self.path().join(".env")
    }

    /// The value of a variable in the `.env` file.
    pub fn get(&self, name: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.env_file()).unwrap();
        let begin = format!("{name}=");
        let line = text.lines().find_map(|line| line.strip_prefix(&begin));
        line.map(str::to_owned)
    }

    /// Sets a variable in the `.env` file, as it is written there.
    pub fn set(&self, name: &str, value: &str) {
        self.write(name, Some(value));
    }

    pub fn unset(&self, name: &str) {
        self.write(name, None);
    }

    fn write(&self, name: &str, value: Option<&str>) {
        let path = self.env_file();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let begin = format!("{name}=");
        let mut lines: Vec<String> = text
            .lines()
            .filter(|line| !line.starts_with(&begin))
            .map(str::to_owned)
            .collect();
        lines.extend(value.map(|value| format!("{name}={value}")));
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        set_mode(&path, 0o600);
    }

    /// todoctl runs as this user from now on, who owns the `.env` file; remedies are typed by
    /// root.
    pub fn run_by(&mut self, user: u32) {
        std::os::unix::fs::chown(self.env_file(), Some(user), Some(user)).unwrap();
        self.user = Some(user);
    }

    /// Runs statements in the PostgreSQL database as its administrator.
    pub async fn sql(&self, statements: &str) {
        self.database.as_ref().unwrap().execute(statements).await;
    }

    fn clean(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env(
                "PATH",
                format!(
                    "{}:/usr/bin:/bin:/usr/sbin:/sbin",
                    self.programs.path().display()
                ),
            );
        command
    }

    pub fn todoctl(&self, arguments: &[&str]) -> Output {
        let mut command = self.clean(&self.programs.path().join("todoctl"));
        command.args(arguments).stdin(Stdio::null());
        if let Some(user) = self.user {
            use std::os::unix::process::CommandExt as _;
            command.uid(user).gid(user);
        }
        command.output().expect("the binary runs")
    }

    /// What a check says now.
    pub fn check(&self, arguments: &[&str]) -> Report {
        let started = Instant::now();
        let output = self.todoctl(arguments);
        let took = started.elapsed();
        assert!(took < PROMISE, "{arguments:?} took {took:?}");
        let json = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", said(&output)));
        Report {
            command: arguments.join(" "),
            code: output.status.code().unwrap(),
            json,
        }
    }

    pub fn doctor(&self, id: &str) -> Report {
        self.check(&["doctor", "--only", id, "--format", "json"])
    }

    /// Types lines into a clean shell in the working directory.
    pub fn type_in(&self, lines: &str) {
        let mut shell = self
            .clean(Path::new("/bin/sh"))
            // A line that fails ends it.
            .arg("-e")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = shell.stdin.take().unwrap();
        stdin.write_all(lines.as_bytes()).unwrap();
        drop(stdin);
        let output = shell.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "the remedy failed:\n{lines}\n{}",
            said(&output)
        );
        if let Some(user) = self.user {
            // What root has written in the working directory is todoctl's.
            std::os::unix::fs::chown(self.env_file(), Some(user), Some(user)).unwrap();
        }
    }

    /// Starts the daemon, on a port of its own, unless it runs.
    pub fn start(&mut self) {
        if self.daemon.is_none() {
            let mut process = Process::start(&mut serve(self.path()));
            let base = process.base();
            self.daemon = Some((process, base));
        }
    }

    pub fn stop(&mut self) {
        if let Some((process, _)) = self.daemon.take() {
            process.kill();
        }
    }

    /// The status that the daemon answers a user with.
    fn status(&mut self, method: &str, path: &str) -> u16 {
        self.start();
        let (_, base) = self.daemon.as_ref().unwrap();
        let method = method.parse().unwrap();
        let url = format!("{base}{path}");
        let has_body = method == reqwest::Method::POST;
        std::thread::spawn(move || {
            let mut request = blocking_http_client()
                .request(method, url)
                .bearer_auth(SERVICE_TOKEN)
                .header("X-User-ID", "me");
            if has_body {
                request = request.json(&serde_json::json!({"title": "two"}));
            }
            request.send().unwrap().status().as_u16()
        })
        .join()
        .unwrap()
    }

    /// Whether `serve` ends with exit code 2, and what it prints.
    fn start_fails(&self) -> Option<String> {
        let mut process = Process::start(&mut serve(self.path()));
        let deadline = Instant::now() + START;
        let status = loop {
            assert!(Instant::now() < deadline, "serve neither starts nor ends");
            match process.ended_or_line("listening") {
                None => return None,
                Some(Some(status)) => break status,
                Some(None) => {}
            }
        };
        assert_eq!(status.code(), Some(2), "{}", process.seen.join("\n"));
        Some(process.seen.join("\n"))
    }

    fn shows(&mut self, fault: &Fault) {
        match fault.symptom {
            Symptom::Start(text) => {
                let printed = self.start_fails();
                let printed = printed.unwrap_or_else(|| panic!("{}: it starts", fault.title));
                assert!(printed.contains(text), "{}: {printed}", fault.title);
            }
            Symptom::Answer {
                method,
                path,
                status,
            } => assert_eq!(self.status(method, path), status, "{}", fault.title),
            Symptom::Risk(_) => {}
        }
    }

    fn is_well(&mut self, fault: &Fault) {
        match fault.symptom {
            Symptom::Start(_) => {
                let printed = self.start_fails();
                assert!(printed.is_none(), "{}: {printed:?}", fault.title);
            }
            Symptom::Answer { method, path, .. } => {
                let status = self.status(method, path);
                assert!((200..300).contains(&status), "{}: {status}", fault.title);
            }
            Symptom::Risk(_) => {}
        }
    }

    /// Proves a fault that was made: its symptom, what `doctor` and `db check` say, and that the
    /// remedy, typed literally, corrects it and changes no data. A remedy for a person is a
    /// comment; [`Scene::proves_gone`] then shows that what the person does is enough.
    ///
    /// # Panics
    /// If one of that is not so.
    pub async fn proves(&mut self, fault: &Fault) {
        self.shows(fault);
        let before = Fingerprint::of(self).await;
        let remedy = self.found(fault);
        match fault.after {
            After::Typed(_) => {
                assert!(
                    remedy.lines().any(|line| !line.starts_with("# ")),
                    "{}: the remedy has no command:\n{remedy}",
                    fault.title
                );
                self.type_in(&remedy);
                before.is_kept_in(&Fingerprint::of(self).await, fault.title);
                self.proves_gone(fault);
            }
            After::Person(_) => {
                for line in remedy.lines().filter(|line| !line.starts_with("# ")) {
                    // It only shows something.
                    assert!(is_harmless(line), "{}: {line}", fault.title);
                }
                self.type_in(&remedy);
                before.is_kept_in(&Fingerprint::of(self).await, fault.title);
            }
        }
    }

    /// What the checks say about the fault; its remedy.
    fn found(&self, fault: &Fault) -> String {
        let mut reports = vec![self.doctor(fault.check)];
        if fault.check.starts_with("database.") {
            reports.push(self.check(&["db", "check", "--format", "json"]));
        }
        for report in &reports {
            report.says(fault.check, fault.outcome, "");
        }
        let remedy = reports[0].check(fault.check)["remedy"].as_str();
        let remedy = remedy.unwrap_or_else(|| panic!("{}: no remedy", fault.title));
        let faults = remedy_faults(remedy);
        assert!(faults.is_empty(), "{}: {faults:?}\n{remedy}", fault.title);
        remedy.to_owned()
    }

    /// The check passes, and clients are served again.
    pub fn proves_gone(&mut self, fault: &Fault) {
        let expected = match fault.after {
            After::Typed(outcome) => outcome,
            After::Person(_) => "pass",
        };
        let report = self.doctor(fault.check);
        let outcome: &Value = &report.check(fault.check)["outcome"];
        assert_eq!(outcome, expected, "{}: {:#}", fault.title, report.json);
        self.is_well(fault);
    }
}

/// What a remedy must not have: something left to replace, or only another check.
pub fn remedy_faults(remedy: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let commands: Vec<&str> = remedy
        .lines()
        .filter(|line| !line.starts_with("# "))
        .collect();
    for line in &commands {
        let words = shlex::split(line);
        if words.is_none() {
            faults.push(format!("no shell command: {line}"));
        }
        for word in line.split(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '_')) {
            if PLACEHOLDERS.contains(&word) {
                faults.push(format!("{word} is left to replace: {line}"));
            }
        }
    }
    for sign in ["…", "sudo ", "{", "<"] {
        if commands.iter().any(|line| line.contains(sign)) {
            faults.push(format!("{sign} in a command"));
        }
    }
    if !commands.is_empty() && commands.iter().all(|line| is_check(line)) {
        faults.push("it only checks again".to_owned());
    }
    faults
}

const PLACEHOLDERS: &[&str] = &[
    "ROLE",
    "FILE",
    "PID",
    "HOST",
    "USER",
    "PASSWORD",
    "NAME",
    "ADMIN",
    "TABLE",
    "DATABASE",
    "OLD_OWNER",
    "VALUE",
];

fn is_check(line: &str) -> bool {
    ["todoctl doctor", "todoctl db check", "todoctl config check"]
        .iter()
        .any(|check| line.starts_with(check))
}

/// Commands that a person is shown something by.
fn is_harmless(line: &str) -> bool {
    let begins = [
        "todoctl migrate check",
        "todoctl migrate status",
        "todoctl db psql -c 'SELECT",
        "todoctl db psql -c \"SELECT",
        "ss -ltnp",
        "fuser -v ",
        "curl -i ",
        "date -u",
    ];
    begins.iter().any(|begin| line.starts_with(begin))
}

pub fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr]
        .map(String::from_utf8_lossy)
        .join("")
}
