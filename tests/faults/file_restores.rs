//! SQLite: restores that went wrong, and a schema that cannot be read.

use std::process::{Command, Output};

use crate::faults::fingerprint::sqlite;
use crate::faults::harness::{Fault, Scene, Symptom, faults};
use crate::faults::sqlite_shell::sqlite3;

faults! {
    ONLY_TASKS = Fault::failing(
        "SQLite: only the table of tasks was restored",
        Symptom::Start("only a part of it"),
        "database.migrations",
    );
    NO_NOTIFICATIONS = Fault::failing(
        "SQLite: a table with rows that nothing can make again was dropped",
        Symptom::Answer { method: "GET", path: "/notifications/", status: 500 },
        "database.schema",
    );
    DANGLING = Fault::warned_of(
        "SQLite: rows refer to rows that do not exist",
        Symptom::Risk("a table that is created again refuses them"),
        "database.references",
    );
    GENERATED = Fault::warned_of(
        "SQLite: a generated column of others refuses rows",
        Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        "database.schema",
    );
}

fn shell(command: &str, scene: &Scene) -> Output {
    Command::new("sh")
        .args(["-c", command])
        .current_dir(scene.path())
        .output()
        .unwrap()
}

/// What `database.login` says is typed.
fn corrected(scene: &Scene) {
    const CHECK: &str = "database.login";
    let printed = scene.start_fails().expect("it starts");
    assert!(printed.contains("malformed database schema"), "{printed}");
    let report = scene.doctor(CHECK);
    report.says(CHECK, "fail", "writable_schema");
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    let typed = scene.type_in(remedy);
    assert!(typed.status.success(), "{remedy}");
    scene.doctor(CHECK).says(CHECK, "pass", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_was_read_into_its_own_database() {
    let mut scene = Scene::sqlite().await;
    shell(
        "sqlite3 data/todo.db .dump > dump.sql; sqlite3 data/todo.db < dump.sql",
        &scene,
    );
    corrected(&scene);
    assert_eq!(sqlite3(&scene, "SELECT count(*) FROM tasks"), "1");
    for check in [
        "database.integrity",
        "database.schema",
        "database.trial",
        "database.search",
    ] {
        scene.doctor(check).says(check, "pass", "");
    }
    assert_eq!(scene.status("POST", "/tasks/"), 201);
}

/// As a newer program leaves it, or an editor of the schema.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_the_schema_that_cannot_be_read() {
    for (name, repaired) in [("of_others", ""), ("tasks_open_due_idx", "CREATE INDEX")] {
        let scene = Scene::sqlite().await;
        sqlite(
            &scene.file(),
            &format!(
                "CREATE INDEX of_others ON tasks (priority);
                 PRAGMA writable_schema = ON;
                 UPDATE sqlite_schema SET sql = 'CREATE INDEX x ON tasks (prioritee(' WHERE name = '{name}'"
            ),
        )
        .await;
        corrected(&scene);
        let report = scene.doctor("database.schema");
        let outcome = if repaired.is_empty() { "pass" } else { "warn" };
        report.says("database.schema", outcome, repaired);
        assert_eq!(sqlite3(&scene, "SELECT count(*) FROM tasks"), "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_of_the_tasks_alone() {
    let mut scene = Scene::sqlite().await;
    shell(
        "sqlite3 data/todo.db '.dump tasks' > dump.sql; rm data/todo.db; sqlite3 data/todo.db < dump.sql; chmod 600 data/todo.db",
        &scene,
    );
    scene.proves(&ONLY_TASKS).await;
    for check in [
        "database.schema",
        "database.search",
        "database.trial",
        "database.integrity",
    ] {
        scene.doctor(check).says(check, "pass", "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_dropped() {
    let mut scene = Scene::sqlite().await;
    sqlite(
        &scene.file(),
        "PRAGMA foreign_keys = OFF; DROP TABLE notifications; DELETE FROM todoctl_unread",
    )
    .await;
    scene.proves(&NO_NOTIFICATIONS).await;
    scene
        .doctor("database.trial")
        .says("database.trial", "pass", "");
}

/// The rows, and those that refer to them in turn, are kept.
#[tokio::test(flavor = "multi_thread")]
async fn rows_without_their_parents() {
    let mut scene = Scene::sqlite().await;
    sqlite(
        &scene.file(),
        "PRAGMA foreign_keys = OFF;
         INSERT INTO notifications (id, user_id, task_id, type, message, created_at)
         VALUES (1, 'me', 77, 'due_soon', 'one', 1);
         INSERT INTO todoctl_outbox (notification_id, user_id, subject, body, idempotency_key, due_at, expires_at, created_at)
         VALUES (1, 'me', 's', 'b', 'k', 1, 1, 1)",
    )
    .await;
    scene.proves(&DANGLING).await;
    let report = scene.doctor("database.set_aside");
    let detail = report.detail("database.set_aside");
    assert!(
        detail.contains("set_aside_notifications") && detail.contains("set_aside_todoctl_outbox"),
        "{detail}"
    );
}

/// Accounts were merged. A table of another program's module is none of todoctl's.
#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_were_given_to_another_user() {
    let mut scene = Scene::sqlite().await;
    sqlite(
        &scene.file(),
        "INSERT INTO notifications (id, user_id, task_id, type, message, created_at)
         VALUES (1, 'old', 1, 'due_soon', 'one', 1), (2, 'me', 1, 'due_soon', 'one', 1);
         INSERT INTO todoctl_outbox (notification_id, user_id, subject, body, idempotency_key, due_at, expires_at, created_at)
         VALUES (1, 'old', 's', 'b', 'k', 1, 1, 1);
         PRAGMA writable_schema = ON;
         INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql)
         VALUES ('table', 'vecs', 'vecs', 0, 'CREATE VIRTUAL TABLE vecs USING vec0 (a)')",
    )
    .await;
    let report = scene.doctor(DANGLING.check);
    report.says(DANGLING.check, "warn", "");
    let remedy = report.check(DANGLING.check)["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    scene
        .doctor(DANGLING.check)
        .says(DANGLING.check, "pass", "");
    for table in ["notifications", "todoctl_outbox"] {
        let users = format!("SELECT DISTINCT user_id FROM {table}");
        assert_eq!(sqlite3(&scene, &users), "me");
    }
    for check in ["database.schema", "database.set_aside", "database.trial"] {
        let report = scene.doctor(check);
        report.says(check, "pass", "");
    }
    assert_eq!(scene.status("POST", "/tasks/"), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_column() {
    let mut scene = Scene::sqlite().await;
    sqlite(
        &scene.file(),
        "UPDATE tasks SET title = json_object('a', 1);
         ALTER TABLE tasks ADD COLUMN tag TEXT AS (json_extract(title, '$.a'));
         CREATE INDEX by_tag ON tasks (tag)",
    )
    .await;
    scene.proves(&GENERATED).await;
}

/// Kills a program in a transaction that has written to the file.
const KILLED: &str = "import os, sqlite3
connection = sqlite3.connect('data/todo.db', isolation_level=None)
connection.execute('PRAGMA journal_mode = DELETE')
connection.execute('PRAGMA cache_size = 1')
connection.execute('BEGIN')
connection.execute('CREATE TABLE x AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT hex(randomblob(100)) FROM n')
connection.execute('UPDATE tasks SET title = 0')
os.kill(os.getpid(), 9)";

/// The file alone is not whole, and is not called damaged.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_interrupted() {
    const CHECK: &str = "database.connection";
    let scene = Scene::sqlite().await;
    shell(&format!("python3 -c \"{KILLED}\""), &scene);
    let report = scene.check(&["db", "check", "--format", "json"]);
    report.says(CHECK, "fail", "quick_check");
    assert_eq!(report.json["summary"]["fail"], 1, "{:#}", report.json);
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    scene.doctor(CHECK).says(CHECK, "pass", "");
    assert_eq!(sqlite3(&scene, "SELECT title FROM tasks"), "one");
}

/// The backup is whole, and what the log has is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_beside_the_log_of_another_state() {
    let mut scene = Scene::sqlite().await;
    shell("sqlite3 data/todo.db \"VACUUM INTO 'backup.db'\"", &scene);
    for _ in 0..20 {
        assert_eq!(scene.status("POST", "/tasks/"), 201);
    }
    scene.stop();
    shell(
        "cp backup.db data/todo.db && chmod 600 data/todo.db",
        &scene,
    );
    // A start would copy the log into the backup.
    let printed = scene.start_fails().expect("it starts");
    assert!(printed.contains("is of another state"), "{printed}");
    let report = scene.check(&["db", "check", "--format", "json"]);
    let check = "database.connection";
    report.says(check, "fail", "mv -n data/todo.db-wal data/todo.db-wal.old");
    let remedy = report.check(check)["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    let report = scene.check(&["db", "check", "--format", "json"]);
    assert_eq!(report.json["summary"]["fail"], 0, "{:#}", report.json);
    assert_eq!(sqlite3(&scene, "SELECT count(*) FROM tasks"), "1");
    assert_eq!(scene.status("POST", "/tasks/"), 201);
}

/// A backup that is copied over the file of a running daemon, whose log fits another state of it. A stop
/// would copy the log into the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_over_the_file_of_a_running_daemon() {
    const CHECK: &str = "database.login";
    for copied in [
        "sqlite3 data/todo.db \"VACUUM INTO 'backup'\"",
        "gzip -c data/todo.db > backup",
    ] {
        let mut scene = Scene::sqlite().await;
        sqlite(
            &scene.file(),
            "CREATE TABLE removed AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT hex(randomblob(20)) FROM n;
             INSERT INTO tasks (user_id, title, title_folded, created_at, updated_at)
             SELECT 'me', hex(randomblob(200)), 'x', 1, 1 FROM removed LIMIT 200;
             DROP TABLE removed",
        )
        .await;
        shell(copied, &scene);
        for _ in 0..12 {
            assert_eq!(scene.status("POST", "/tasks/"), 201);
        }
        shell("cp backup data/todo.db", &scene);
        let report = scene.check(&["doctor", "--only", "database", "--format", "json"]);
        let checks = report.json["checks"].as_array().unwrap();
        let failed = checks.iter().find(|one| one["outcome"] == "fail").unwrap();
        let remedy = failed["remedy"].as_str().unwrap();
        assert!(remedy.contains("kill -9"), "{failed:#}");
        assert!(!remedy.contains("stop the daemon"), "{failed:#}");
        assert!(scene.type_in(remedy).status.success(), "{remedy}");
        scene.stop();
        scene.doctor(CHECK).says(CHECK, "pass", "");
        for check in ["database.integrity", "database.schema"] {
            scene.doctor(check).says(check, "pass", "");
        }
        assert_eq!(sqlite3(&scene, "SELECT count(*) FROM tasks"), "201");
        assert_eq!(scene.status("POST", "/tasks/"), 201);
    }
}

/// The log is the file's own, and only the schema that it has cannot be read: it is not set aside.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_with_a_schema_that_cannot_be_read() {
    let mut scene = Scene::sqlite().await;
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    shell(
        "sqlite3 data/todo.db .dump > dump.sql; sqlite3 data/todo.db < dump.sql",
        &scene,
    );
    let report = scene.doctor("database.login");
    report.says("database.login", "fail", "writable_schema");
    scene.stop();
    let report = scene.doctor("database.login");
    report.says("database.login", "fail", "writable_schema");
}

/// As a backup that was copied without being unpacked.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_in_another_form() {
    const CHECK: &str = "database.login";
    for (pack, kind) in [
        ("gzip -c data/todo.db", "compressed by gzip"),
        ("sqlite3 data/todo.db .dump", "a dump in SQL"),
    ] {
        let mut scene = Scene::sqlite().await;
        shell(
            &format!("{pack} > packed && cat packed > data/todo.db"),
            &scene,
        );
        let report = scene.doctor(CHECK);
        report.says(CHECK, "fail", kind);
        let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
        assert!(scene.type_in(remedy).status.success(), "{remedy}");
        scene.doctor(CHECK).says(CHECK, "pass", "");
        assert_eq!(scene.status("GET", "/tasks/1"), 200);
    }
    let scene = Scene::sqlite().await;
    shell("tar -cf packed data && cat packed > data/todo.db", &scene);
    scene
        .doctor(CHECK)
        .says(CHECK, "fail", "tar -tf data/todo.db");
}

/// As by a person who keeps the old table, whose indexes and triggers keep their names.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_table_with_a_column_more() {
    const CHECK: &str = "database.schema";
    let mut scene = Scene::sqlite().await;
    sqlite(
        &scene.file(),
        "ALTER TABLE tasks RENAME TO tasks_old;
         CREATE TABLE tasks AS SELECT *, 'x' AS owner FROM tasks_old",
    )
    .await;
    let report = scene.doctor(CHECK);
    report.says(CHECK, "fail", "tasks_rebuilt");
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    scene.doctor(CHECK).says(CHECK, "pass", "");
    for check in ["database.trial", "database.search"] {
        scene.doctor(check).says(check, "pass", "");
    }
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    assert_eq!(
        sqlite3(
            &scene,
            "SELECT group_concat(coalesce(owner, '-')) FROM tasks"
        ),
        "x,-"
    );
}

/// The rows are as they were stored before.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_another_type() {
    let scene = Scene::sqlite().await;
    sqlite(
        &scene.file(),
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(sql, 'completed BOOLEAN', 'completed TEXT') WHERE name = 'tasks'",
    )
    .await;
    let report = scene.doctor("database.integrity");
    report.says("database.integrity", "warn", "");
    let report = scene.doctor("database.schema");
    let remedy = report.check("database.schema")["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    for check in ["database.schema", "database.integrity"] {
        scene.doctor(check).says(check, "pass", "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_were_dropped() {
    for (table, column, added) in [
        ("notifications", "sent_email", true),
        ("tasks", "reminder_sent", true),
        ("tasks", "description_folded", true),
        ("notifications", "message", false),
    ] {
        let scene = Scene::sqlite().await;
        sqlite(
            &scene.file(),
            &format!("ALTER TABLE {table} DROP COLUMN {column}"),
        )
        .await;
        let report = scene.doctor("database.schema");
        let expected = if added { "ADD COLUMN" } else { "from a backup" };
        report.says("database.schema", "fail", expected);
        let remedy = report.check("database.schema")["remedy"].as_str().unwrap();
        assert!(remedy.contains("its values are gone"), "{remedy}");
        if added {
            assert!(scene.type_in(remedy).status.success(), "{remedy}");
            for check in ["database.schema", "database.trial"] {
                scene.doctor(check).says(check, "pass", "");
            }
            assert_eq!(sqlite3(&scene, "SELECT count(*) FROM tasks"), "1");
        }
    }
}
