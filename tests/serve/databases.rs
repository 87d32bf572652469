//! The right database: neither another one, nor an empty one in place of a lost one.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use url::Url;

use crate::support::process::{Process, SERVICE_TOKEN, serve, with_secrets};
use crate::support::{self, TestDatabase};

use super::refused;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The status of a POST of a task, and that of the readiness probe.
fn post_and_ready(base: &str, token: &str) -> (u16, u16) {
    let client = support::blocking_http_client();
    let post = client
        .post(format!("{base}/tasks/"))
        .bearer_auth(token)
        .header("X-User-ID", "me")
        .json(&json!({ "title": "x" }))
        .send()
        .unwrap();
    let ready = client.get(format!("{base}/health/ready")).send().unwrap();
    (post.status().as_u16(), ready.status().as_u16())
}

fn token(directory: &Path) -> String {
    let file = directory.join("data/secrets/SERVICE_AUTH_TOKEN");
    std::fs::read_to_string(file).unwrap().trim().to_owned()
}

/// 10.47: whatever shows that there was a database stops the start, and stays as it is.
#[test]
fn a_lost_file() {
    type Loss = (&'static str, fn(&Path));
    let losses: [Loss; 4] = [
        ("todo.db-wal", |data| {
            std::fs::write(data.join("todo.db-wal"), "frames").unwrap();
        }),
        ("secrets/SERVICE_AUTH_TOKEN", |_| ()),
        ("todo.db-migrate.lock", |data| {
            std::fs::remove_dir_all(data.join("secrets")).unwrap();
        }),
        ("/gone/todo.db", |data| {
            std::os::unix::fs::symlink("/gone/todo.db", data.join("todo.db")).unwrap();
        }),
    ];
    for (named, lose) in losses {
        let directory = support::sqlite_dir();
        let mut daemon = Process::start(&mut serve(directory.path()));
        daemon.base();
        daemon.stop();
        let data = directory.path().join("data");
        std::fs::remove_file(data.join("todo.db")).unwrap();
        lose(&data);
        let said = refused(&mut serve(directory.path()));
        assert!(said.contains(named), "{said}");
        assert!(said.contains("start with an empty database"), "{said}");
        assert!(!data.join("todo.db").exists());
        if named.ends_with("-wal") {
            assert_eq!(std::fs::read(data.join(named)).unwrap(), b"frames");
        }
        let migrate = Command::new(env!("CARGO_BIN_EXE_todoctl"))
            .args(["migrate", "up"])
            .current_dir(directory.path())
            .env_clear()
            .output()
            .unwrap();
        assert_eq!(migrate.status.code(), Some(2));
    }
}

/// What the refusal says to type starts with an empty database.
#[test]
fn starting_again_on_purpose() {
    let directory = support::sqlite_dir();
    let mut daemon = Process::start(&mut serve(directory.path()));
    daemon.base();
    daemon.stop();
    let data = directory.path().join("data");
    std::fs::remove_file(data.join("todo.db")).unwrap();
    std::fs::write(data.join("todo.db-wal"), "frames").unwrap();
    let said = refused(&mut serve(directory.path()));
    let (_, typed) = said.split_once("start with an empty database: ").unwrap();
    let typed = typed.lines().next().unwrap();
    let done = Command::new("sh")
        .args(["-c", typed])
        .current_dir(directory.path())
        .status()
        .unwrap();
    assert!(done.success(), "{typed}");
    let mut daemon = Process::start(&mut serve(directory.path()));
    let base = daemon.base();
    assert_eq!(post_and_ready(&base, &token(directory.path())), (201, 200));
    daemon.stop();
}

/// 10.47: a file that is deleted, replaced or moved away under the daemon gets no more writes, and the
/// file that comes back does.
#[test]
fn a_file_that_changes_under_the_daemon() {
    let directory = support::sqlite_dir();
    let mut daemon = Process::start(&mut serve(directory.path()));
    let base = daemon.base();
    let token = token(directory.path());
    assert_eq!(post_and_ready(&base, &token), (201, 200));
    let file = directory.path().join("data/todo.db");
    let away = directory.path().join("data/away");
    std::fs::rename(&file, &away).unwrap();
    assert_eq!(post_and_ready(&base, &token), (503, 503));
    std::fs::copy(&away, &file).unwrap();
    assert_eq!(post_and_ready(&base, &token), (503, 503));
    std::fs::remove_file(&file).unwrap();
    std::fs::rename(&away, &file).unwrap();
    assert_eq!(post_and_ready(&base, &token), (201, 200));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(post_and_ready(&base, &token), (503, 503));
    let said = daemon.stop();
    let lines = said
        .lines()
        .filter(|line| line.contains("\"level\":\"ERROR\"") && line.contains("restart the daemon"));
    assert_eq!(lines.count(), 2, "{said}");
}

/// The bytes of the write-ahead log that a process has open, and that has no name any more.
fn size_of_deleted_log(pid: u32) -> u64 {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    open.flatten()
        .map(|file| file.path())
        .find(|file| {
            std::fs::read_link(file)
                .is_ok_and(|target| target.to_string_lossy().ends_with("-wal (deleted)"))
        })
        .map(|file| std::fs::metadata(file).unwrap().len())
        .unwrap()
}

/// 10.47: what is in a write-ahead log that somebody deletes is saved, and nothing more is
/// accepted. A file that somebody empties is noticed too.
#[test]
fn a_log_that_is_deleted_under_the_daemon() {
    let directory = support::sqlite_dir();
    let data = directory.path().join("data");
    let mut daemon = Process::start(&mut serve(directory.path()));
    let base = daemon.base();
    let token = token(directory.path());
    for _ in 0..5 {
        assert_eq!(post_and_ready(&base, &token), (201, 200));
    }
    std::fs::remove_file(data.join("todo.db-wal")).unwrap();
    let mut accepted = 5;
    support::blocking_eventually("no more changes are accepted", || {
        let (post, ready) = post_and_ready(&base, &token);
        accepted += i64::from(post == 201);
        (post, ready) == (503, 503)
    });
    support::blocking_eventually("the changes in the log are copied", || {
        size_of_deleted_log(daemon.id()) == 0
    });
    daemon.signal("-KILL");
    daemon.end();
    let mut daemon = Process::start(&mut serve(directory.path()));
    let base = daemon.base();
    let list: serde_json::Value = support::blocking_http_client()
        .get(format!("{base}/tasks/"))
        .bearer_auth(&token)
        .header("X-User-ID", "me")
        .send()
        .unwrap()
        .json()
        .unwrap();
    assert!(list["total"].as_i64().unwrap() >= accepted, "{list}");
    std::fs::write(data.join("todo.db"), "").unwrap();
    assert_eq!(post_and_ready(&base, &token), (503, 503));
    daemon.signal("-KILL");
    daemon.end();
}

/// Whoever may open a file may lock it.
#[test]
fn files_are_for_the_owner_alone() {
    let directory = support::sqlite_dir();
    let mut daemon = Process::start(&mut serve(directory.path()));
    let base = daemon.base();
    assert_eq!(post_and_ready(&base, &token(directory.path())), (201, 200));
    let data = directory.path().join("data");
    assert_eq!(mode(&data), 0o700);
    for name in [
        "todo.db",
        "todo.db-wal",
        "todo.db-shm",
        "todo.db-migrate.lock",
    ] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    daemon.stop();
}

/// A name that does not resolve yet may do so later: each try is logged, and a signal ends it.
#[test]
fn waits_for_a_host_name() {
    let directory = support::sqlite_dir();
    let url = "postgresql://u:canary-password@no-such-host.invalid/db";
    let mut command = serve(directory.path());
    let mut daemon = Process::start(with_secrets(&mut command).env("DATABASE_URL", url));
    for _ in 0..2 {
        let line = daemon.line("the database is not ready");
        assert!(line.contains("does not resolve"), "{line}");
    }
    daemon.signal("-TERM");
    let (status, said) = daemon.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!said.contains("canary"), "{said}");
}

/// 10.48: the two URLs lead to two databases, or to two schemas of one: nothing is migrated.
#[tokio::test(flavor = "multi_thread")]
async fn two_addresses_of_two_databases() {
    let one = TestDatabase::create().await;
    let other = TestDatabase::create().await;
    let (target, direct) = (one.url.clone(), other.url.clone());
    tokio::task::spawn_blocking(move || {
        let directory = support::sqlite_dir();
        let mut schema = Url::parse(&target).unwrap();
        schema
            .query_pairs_mut()
            .append_pair("options", "-csearch_path=pg_temp");
        for (unpooled, what) in [
            (direct.as_str(), "another database than DATABASE_URL"),
            (schema.as_str(), "have another search path than those"),
        ] {
            for auto_migrate in ["true", "false"] {
                let mut command = serve(directory.path());
                with_secrets(&mut command)
                    .env("DATABASE_URL", &target)
                    .env("DATABASE_URL_UNPOOLED", unpooled)
                    .env("AUTO_MIGRATE", auto_migrate);
                let said = refused(&mut command);
                assert!(said.contains(what), "{said}");
            }
            for (arguments, code) in [
                (&["migrate", "up"][..], 2),
                (&["migrate", "up", "--dry-run"], 2),
                (&["migrate", "down", "--yes"], 2),
                (&["migrate", "status"], 2),
                (&["migrate", "check"], 2),
                (&["db", "check"], 1),
                (&["doctor", "--only", "database"], 1),
            ] {
                let output = Command::new(env!("CARGO_BIN_EXE_todoctl"))
                    .args(arguments)
                    .current_dir(directory.path())
                    .env_clear()
                    .env("DATABASE_URL", &target)
                    .env("DATABASE_URL_UNPOOLED", unpooled)
                    .output()
                    .unwrap();
                assert_eq!(output.status.code(), Some(code), "{arguments:?}");
                let said = [output.stdout, output.stderr].concat();
                let said = String::from_utf8(said).unwrap();
                assert!(said.contains(what), "{arguments:?}: {said}");
            }
        }
        // Serving does not need the direct address.
        let mut command = serve(directory.path());
        with_secrets(&mut command)
            .env("DATABASE_URL", &target)
            .env("DATABASE_URL_UNPOOLED", "postgresql://u@127.0.0.1:1/db")
            .env("AUTO_MIGRATE", "false");
        let mut daemon = Process::start(&mut command);
        daemon.line("DATABASE_URL_UNPOOLED cannot be used");
        daemon.base();
        daemon.stop();
        // Two addresses of one database.
        let mut same = Url::parse(&target).unwrap();
        same.query_pairs_mut()
            .append_pair("options", "-cstatement_timeout=60000");
        let mut command = serve(directory.path());
        with_secrets(&mut command)
            .env("DATABASE_URL", &target)
            .env("DATABASE_URL_UNPOOLED", same.as_str());
        let mut daemon = Process::start(&mut command);
        let base = daemon.base();
        assert_eq!(post_and_ready(&base, SERVICE_TOKEN), (201, 200));
        daemon.stop();
    })
    .await
    .unwrap();
    let migrated =
        "DO $$ BEGIN IF to_regclass('tasks') IS NOT NULL THEN RAISE 'migrated'; END IF; END $$";
    other.execute(migrated).await;
}
