//! A service of a test's own: a `.env` file, a database, a clean shell.

use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use url::Url;

use super::fingerprint;
use super::report::{PROMISE, Report};
use crate::support::process::{Process, free_port, serve};
use crate::support::{TestDatabase, blocking_http_client, sqlite_dir};

const SERVICE_TOKEN: &str = "89abcdef0123456789abcdef0123456789abcdef0123456789abcdef01234567";

/// On PostgreSQL.
const TASK: &str = "INSERT INTO tasks (user_id, title, created_at, updated_at)
                    VALUES ('me', 'one', now(), now())";

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
    /// Whether the daemon listens on PORT of the `.env` file, not on a free one.
    pub has_own_port: bool,
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
            has_own_port: false,
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
        fingerprint::sqlite(&scene.file(), insert).await;
        scene
    }

    /// With a task in a migrated PostgreSQL database.
    pub async fn postgres() -> Self {
        let scene = Self::empty_postgres_of(TestDatabase::migrated().await);
        scene.sql(TASK).await;
        scene
    }

    /// With a task in a migrated PostgreSQL database, after these statements.
    pub async fn postgres_after(statements: &str) -> Self {
        let scene = Self::postgres().await;
        scene.sql(statements).await;
        scene
    }

    /// With a task in a database that is migrated now, whichever server it is on.
    pub async fn on(database: TestDatabase) -> Self {
        let scene = Self::empty_postgres_of(database);
        let output = scene.todoctl(&["migrate", "up"]);
        assert!(output.status.success(), "{}", said(&output));
        scene.sql(TASK).await;
        scene
    }

    /// With an empty PostgreSQL database.
    pub async fn empty_postgres() -> Self {
        Self::empty_postgres_of(TestDatabase::create().await)
    }

    fn empty_postgres_of(database: TestDatabase) -> Self {
        let mut scene = Self::new();
        scene.set("DATABASE_URL", &database.url);
        let server = Url::parse(&database.url).unwrap();
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

    /// No client program finds the administrator's password any more.
    pub fn forget_passwords(&self) {
        std::fs::remove_file(self.home.path().join(".pgpass")).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The file of the embedded database.
    pub fn file(&self) -> PathBuf {
        self.path().join("data/todo.db")
    }

    /// The address of the database that the `.env` file names, for the server's administrator.
    pub fn administrators_url(&self) -> Option<String> {
        let own = &self.database.as_ref()?.url;
        let mut url = Url::parse(own).unwrap();
        let named = Url::parse(&self.get("DATABASE_URL").unwrap_or_default());
        if let Ok(named) = named
            && named.path().len() > 1
            && named.scheme() != "sqlite"
        {
            url.set_path(named.path());
        }
        Some(url.into())
    }

    fn env_file(&self) -> PathBuf {
        self.path().join(".env")
    }

    /// The value of a variable in the `.env` file.
    pub fn get(&self, name: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.env_file()).unwrap_or_default();
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

    /// The number that a query gives there.
    pub async fn number(&self, query: &'static str) -> i64 {
        let url = &self.database.as_ref().unwrap().url;
        let mut connection = PgConnection::connect(url).await.unwrap();
        let number = sqlx::query_scalar(query).fetch_one(&mut connection).await;
        connection.close().await.unwrap();
        number.unwrap()
    }

    fn clean(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env("TMPDIR", self.path())
            .env(
                "PATH",
                format!(
                    "{}:/usr/bin:/bin:/usr/sbin:/sbin",
                    self.programs.path().display()
                ),
            );
        command
    }

    /// todoctl, to be started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.clean(&self.programs.path().join("todoctl"));
        command.args(arguments).stdin(Stdio::null());
        if let Some(user) = self.user {
            use std::os::unix::process::CommandExt as _;
            command.uid(user).gid(user);
        }
        command
    }

    pub fn todoctl(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output();
        output.expect("the binary runs")
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
    pub(super) fn type_in(&self, lines: &str) -> Output {
        let mut shell = self
            .clean(Path::new("/bin/sh"))
            // A line that fails ends it, and so the test.
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
        if let Some(user) = self.user {
            // What root has written in the working directory is todoctl's.
            std::os::unix::fs::chown(self.env_file(), Some(user), Some(user)).unwrap();
        }
        output
    }

    fn serve(&self) -> Command {
        let mut command = serve(self.path());
        if self.has_own_port {
            command.env_remove("PORT");
        }
        command
    }

    /// Starts the daemon, on a port of its own, unless it runs.
    pub fn start(&mut self) {
        if self.daemon.is_none() {
            let mut process = Process::start(&mut self.serve());
            let base = process.base();
            self.daemon = Some((process, base));
        }
    }

    /// Sends the daemon a signal such as `-STOP`.
    pub fn signal(&self, name: &str) {
        let (process, _) = self.daemon.as_ref().unwrap();
        process.signal(name);
    }

    pub fn daemon_pid(&self) -> u32 {
        let (process, _) = self.daemon.as_ref().unwrap();
        process.id()
    }

    /// Whether the daemon has logged this text before it listened.
    pub fn has_logged(&self, text: &str) -> bool {
        let (process, _) = self.daemon.as_ref().unwrap();
        process.seen.iter().any(|line| line.contains(text))
    }

    /// Asks the daemon to stop, which it does.
    pub fn end(&mut self) {
        if let Some((process, _)) = self.daemon.take() {
            process.stop();
        }
    }

    pub fn stop(&mut self) {
        if let Some((process, _)) = self.daemon.take() {
            process.kill();
        }
    }

    /// Starts the daemon where `doctor` looks for it; its address.
    pub fn start_at_its_port(&mut self) -> String {
        self.set("PORT", &free_port().to_string());
        self.has_own_port = true;
        self.start();
        self.base()
    }

    /// The same from a shell, whose `script` ends with the daemon, such as `exec todoctl serve`.
    pub fn start_by(&mut self, script: &str) -> String {
        self.set("PORT", &free_port().to_string());
        self.has_own_port = true;
        let mut shell = self.clean(Path::new("/bin/sh"));
        shell
            .args(["-ec", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = Process::start(&mut shell);
        let base = process.base();
        self.daemon = Some((process, base));
        self.base()
    }

    fn base(&self) -> String {
        let (_, base) = self.daemon.as_ref().unwrap();
        base.clone()
    }

    /// The status that the daemon answers a user with.
    pub(super) fn status(&mut self, method: &str, path: &str) -> u16 {
        self.start();
        let (_, base) = self.daemon.as_ref().unwrap();
        Self::ask(base, method, path)
    }

    /// The status that the daemon at `base` answers a user with.
    pub fn ask(base: &str, method: &str, path: &str) -> u16 {
        let method = method.parse().unwrap();
        let url = format!("{base}{path}");
        let has_body = [reqwest::Method::POST, reqwest::Method::PUT].contains(&method);
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
    pub(super) fn start_fails(&self) -> Option<String> {
        let mut process = Process::start(&mut self.serve());
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
}

pub fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

pub(super) fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr]
        .map(String::from_utf8_lossy)
        .join("")
}
