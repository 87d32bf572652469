//! `doctor --fix`: each fix made, refused, interrupted and made twice at once.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::faults::Broken;
use crate::faults::files::{SmallDisk, migrated};
use crate::faults::fingerprint::sqlite;
use crate::faults::harness::set_mode;
use crate::support::TestDatabase;

const FIX: &[&str] = &["doctor", "--fix", "--yes", "--format", "json"];

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o777
}

/// What became of the fixes of `id`.
fn outcomes<'a>(report: &'a Value, id: &str) -> Vec<&'a str> {
    let fixed = report["fixed"].as_array().unwrap().iter();
    fixed
        .filter(|one| one["check"] == id)
        .map(|one| one["outcome"].as_str().unwrap())
        .collect()
}

/// What a terminal shows after `command` was typed, with `answers` to its questions.
pub fn at_a_terminal(broken: &Broken, command: &str, answers: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_todoctl"));
    let directory = program.parent().unwrap().display();
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", command, "/dev/null"])
        .current_dir(broken.path())
        .env_clear()
        .env("PATH", format!("{directory}:/usr/bin:/bin"))
        .env("SHELL", "/bin/sh")
        .envs(broken.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(answers.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn files_that_others_may_read() {
    let broken = migrated();
    let database = broken.path().join("data/todo.db");
    let env_file = broken.path().join(".env");
    let token = broken.path().join("token");
    std::fs::write(&env_file, "LOG_LEVEL=info\n").unwrap();
    std::fs::write(&token, "0f1e2d3c4b5a6978".repeat(4)).unwrap();
    let broken = broken.env("SERVICE_AUTH_TOKEN_FILE", &token.display().to_string());
    for file in [&database, &env_file, &token] {
        set_mode(file, 0o644);
    }

    // Without a terminal and --yes nothing is done, and the exit code is that without --fix.
    let output = broken.output(&["doctor", "--fix", "--strict", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("Not a terminal, so nothing was fixed: add --yes"),
        "{said}"
    );
    assert_eq!(outcomes(&shown, "database.modes"), ["offered"]);
    assert_eq!(mode(&database), 0o644);

    let report = broken.report(FIX);
    for (id, file, expected) in [
        ("config.env_file", &env_file, 0o600),
        ("config.secret_files", &token, 0o640),
        ("database.modes", &database, 0o600),
    ] {
        assert_eq!(outcomes(&report.json, id), ["done"], "{:#}", report.json);
        report.says(id, "pass", "");
        assert_eq!(mode(file), expected);
    }
    let again = broken.report(FIX);
    assert_eq!(again.json["fixed"], serde_json::json!([]));
}

#[test]
fn each_fix_is_asked_for_on_a_terminal() {
    let broken = migrated();
    let database = broken.path().join("data/todo.db");
    set_mode(&database, 0o666);
    let said = at_a_terminal(&broken, "todoctl doctor --only database.modes --fix", "n\n");
    assert!(said.contains("fix: chmod 600 data/todo.db"), "{said}");
    assert!(said.contains("declined: chmod 600 data/todo.db"), "{said}");
    assert_eq!(mode(&database), 0o666);
    let said = at_a_terminal(&broken, "todoctl doctor --only database.modes --fix", "y\n");
    assert!(
        said.contains("fixed chmod 600 data/todo.db [database.modes]"),
        "{said}"
    );
    assert!(said.contains("1 passed"), "{said}");
    assert_eq!(mode(&database), 0o600);
}

/// A misspelt name, a key in another alphabet, and line ends of Windows: the values stay.
#[test]
fn spellings_in_the_env_file() {
    let broken = migrated();
    let file = broken.path().join(".env");
    // Standard base64 of the bytes 0xfb to 0xff, which has + and /.
    let key = "+/z9/v/7/P3+//v8/f7/+/z9/v/7/P3+//v8/f7/+/w=";
    std::fs::write(
        &file,
        format!("\u{feff}# kept\r\nLOG_LEVL=debug\r\nENCRYPTION_KEY={key}\r\n"),
    )
    .unwrap();
    set_mode(&file, 0o600);
    let report = broken.report(FIX);
    for id in ["config.env_file", "config.unknown", "config.secrets"] {
        assert_eq!(
            outcomes(&report.json, id),
            ["done"],
            "{id}: {:#}",
            report.json
        );
    }
    report
        .says("config.env_file", "pass", "")
        .says("config.unknown", "pass", "");
    let text = std::fs::read_to_string(&file).unwrap();
    let respelt = key.replace('+', "-").replace('/', "_");
    for line in [
        "# kept\n",
        "LOG_LEVEL=debug\n",
        &format!("ENCRYPTION_KEY={respelt}\n"),
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(
        !text.contains('\r') && !text.contains('\u{feff}'),
        "{text:?}"
    );
    assert!(!text.contains("LOG_LEVL"), "{text}");
}

/// What is set twice, or in the environment, is left to a person.
#[test]
fn spellings_that_are_not_clear() {
    let broken = migrated().env("PORTT", "2");
    let file = broken.path().join(".env");
    let text = "LOG_LEVL=debug\nLOG_LEVEL=info\n";
    std::fs::write(&file, text).unwrap();
    set_mode(&file, 0o600);
    let report = broken.report(FIX);
    report.says("config.unknown", "warn", "");
    assert_eq!(outcomes(&report.json, "config.unknown"), [""; 0]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

/// The database with one migration pending, and a row that has to stay.
fn behind(broken: &Broken) {
    for command in [
        &["migrate", "up"][..],
        &["session", "create", "--user", "u1"],
        &["migrate", "down", "--yes"],
    ] {
        let output = broken.output(command);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

fn sessions(broken: &Broken) -> String {
    let output = broken.output(&["session", "list", "--format", "json"]);
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn pending_migrations_by_two_at_once() {
    let database = TestDatabase::create().await;
    for broken in [Broken::new(), Broken::with_server(&database.url)] {
        behind(&broken);
        broken
            .db_check()
            .says("database.migrations", "fail", "todoctl migrate up");
        let before = sessions(&broken);
        let (one, other) = std::thread::scope(|scope| {
            let one = scope.spawn(|| broken.report(FIX));
            (broken.report(FIX), one.join().unwrap())
        });
        for report in [one, other] {
            report.says("database.migrations", "pass", "");
            // One of the two may have come when all was done.
            let done = outcomes(&report.json, "database.migrations");
            assert!(done.iter().all(|one| *one == "done"), "{:#}", report.json);
        }
        assert_eq!(sessions(&broken), before);
        assert!(before.contains("u1"), "{before}");
    }
}

/// Records come before the migrations that are pending, and each is a fix of its own.
#[tokio::test]
async fn lost_records_and_counts() {
    let database = TestDatabase::create().await;
    let (on_file, on_server) = (Broken::new(), Broken::with_server(&database.url));
    let lose = "DROP TABLE _sqlx_migrations;
                INSERT INTO todoctl_unread (user_id, unread) VALUES ('u1', 3)";
    behind(&on_file);
    sqlite(&on_file.path().join("data/todo.db"), lose).await;
    behind(&on_server);
    database.execute(lose).await;
    for broken in [on_file, on_server] {
        let before = sessions(&broken);
        let report = broken.report(FIX);
        let done = |id| outcomes(&report.json, id);
        assert_eq!(
            done("database.migrations"),
            ["done"; 2],
            "{:#}",
            report.json
        );
        assert_eq!(done("database.unread"), ["done"], "{:#}", report.json);
        report.says("database.migrations", "pass", "");
        report.says("database.unread", "pass", "");
        assert_eq!(sessions(&broken), before);
    }
}

#[test]
fn what_is_done_is_logged() {
    let broken = migrated();
    let database = broken.path().join("data/todo.db");
    let log = broken.path().join("fixes.log");
    for _ in 0..2 {
        set_mode(&database, 0o666);
        let output = broken.output(&["doctor", "--fix", "--yes", "--log", "fixes.log"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("database.modes done: chmod 600 data/todo.db"),
            "{said}"
        );
    }
    let text = std::fs::read_to_string(&log).unwrap();
    assert_eq!(
        text.matches("begin: chmod 600 data/todo.db\n").count(),
        2,
        "{text}"
    );
    assert_eq!(
        text.matches("done: chmod 600 data/todo.db\n").count(),
        2,
        "{text}"
    );
    assert_eq!(mode(&log), 0o600);

    // Without its log, nothing is done.
    set_mode(&database, 0o666);
    let output = broken.output(&["doctor", "--fix", "--yes", "--log", "/dev/full"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(mode(&database), 0o666);
}

#[test]
fn a_fix_that_fails() {
    let broken = Broken::new();
    let data = broken.path().join("data");
    let disk = SmallDisk::mount(&data);
    assert!(broken.output(&["migrate", "up"]).status.success());
    set_mode(&data.join("todo.db"), 0o666);
    disk.make_read_only();
    let report = broken.report(FIX);
    assert_eq!(outcomes(&report.json, "database.modes"), ["failed"]);
    let error = report.json["fixed"][0]["error"].as_str().unwrap();
    assert!(error.contains("Read-only file system"), "{error}");
    report.says("database.modes", "warn", "");
}

/// A file of root, and a process that is not root.
#[test]
fn files_of_others_are_left_alone() {
    let broken = migrated();
    set_mode(broken.path(), 0o755);
    set_mode(&broken.path().join("data"), 0o755);
    let database = broken.path().join("data/todo.db");
    set_mode(&database, 0o666);
    let broken = broken.run_by(65_534);
    let report = broken.report(&[FIX, &["--only", "database.modes"]].concat());
    report.says("database.modes", "warn", "chmod");
    assert_eq!(report.json["fixed"], serde_json::json!([]));
    assert_eq!(mode(&database), 0o666);
}

/// Ctrl-C while another process migrates: nothing was done, and the next run does it.
#[test]
fn an_interrupted_fix() {
    let broken = Broken::new();
    behind(&broken);
    let lock = std::fs::read_dir(broken.path().join("data"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.display().to_string().contains("lock"))
        .unwrap();
    let held = std::fs::File::open(&lock).unwrap();
    held.lock().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_todoctl"))
        .args(FIX)
        .current_dir(broken.path())
        .env_clear()
        .envs(broken.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let id = child.id().to_string();
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        said += &format!("{line}\n");
        if line.contains("another process is migrating") {
            Command::new("kill").args(["-INT", &id]).status().unwrap();
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
    assert!(said.contains("begin: todoctl migrate up"), "{said}");
    assert!(said.contains("another process is migrating"), "{said}");
    drop(held);
    broken.db_check().says("database.migrations", "fail", "");
    broken.report(FIX).says("database.migrations", "pass", "");
}
