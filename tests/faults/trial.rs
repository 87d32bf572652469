//! Databases that look right and do not do what the daemon asks.

use rstest::rstest;
use sqlx::{Connection as _, PgConnection, SqliteConnection};

use crate::faults::fingerprint;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::servers::{SCHEMA, SEQUENCES, TABLES, drop_role_of, with_role};

const CHECK: &str = "database.trial";

const fn post(status: u16) -> Symptom {
    Symptom::Answer {
        method: "POST",
        path: "/tasks/",
        status,
    }
}

faults! {
    REFUSING_TRIGGER = Fault {
        title: "A trigger that somebody added refuses every task",
        symptom: post(500),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    SWALLOWING_TRIGGER = Fault {
        title: "A trigger that somebody added suppresses every task",
        symptom: post(500),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    ALTERING_TRIGGER = Fault {
        title: "A trigger that somebody added changes every title",
        symptom: Symptom::Risk("titles are stored in another form than they were sent"),
        check: CHECK,
        outcome: "warn",
        after: After::Typed("pass"),
    };
    KEEPING_TRIGGER = Fault {
        title: "A trigger that somebody added suppresses every deletion",
        symptom: Symptom::Answer { method: "DELETE", path: "/tasks/1", status: 404 },
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    SILENT_NOTIFICATIONS = Fault {
        title: "A trigger that somebody added refuses notifications",
        symptom: Symptom::Risk("no user is reminded of a task"),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    REWRITING_RULE = Fault {
        title: "A rule discards every task",
        symptom: post(500),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    CHECK_CONSTRAINT = Fault {
        title: "A CHECK that somebody added refuses most titles",
        symptom: post(409),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    REQUIRED_COLUMN = Fault {
        title: "A column that somebody added requires a value",
        symptom: post(500),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    UNIQUE_TITLES = Fault {
        title: "A unique index that somebody added refuses a second task of the same title",
        symptom: Symptom::Risk("two tasks cannot have the same title"),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    SHORT_TITLES = Fault {
        title: "The column of titles is shorter than titles may be",
        symptom: Symptom::Risk("longer titles are answered with 500"),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    COARSE_DATES = Fault {
        title: "A column of times drops fractions of a second",
        symptom: Symptom::Risk("due dates are stored in another form than they were sent"),
        check: CHECK,
        outcome: "warn",
        after: After::Typed("pass"),
    };
    RENAMED_PRIORITY = Fault {
        title: "The enum of priorities lacks a label",
        symptom: Symptom::Risk("tasks with this priority are answered with 500"),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    SEQUENCE_BEHIND = Fault {
        title: "The sequence of task ids lags behind the table",
        symptom: post(500),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    CLOSED_OUTBOX = Fault {
        title: "The role may not write to the outbox",
        symptom: Symptom::Risk("no user is reminded of a task"),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    CLOSED_REFRESH_TOKENS = Fault {
        title: "The role may not read the auth server's sessions",
        symptom: Symptom::Risk("`POST /api/auth/refresh` answers 500"),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    OTHER_ROWS_ONLY = Fault {
        title: "A policy of row-level security allows other rows than the daemon's",
        symptom: post(500),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    UNCOUNTED = Fault {
        title: "The triggers that count unread notifications are disabled",
        symptom: Symptom::Risk("the count of unread notifications is wrong"),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    LOST_INDEX = Fault {
        title: "The unique index of notifications is gone",
        symptom: Symptom::Risk("no user is reminded of a task"),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    LOCKED_TABLE = Fault {
        title: "Another session has locked the table of tasks",
        symptom: Symptom::Risk("every request waits, and is answered with 503"),
        check: CHECK,
        outcome: "fail",
        after: After::Person("the session may do something important"),
    };
    FILE_REFUSING_TRIGGER = Fault {
        title: "SQLite: a trigger that somebody added refuses every task",
        symptom: post(500),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FILE_SWALLOWING_TRIGGER = Fault {
        title: "SQLite: a trigger that somebody added suppresses every task",
        symptom: post(500),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FILE_LOST_INDEX = Fault {
        title: "SQLite: the unique index of notifications is gone",
        symptom: Symptom::Risk("no user is reminded of a task"),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    BUSY_FILE = Fault {
        title: "SQLite: another process holds the lock of the file",
        symptom: Symptom::Risk("every change waits, and is answered with 503"),
        check: CHECK,
        outcome: "warn",
        after: After::Person("the process may do something important"),
    };
}

/// A trigger on a table with this body.
async fn trigger(scene: &Scene, on: &str, body: &str) {
    scene
        .sql(&format!(
            "CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
             CREATE TRIGGER audit BEFORE {on} FOR EACH ROW EXECUTE FUNCTION audit()"
        ))
        .await;
}

#[tokio::test]
async fn triggers_of_others() {
    let mut scene = Scene::postgres().await;
    trigger(
        &scene,
        "INSERT ON tasks",
        "RAISE EXCEPTION 'no task today';",
    )
    .await;
    scene.proves(&REFUSING_TRIGGER).await;

    let mut scene = Scene::postgres().await;
    trigger(&scene, "INSERT ON tasks", "RETURN NULL;").await;
    scene.proves(&SWALLOWING_TRIGGER).await;

    let mut scene = Scene::postgres().await;
    let upper = "NEW.title = upper(NEW.title); RETURN NEW;";
    trigger(&scene, "INSERT OR UPDATE ON tasks", upper).await;
    scene.proves(&ALTERING_TRIGGER).await;
}

#[tokio::test]
async fn triggers_of_others_on_other_operations() {
    let mut scene = Scene::postgres().await;
    trigger(&scene, "DELETE ON tasks", "RETURN NULL;").await;
    scene.proves(&KEEPING_TRIGGER).await;

    let mut scene = Scene::postgres().await;
    let refuse = "RAISE EXCEPTION 'not this one' USING ERRCODE = '23000';";
    trigger(&scene, "INSERT ON notifications", refuse).await;
    scene.proves(&SILENT_NOTIFICATIONS).await;

    let mut scene = Scene::postgres().await;
    scene
        .sql("CREATE RULE away AS ON INSERT TO tasks DO INSTEAD NOTHING")
        .await;
    scene.proves(&REWRITING_RULE).await;
}

#[tokio::test]
async fn constraints_of_others() {
    let mut scene = Scene::postgres().await;
    scene
        .sql("ALTER TABLE tasks ADD CONSTRAINT one CHECK (title = 'one')")
        .await;
    scene.proves(&CHECK_CONSTRAINT).await;

    let mut scene = Scene::postgres().await;
    scene
        .sql(
            "ALTER TABLE tasks ADD COLUMN colour text NOT NULL DEFAULT 'red';
             ALTER TABLE tasks ALTER COLUMN colour DROP DEFAULT",
        )
        .await;
    scene.proves(&REQUIRED_COLUMN).await;

    let mut scene = Scene::postgres().await;
    scene
        .sql("CREATE UNIQUE INDEX titles ON tasks (user_id, title)")
        .await;
    scene.proves(&UNIQUE_TITLES).await;
}

#[tokio::test]
async fn columns_that_changed() {
    let mut scene = Scene::postgres().await;
    scene
        .sql("ALTER TABLE tasks ALTER COLUMN title TYPE varchar(10)")
        .await;
    scene.proves(&SHORT_TITLES).await;

    let mut scene = Scene::postgres().await;
    scene
        .sql("ALTER TABLE tasks ALTER COLUMN due_date TYPE timestamptz(0)")
        .await;
    scene.proves(&COARSE_DATES).await;

    let mut scene = Scene::postgres().await;
    scene
        .sql("ALTER TYPE prioritylevel RENAME VALUE 'Urgent' TO 'Critical'")
        .await;
    scene.proves(&RENAMED_PRIORITY).await;
}

#[tokio::test]
async fn what_the_ids_and_counts_need() {
    let mut scene = Scene::postgres().await;
    scene
        .sql(
            "INSERT INTO tasks (user_id, title, created_at, updated_at)
             SELECT 'me', 'one', now(), now() FROM generate_series(1, 50);
             SELECT setval('tasks_id_seq', 1, false)",
        )
        .await;
    scene.proves(&SEQUENCE_BEHIND).await;

    let mut scene = Scene::postgres().await;
    scene
        .sql("ALTER TABLE notifications DISABLE TRIGGER USER")
        .await;
    scene.proves(&UNCOUNTED).await;

    let mut scene = Scene::postgres().await;
    scene.sql("DROP INDEX notifications_dedup_idx").await;
    scene.proves(&LOST_INDEX).await;
}

#[tokio::test]
async fn what_the_role_may_not_do() {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let name = with_role(&mut scene, "", &grants).await;
    scene
        .sql(&format!("REVOKE INSERT ON todoctl_outbox FROM {name}"))
        .await;
    scene.proves(&CLOSED_OUTBOX).await;
    scene
        .sql(r#"CREATE TABLE user_sessions (token text, "userId" text, "expiresAt" timestamptz)"#)
        .await;
    scene.proves(&CLOSED_REFRESH_TOKENS).await;
    scene
        .sql(
            "ALTER TABLE tasks ENABLE ROW LEVEL SECURITY;
             CREATE POLICY others ON tasks USING (user_id = 'nobody')",
        )
        .await;
    scene.proves(&OTHER_ROWS_ONLY).await;
    drop_role_of(&mut scene, &name).await;
}

#[tokio::test]
async fn a_table_that_is_locked() {
    let mut scene = Scene::postgres().await;
    let url = scene.database.as_ref().unwrap().url.clone();
    let mut holder = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE tasks IN SHARE MODE")
        .execute(&mut holder)
        .await
        .unwrap();
    scene.proves(&LOCKED_TABLE).await;
    holder.close().await.unwrap();
    scene.proves_gone(&LOCKED_TABLE);
}

#[tokio::test]
async fn triggers_of_others_in_a_file() {
    let mut scene = Scene::sqlite().await;
    let refuse =
        "CREATE TRIGGER audit BEFORE INSERT ON tasks BEGIN SELECT RAISE(ABORT, 'no task'); END";
    fingerprint::sqlite(&scene.file(), refuse).await;
    scene.proves(&FILE_REFUSING_TRIGGER).await;

    let mut scene = Scene::sqlite().await;
    let ignore = "CREATE TRIGGER audit BEFORE INSERT ON tasks BEGIN SELECT RAISE(IGNORE); END";
    fingerprint::sqlite(&scene.file(), ignore).await;
    scene.proves(&FILE_SWALLOWING_TRIGGER).await;

    let mut scene = Scene::sqlite().await;
    fingerprint::sqlite(&scene.file(), "DROP INDEX notifications_dedup_idx").await;
    scene.proves(&FILE_LOST_INDEX).await;
}

#[tokio::test]
async fn a_file_that_is_locked() {
    let mut scene = Scene::sqlite().await;
    let url = format!("sqlite://{}", scene.file().display());
    let mut holder = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut holder)
        .await
        .unwrap();
    scene.proves(&BUSY_FILE).await;
    holder.close().await.unwrap();
    scene.proves_gone(&BUSY_FILE);
}

/// Nothing of a trial stays, also if it is killed.
#[rstest]
#[tokio::test]
async fn nothing_stays(#[values(true, false)] on_server: bool) {
    let scene = if on_server {
        Scene::postgres().await
    } else {
        Scene::sqlite().await
    };
    let before = fingerprint::Fingerprint::of(&scene).await;
    let files = |scene: &Scene| {
        let mut names: Vec<_> = std::fs::read_dir(scene.path().join("data"))
            .map(|entries| entries.map(|entry| entry.unwrap().file_name()).collect())
            .unwrap_or_default();
        names.sort();
        names
    };
    let names = files(&scene);
    scene.doctor(CHECK).says(CHECK, "pass", "");
    assert_eq!(files(&scene), names);
    before.is_kept_in(&fingerprint::Fingerprint::of(&scene).await, "a trial");
}
