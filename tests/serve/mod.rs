//! `todoctl serve` as an operator meets it: a process with an environment.

mod connections;
mod databases;
mod disk_errors;
mod fail_fast;
mod logging;
mod secrets;
mod signals;
mod stopping;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::process::{Process, SERVICE_TOKEN, serve, with_secrets};
use crate::support::{self, TestDatabase};
use serde_json::{Value, json};

pub fn create(base: &str, token: &str, title: &str) -> Value {
    let answer = support::blocking_http_client()
        .post(format!("{base}/tasks/"))
        .bearer_auth(token)
        .header("X-User-ID", "me")
        .json(&json!({ "title": title }))
        .send()
        .unwrap();
    assert_eq!(answer.status(), 201);
    answer.json().unwrap()
}

fn total(base: &str, token: &str) -> i64 {
    let answer = support::blocking_http_client()
        .get(format!("{base}/tasks/"))
        .bearer_auth(token)
        .header("X-User-ID", "me")
        .send()
        .unwrap();
    answer.json::<Value>().unwrap()["total"].as_i64().unwrap()
}

/// Runs a command that has to fail, and returns what it said.
fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty());
    said
}

/// Runs the `curl` command that the daemon prints, as pasted into a shell without variables.
fn paste_hint(daemon: &mut Process, directory: &Path) -> Value {
    let line = |daemon: &mut Process, text| daemon.line(text).trim_end().to_owned();
    let mut hint = vec![line(daemon, "curl ")];
    while hint.last().unwrap().ends_with('\\') {
        hint.push(line(daemon, ""));
    }
    let pasted = Command::new("sh")
        .args(["-c", &hint.join("\n")])
        .current_dir(directory)
        .output()
        .unwrap();
    serde_json::from_slice(&pasted.stdout).expect("the hint creates a task")
}

/// The daemon on a terminal, which is what its hints are for.
fn serve_on_a_terminal(directory: &Path) -> Command {
    let daemon = format!("exec '{}' serve", env!("CARGO_BIN_EXE_todoctl"));
    let terminal = format!("exec script -qefc \"{daemon}\" /dev/null 1>&2");
    let mut command = Command::new("sh");
    command
        .args(["-c", &terminal])
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("PORT", "0")
        .env("LOG_FORMAT", "json")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Without a terminal stderr has log lines alone, each of them JSON, and none of sqlx's.
#[tokio::test(flavor = "multi_thread")]
async fn log_lines_alone() {
    let database = TestDatabase::create().await;
    let url = database.url.clone();
    tokio::task::spawn_blocking(move || {
        for url in [None, Some(url)] {
            let directory = support::sqlite_dir();
            let mut command = serve(directory.path());
            with_secrets(&mut command);
            if let Some(url) = &url {
                command.env("DATABASE_URL", url);
            }
            let mut daemon = Process::start(&mut command);
            daemon.base();
            let said = daemon.stop();
            for line in said.lines() {
                let line: Value = serde_json::from_str(line).expect(line);
                let target = line["target"].as_str().unwrap();
                assert!(!target.starts_with("sqlx"), "{line}");
            }
        }
    })
    .await
    .unwrap();
    drop(database);
}

/// With nothing configured: the hints are true, and tasks survive kill -9.
#[test]
fn first_evening() {
    let directory = support::sqlite_dir();
    let mut daemon = Process::start(&mut serve_on_a_terminal(directory.path()));
    let base = daemon.base();
    let task = paste_hint(&mut daemon, directory.path());
    assert_eq!(task["user_id"], "me");
    let token =
        std::fs::read_to_string(directory.path().join("data/secrets/SERVICE_AUTH_TOKEN")).unwrap();
    let token = token.trim();
    assert!(
        daemon
            .seen
            .iter()
            .any(|line| line.contains(&format!("{base}/docs")))
    );
    assert!(
        daemon.seen.iter().all(|line| !line.contains(token)),
        "a secret was printed"
    );
    for number in 0..20 {
        create(&base, token, &format!("t{number}"));
    }
    daemon.stop();
    let mut daemon = Process::start(&mut serve(directory.path()));
    let base = daemon.base();
    assert_eq!(total(&base, token), 21);
    create(&base, token, "the last");
    daemon.kill();
    let mut daemon = Process::start(&mut serve(directory.path()));
    let base = daemon.base();
    assert_eq!(total(&base, token), 22);
    daemon.signal("-TERM");
    let (status, said) = daemon.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!said.contains(token));
}

/// The README's way to PostgreSQL: secrets and address in `.env`, and the printed command works.
#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_with_an_env_file() {
    let database = TestDatabase::create().await;
    let url = database.url.clone();
    tokio::task::spawn_blocking(move || {
        let directory = support::sqlite_dir();
        let setup = format!(
            "'{}' gen-secrets --write .env && echo 'DATABASE_URL={url}' >> .env",
            env!("CARGO_BIN_EXE_todoctl")
        );
        let done = Command::new("sh")
            .args(["-c", &setup])
            .current_dir(directory.path())
            .status()
            .unwrap();
        assert!(done.success());
        let mut daemon = Process::start(&mut serve_on_a_terminal(directory.path()));
        let task = paste_hint(&mut daemon, directory.path());
        assert_eq!(task["user_id"], "me");
    })
    .await
    .unwrap();
    drop(database);
}

/// On PostgreSQL, through a URL as SQLAlchemy writes it; SIGINT ends it too.
#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    let database = TestDatabase::create().await;
    let url = database
        .url
        .replace("postgresql://", "postgresql+asyncpg://");
    tokio::task::spawn_blocking(move || {
        let directory = support::sqlite_dir();
        let start = || {
            let mut command = serve(directory.path());
            Process::start(with_secrets(&mut command).env("DATABASE_URL", &url))
        };
        let mut daemon = start();
        let base = daemon.base();
        create(&base, SERVICE_TOKEN, "t");
        daemon.kill();
        let mut daemon = start();
        let base = daemon.base();
        assert_eq!(total(&base, SERVICE_TOKEN), 1);
        daemon.signal("-INT");
        let (status, said) = daemon.end();
        assert_eq!(status.code(), Some(0));
        assert!(
            !said.contains(SERVICE_TOKEN) && !said.contains(&url),
            "{said}"
        );
        // Nothing was left behind in the directory.
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    })
    .await
    .unwrap();
}

/// A newer program migrates: a running daemon stays ready; an older one refuses to start without
/// `--allow-newer`.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_database() {
    let database = TestDatabase::create().await;
    let url = database.url.clone();
    let mut running = tokio::task::spawn_blocking(move || {
        let directory = support::sqlite_dir();
        let mut command = serve(directory.path());
        let mut daemon = Process::start(with_secrets(&mut command).env("DATABASE_URL", &url));
        let base = daemon.base();
        (directory, url, daemon, base)
    })
    .await
    .unwrap();
    database
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9000, 'from the future', TRUE, '', 0)",
        )
        .await;
    tokio::task::spawn_blocking(move || {
        let (directory, url, _daemon, base) = &mut running;
        let ready = |base: &str| {
            let answer = support::blocking_http_client()
                .get(format!("{base}/health/ready"))
                .send();
            answer.unwrap().status().as_u16()
        };
        assert_eq!(ready(base), 200);
        let mut command = serve(directory.path());
        let said = refused(with_secrets(&mut command).env("DATABASE_URL", &*url));
        assert!(said.contains("the database is at version 9000"), "{said}");
        assert!(said.contains("--allow-newer"), "{said}");
        let mut command = serve(directory.path());
        command.arg("--allow-newer");
        let mut older = Process::start(with_secrets(&mut command).env("DATABASE_URL", &*url));
        older.line("the schema is newer than this todoctl");
        let base = older.base();
        assert_eq!(ready(&base), 200);
        assert_eq!(create(&base, SERVICE_TOKEN, "t")["title"], "t");
    })
    .await
    .unwrap();
}

/// A port in use.
#[test]
fn port_in_use() {
    let directory = support::sqlite_dir();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = refused(serve(directory.path()).env("PORT", &port));
    assert!(
        said.contains("cannot listen on") && said.contains(&port) && said.contains("remedy"),
        "{said}"
    );
    // The port of the metrics: PORT stays.
    let address = format!("127.0.0.1:{port}");
    let said = refused(
        serve(directory.path())
            .env("PORT", "0")
            .env("METRICS_ADDR", &address),
    );
    assert!(
        said.contains("export METRICS_ADDR=127.0.0.1:") && !said.contains(" PORT="),
        "{said}"
    );
}

/// A file that is not a database is left as it is.
#[test]
fn not_a_database() {
    let directory = support::sqlite_dir();
    let file = directory.path().join("todo.db");
    let text = "this is somebody's diary, not a database\n".repeat(100);
    std::fs::write(&file, &text).unwrap();
    let said = refused(serve(directory.path()).env("DATABASE_URL", "sqlite://todo.db"));
    assert!(
        said.contains("is not a SQLite database") && said.contains("remedy"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

/// A place that is no directory.
#[test]
fn no_directory() {
    let directory = support::sqlite_dir();
    std::fs::write(directory.path().join("data"), "a file").unwrap();
    let said = refused(&mut serve(directory.path()));
    assert!(said.contains("data"), "{said}");
}

/// A wrong password, a database that does not exist: at once, with a remedy.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_addresses() {
    let database = TestDatabase::create().await;
    let url = url::Url::parse(&database.url).unwrap();
    tokio::task::spawn_blocking(move || {
        let directory = support::sqlite_dir();
        let mut wrong_password = url.clone();
        wrong_password.set_password(Some("wr0ng-canary")).unwrap();
        let mut no_database = url.clone();
        no_database.set_path("/nowhere");
        for (url, expected) in [(wrong_password, "password"), (no_database, "nowhere")] {
            let mut command = serve(directory.path());
            let started = Instant::now();
            let said = refused(with_secrets(&mut command).env("DATABASE_URL", url.as_str()));
            assert!(started.elapsed() < Duration::from_secs(20), "{said}");
            assert!(said.contains(expected) && said.contains("remedy"), "{said}");
            assert!(!said.contains("canary"), "{said}");
            if let Some(password) = url.password() {
                assert!(!said.contains(password), "{said}");
            }
        }
    })
    .await
    .unwrap();
}

/// A database that is not there yet is waited for, each try logged; a signal ends the wait.
#[test]
fn waits_for_the_database() {
    let directory = support::sqlite_dir();
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("postgresql://u:canary-password@{closed}/db");
    let mut command = serve(directory.path());
    let mut daemon = Process::start(with_secrets(&mut command).env("DATABASE_URL", &url));
    daemon.line("the database is not ready");
    daemon.line("the database is not ready");
    daemon.signal("-TERM");
    let (status, said) = daemon.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!said.contains("canary"), "{said}");
}

/// The tools beside a running daemon: its health, and a session token that it accepts.
#[test]
fn tools_beside_a_daemon() {
    let directory = support::sqlite_dir();
    let mut daemon = Process::start(&mut serve(directory.path()));
    let base = daemon.base();
    let port = base.rsplit(':').next().unwrap().to_owned();
    let tool = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_todoctl"));
        command
            .args(arguments)
            .current_dir(directory.path())
            .env_clear()
            // All addresses are read as this machine's own.
            .env("HOST", "0.0.0.0")
            .env("PORT", &port);
        command.output().unwrap()
    };
    let health = tool(&["health"]);
    let said = String::from_utf8(health.stdout).unwrap();
    assert_eq!(health.status.code(), Some(0), "{said}");
    assert!(said.contains("database connected"), "{said}");

    let created = tool(&["session", "create", "--user", "usr_1", "--format", "json"]);
    let created: Value = serde_json::from_slice(&created.stdout).unwrap();
    let list = |token: &str| {
        support::blocking_http_client()
            .get(format!("{base}/tasks/"))
            .bearer_auth(token)
            .send()
            .unwrap()
            .status()
    };
    let token = created["token"].as_str().unwrap();
    assert_eq!(list(token), 200);
    let id = created["id"].to_string();
    assert!(tool(&["session", "revoke", &id]).status.success());
    assert_eq!(list(token), 401);

    assert_eq!(tool(&["db", "check"]).status.code(), Some(0));
    daemon.signal("-STOP");
    let health = tool(&["health", "--timeout", "300ms"]);
    assert_eq!(health.status.code(), Some(1));
    daemon.signal("-CONT");
}

/// Contract 10.1, 10.8: secrets are asked for where the store is not SQLite, all at once.
#[test]
fn missing_secrets() {
    let directory = support::sqlite_dir();
    let said =
        refused(serve(directory.path()).env("DATABASE_URL", "postgresql://u:canary@localhost/db"));
    for name in [
        "SESSION_HASH_SECRET",
        "SERVICE_AUTH_TOKEN",
        "ENCRYPTION_KEY",
        "gen-secrets",
    ] {
        assert!(said.contains(name), "{said}");
    }
    assert!(!said.contains("canary"));

    // One of them missing is enough.
    let mut command = serve(directory.path());
    let said = refused(
        with_secrets(&mut command)
            .env_remove("SERVICE_AUTH_TOKEN")
            .env("ENVIRONMENT", "production")
            .env("CORS_ORIGINS", "https://app.example.com")
            .env("DATABASE_URL", "postgresql://u:p@localhost/db"),
    );
    assert!(
        said.contains("SERVICE_AUTH_TOKEN") && !said.contains("ENCRYPTION_KEY"),
        "{said}"
    );
}

/// Contract 10.44: a migration that fails stops the start, and names its statement.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_fails() {
    let database = TestDatabase::create().await;
    database
        .execute("CREATE TABLE todoctl_sessions (x text)")
        .await;
    let url = database.url.clone();
    tokio::task::spawn_blocking(move || {
        let directory = support::sqlite_dir();
        let mut command = serve(directory.path());
        let said = refused(with_secrets(&mut command).env("DATABASE_URL", &url));
        assert!(said.contains("CREATE TABLE todoctl_sessions"), "{said}");
        assert!(
            said.contains("another program made what is in the way"),
            "{said}"
        );
        assert!(!said.contains("listening"), "{said}");
    })
    .await
    .unwrap();
}

/// Migrations that are left to somebody else: the log and the metrics tell, the daemon is
/// alive and not ready, and both tell when it is done.
#[test]
fn pending_migrations_are_told() {
    let directory = support::sqlite_dir();
    let mut daemon = Process::start(serve(directory.path()).env("AUTO_MIGRATE", "false"));
    daemon.line("migrations are pending: todoctl migrate up");
    let base = daemon.base();
    let get = |path: &str| {
        let answer = support::blocking_http_client()
            .get(format!("{base}{path}"))
            .send()
            .unwrap();
        (answer.status().as_u16(), answer.text().unwrap())
    };
    let metrics = get("/metrics").1;
    assert!(
        metrics.contains("\ntodoctl_migrations_pending 1\n"),
        "{metrics}"
    );
    assert!(metrics.contains("\ntodoctl_database_up 1\n"), "{metrics}");
    assert_eq!(get("/health/live").0, 200);
    assert_eq!(get("/health/ready").0, 503);

    let migrated = Command::new(env!("CARGO_BIN_EXE_todoctl"))
        .args(["migrate", "up"])
        .current_dir(directory.path())
        .env_clear()
        .status()
        .unwrap();
    assert!(migrated.success());
    assert_eq!(get("/health/ready").0, 200);
    let metrics = get("/metrics").1;
    assert!(
        metrics.contains("\ntodoctl_migrations_pending 0\n"),
        "{metrics}"
    );
}

/// `TODOCTL_COMMIT` is what the build script puts into the version.
#[test]
fn a_build_is_told_its_commit() {
    let directory = support::sqlite_dir();
    let source = directory.path().join("main.rs");
    let script = directory.path().join("build");
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/build/version.rs");
    let text = format!("#[path = {module:?}] mod version; fn main() {{ version::tell() }}");
    std::fs::write(&source, text).unwrap();
    let compiled = Command::new("rustc")
        .args(["--edition", "2024", "-o"])
        .args([&script, &source])
        .env("CARGO_PKG_VERSION", "1.2.3")
        .status()
        .unwrap();
    assert!(compiled.success());
    let output = Command::new(&script)
        .env("TODOCTL_COMMIT", "0123456789abcdef")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("TODOCTL_VERSION=1.2.3 (0123456)\n"), "{said}");
}

/// `todoctl --version` is the package's version; a debug build does not ask git.
#[test]
fn version() {
    let output = Command::new(env!("CARGO_BIN_EXE_todoctl"))
        .arg("--version")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, format!("todoctl {}\n", todoctl::VERSION));
    assert!(said.starts_with(concat!("todoctl ", env!("CARGO_PKG_VERSION"))));
}
