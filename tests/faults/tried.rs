//! Remedies that `doctor` tries before it shows them: one that fails is a comment with the reason,
//! one that works is there to be typed, and nothing of the attempt stays.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::PgConnection;

use crate::faults::activity::{execute, session};
use crate::faults::fingerprint::{Fingerprint, sqlite};
use crate::faults::harness::Scene;
use crate::faults::scene::said;

/// Whether the remedy of a check works, and its text.
fn tried(scene: &Scene, id: &str) -> (Value, String) {
    let report = scene.doctor(id);
    let check = report.check(id);
    let remedy = check["remedy"].as_str();
    let remedy = remedy.unwrap_or_else(|| panic!("{id}: {check:#}"));
    (check["remedy_tried"].clone(), remedy.to_owned())
}

/// The remedy is a comment that says this of each of its commands.
fn fails(scene: &Scene, id: &str, words: &[&str]) {
    let (tried, remedy) = tried(scene, id);
    assert_eq!(tried, "fails", "{remedy}");
    for words in words {
        let line = format!("# would {words}");
        assert!(remedy.lines().any(|one| one == line), "{words}: {remedy}");
    }
    assert!(remedy.contains("# to adapt: "), "{remedy}");
    assert!(!remedy.contains("a secret"), "{remedy}");
    let has_command = remedy.lines().any(|line| !line.starts_with("# "));
    assert!(!has_command, "{remedy}");
}

/// What a dump of the schema holds.
fn schema(scene: &Scene) -> String {
    let url = scene.administrators_url().unwrap();
    let dump = scene.type_in(&format!("pg_dump --schema-only --restrict-key=k '{url}' 2>/dev/null || pg_dump --schema-only '{url}'"));
    assert!(dump.status.success(), "{}", said(&dump));
    said(&dump)
}

const REFUSE: &str = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION 'a secret'; END$$; ";

#[tokio::test(flavor = "multi_thread")]
async fn remedies_that_would_fail() {
    let scene = Scene::postgres().await;
    let refused = "fail: PL/pgSQL function refuse() line 1 at RAISE refuses it";
    let empty =
        "ALTER TABLE tasks ALTER priority DROP NOT NULL; UPDATE tasks SET priority = NULL; ";
    let not_empty =
        "UPDATE tasks SET priority = 'Low'; ALTER TABLE tasks ALTER priority SET NOT NULL";
    let null = "fail: column \"priority\" of relation \"tasks\" contains null values";
    for (id, fault, words, end) in [
        (
            "database.indexes",
            "DROP INDEX tasks_open_due_idx; CREATE TABLE tasks_open_due_idx ()".to_owned(),
            &["not help: it can be run, but the check finds the same afterwards"][..],
            "DROP TABLE tasks_open_due_idx;
             CREATE INDEX tasks_open_due_idx ON tasks (due_date, id)
             WHERE NOT completed AND due_date IS NOT NULL"
                .to_owned(),
        ),
        (
            "database.schema",
            "ALTER TABLE tasks ALTER due_date TYPE text; UPDATE tasks SET due_date = 'a secret'"
                .to_owned(),
            &["fail: invalid input syntax for type timestamp"],
            "UPDATE tasks SET due_date = NULL;
             ALTER TABLE tasks ALTER due_date TYPE timestamptz USING due_date::timestamptz"
                .to_owned(),
        ),
        (
            "database.schema",
            format!(
                "{empty} {REFUSE} CREATE TRIGGER refuse BEFORE UPDATE ON tasks
                 FOR EACH ROW EXECUTE FUNCTION refuse()"
            ),
            &[refused, null],
            format!("DROP FUNCTION refuse CASCADE; {not_empty}"),
        ),
        (
            "database.schema",
            format!(
                "{empty} INSERT INTO notifications (user_id, task_id, type, message, created_at)
                 SELECT user_id, id, 'reminder', 'one', now() FROM tasks;
                 CREATE FUNCTION clear() RETURNS trigger LANGUAGE plpgsql AS
                 $$BEGIN DELETE FROM notifications; RETURN NEW; END$$;
                 CREATE TRIGGER clear AFTER UPDATE ON tasks
                 FOR EACH ROW EXECUTE FUNCTION clear()"
            ),
            &["delete 1 rows of notifications", null],
            format!("DROP FUNCTION clear CASCADE; {not_empty}"),
        ),
        (
            "database.schema",
            "ALTER TABLE tasks ALTER priority SET DEFAULT 'Low';
             CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS
             $$BEGIN RAISE EXCEPTION 'a secret'; END$$;
             CREATE EVENT TRIGGER refuse ON ddl_command_start EXECUTE FUNCTION refuse()"
                .to_owned(),
            &[refused],
            "DROP EVENT TRIGGER refuse; DROP FUNCTION refuse;
             ALTER TABLE tasks ALTER priority SET DEFAULT 'Medium'"
                .to_owned(),
        ),
    ] {
        scene.sql(&fault).await;
        fails(&scene, id, words);
        if id == "database.indexes" {
            let said = said(&scene.todoctl(&["doctor", "--fix", "--yes", "--only", id]));
            assert!(said.contains("nothing that --fix can do"), "{said}");
        }
        scene.sql(&end).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn remedies_that_work_and_leave_nothing() {
    let scene = Scene::postgres().await;
    scene
        .sql(
            "ALTER TABLE tasks ALTER title TYPE varchar(60), ALTER priority DROP NOT NULL;
             UPDATE tasks SET priority = NULL;
             DROP INDEX notifications_dedup_idx;
             ALTER TABLE notifications DISABLE TRIGGER USER;
             -- No transaction takes back a number of a sequence.
             CREATE SEQUENCE attempts;
             CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS
             $$BEGIN PERFORM nextval('attempts'); RETURN NEW; END$$;
             CREATE TRIGGER counted BEFORE UPDATE ON tasks
             FOR EACH ROW WHEN (OLD.priority IS NULL) EXECUTE FUNCTION counted()",
        )
        .await;
    let mut watcher = session(&url(&scene), "test").await;
    let attempts = "SELECT nextval('attempts')";
    assert_eq!(count(&mut watcher, attempts).await, 1);
    let (rows, before) = (Fingerprint::of(&scene).await, schema(&scene));
    let report = scene.check(&["doctor", "--only", "database", "--format", "json"]);
    for id in ["database.schema", "database.indexes", "database.triggers"] {
        assert_eq!(
            report.check(id)["remedy_tried"],
            "works",
            "{:#}",
            report.json
        );
    }
    assert_eq!(report.check("database.login")["remedy_tried"], Value::Null);
    assert_eq!(count(&mut watcher, attempts).await, 3);
    // Reports that are made again and again try nothing.
    let metrics = said(&scene.todoctl(&["doctor", "--format", "prometheus"]));
    assert!(metrics.contains("database.schema"), "{metrics}");
    assert_eq!(count(&mut watcher, attempts).await, 4);
    assert_eq!(schema(&scene), before);
    rows.is_kept_in(&Fingerprint::of(&scene).await, "tried");
    let sessions = format!("SELECT count(*) {OF_DOCTOR}");
    assert_eq!(count(&mut watcher, &sessions).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn remedies_of_a_file() {
    let scene = Scene::sqlite().await;
    let file = scene.file();
    sqlite(&file, "DROP INDEX tasks_open_due_idx").await;
    let before = std::fs::read(&file).unwrap();
    let (works, remedy) = tried(&scene, "database.schema");
    assert_eq!(works, "works", "{remedy}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    assert!(!file.with_extension("db-wal").exists());
    sqlite(&file, "CREATE TABLE tasks_open_due_idx (id)").await;
    fails(
        &scene,
        "database.schema",
        &["fail: there is already a table named tasks_open_due_idx"],
    );
    sqlite(
        &file,
        "DROP TABLE tasks_open_due_idx; DROP INDEX notifications_dedup_idx;
         INSERT INTO notifications (user_id, task_id, type, message, created_at, dedup_key)
         VALUES ('me', 1, 'a', 'b', 1, 'c'), ('me', 1, 'a', 'b', 1, 'c')",
    )
    .await;
    let (mixed, remedy) = tried(&scene, "database.schema");
    assert_eq!(mixed, "fails", "{remedy}");
    assert!(
        remedy.contains("# would fail: UNIQUE constraint failed: notifications.task_id"),
        "{remedy}"
    );
    // The other index can be created.
    assert!(
        remedy.lines().any(|line| line.starts_with("sqlite3 ")),
        "{remedy}"
    );
}

fn url(scene: &Scene) -> String {
    scene.administrators_url().unwrap()
}

const OF_DOCTOR: &str = "FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'todoctl%'";

async fn count(session: &mut PgConnection, query: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned()))
        .fetch_one(session)
        .await
        .unwrap()
}

async fn wait_until(session: &mut PgConnection, query: &str, expected: i64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while count(session, query).await != expected {
        assert!(Instant::now() < deadline, "{query}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// While an attempt holds locks: a request waits for a moment only, and when doctor is killed,
/// its transaction ends.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_interrupted() {
    let scene = Scene::postgres().await;
    // The statement of the remedy takes 0.4 s.
    scene
        .sql(
            "ALTER TABLE tasks ALTER priority DROP NOT NULL; UPDATE tasks SET priority = NULL;
             CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
             $$BEGIN PERFORM pg_sleep(0.4); RETURN NEW; END$$;
             CREATE TRIGGER slow BEFORE UPDATE OF priority ON tasks
             FOR EACH ROW EXECUTE FUNCTION slow()",
        )
        .await;
    let (rows, before) = (Fingerprint::of(&scene).await, schema(&scene));
    let mut watcher = session(&url(&scene), "test").await;
    let running = format!(
        "SELECT count(*) {OF_DOCTOR} AND query LIKE 'SAVEPOINT remedy;%UPDATE%' AND state = 'active'"
    );
    for is_killed in [false, true] {
        let mut doctor = scene
            .command(&["doctor", "--only", "database.schema"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_until(&mut watcher, &running, 1).await;
        if is_killed {
            doctor.kill().unwrap();
        }
        // The row is locked by the attempt.
        let update = "SET statement_timeout = '5s'; UPDATE tasks SET title = title";
        execute(&mut watcher, update).await;
        doctor.wait().unwrap();
        wait_until(&mut watcher, &format!("SELECT count(*) {OF_DOCTOR}"), 0).await;
        assert_eq!(schema(&scene), before);
        rows.is_kept_in(&Fingerprint::of(&scene).await, "interrupted");
    }
}

/// A table that is in use is not waited for, and its remedy is shown as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_others_have_locked() {
    let scene = Scene::postgres_after("ALTER TABLE tasks ALTER title TYPE varchar(60)").await;
    let mut holder = session(&url(&scene), "batch").await;
    execute(&mut holder, "BEGIN; SELECT FROM tasks").await;
    let (untried, remedy) = tried(&scene, "database.schema");
    assert_eq!(untried, Value::Null, "{remedy}");
    assert!(remedy.starts_with("todoctl db psql -c "), "{remedy}");
}
