//! Names, types and keys that were changed together with what depends on them.

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};

faults! {
    RENAMED_TYPE = Fault {
        title: "The type of the priorities was renamed",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    RENAMED_BOTH = Fault {
        title: "A table and one of its columns were renamed",
        symptom: Symptom::Answer { method: "GET", path: "/tasks/", status: 500 },
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    ADDED_LABEL = Fault {
        title: "The priorities have another label",
        symptom: Symptom::Risk("tasks that have it are answered with 500"),
        check: "database.schema",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    OTHER_ORDER = Fault {
        title: "The labels of the priorities are in another order",
        symptom: Symptom::Risk("tasks sort wrongly by priority"),
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    LOST_KEY = Fault {
        title: "A foreign key was dropped, and rows refer to tasks that are gone",
        symptom: Symptom::Risk("notifications of deleted tasks stay"),
        check: "database.schema",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    UNLOGGED_TABLES = Fault {
        title: "All tables with foreign keys are unlogged",
        symptom: Symptom::Risk("all tasks are lost when the server crashes"),
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
}

#[tokio::test]
async fn renamed_type() {
    let mut scene = Scene::postgres_after("ALTER TYPE prioritylevel RENAME TO \"Level\"").await;
    // Nothing else is wrong.
    for check in ["database.indexes", "database.triggers"] {
        scene.doctor(check).says(check, "pass", "");
    }
    scene.proves(&RENAMED_TYPE).await;
    let rename = "ALTER TABLE tasks RENAME TO todos; ALTER TABLE todos RENAME due_date TO due";
    let mut scene = Scene::postgres_after(rename).await;
    for check in ["database.indexes", "database.triggers"] {
        scene.doctor(check).says(check, "pass", "");
    }
    scene.proves(&RENAMED_BOTH).await;
}

#[tokio::test]
async fn other_labels() {
    let mut scene = Scene::postgres_after("ALTER TYPE prioritylevel ADD VALUE 'Never'").await;
    scene.proves(&ADDED_LABEL).await;
    let order = "ALTER TYPE prioritylevel RENAME VALUE 'Low' TO 'x';
                 ALTER TYPE prioritylevel RENAME VALUE 'High' TO 'Low';
                 ALTER TYPE prioritylevel RENAME VALUE 'x' TO 'High'";
    let mut scene = Scene::postgres_after(order).await;
    scene.proves(&OTHER_ORDER).await;
}

#[tokio::test]
async fn local_times() {
    let change = "UPDATE tasks SET due_date = '2031-05-06 07:08:09Z';
                  ALTER TABLE tasks ALTER COLUMN due_date TYPE timestamp USING due_date AT TIME ZONE 'UTC';
                  DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = %L', current_database(), 'Asia/Tokyo'); END $$";
    let scene = Scene::postgres_after(change).await;
    scene
        .sql("CREATE TABLE kept AS SELECT due_date AT TIME ZONE 'UTC' AS due_date FROM tasks")
        .await;
    let remedy = scene.doctor("database.schema");
    let remedy = remedy.check("database.schema")["remedy"].as_str().unwrap();
    for _ in 0..2 {
        assert!(scene.type_in(remedy).status.success(), "{remedy}");
    }
    scene
        .sql("DO $$ BEGIN IF EXISTS (SELECT FROM tasks JOIN kept USING (due_date)) THEN RETURN; END IF; RAISE 'the time has moved'; END $$")
        .await;
}

#[tokio::test]
async fn lost_key() {
    let lose = "ALTER TABLE notifications DROP CONSTRAINT notifications_task_id_fkey";
    let mut scene = Scene::postgres_after(lose).await;
    scene.proves(&LOST_KEY).await;
    // One that refers to a task that is gone keeps its text.
    scene
        .sql(&format!("{lose}; INSERT INTO notifications (user_id, task_id, type, message) VALUES ('me', 99, 'due_soon', 'kept')"))
        .await;
    let report = scene.doctor("database.schema");
    let remedy = report.check("database.schema")["remedy"].as_str().unwrap();
    let typed = scene.type_in(remedy);
    assert!(typed.status.success(), "{remedy}");
    scene.proves_gone(&LOST_KEY);
    scene
        .sql("DO $$ BEGIN IF EXISTS (SELECT FROM notifications WHERE message = 'kept') THEN RETURN; END IF; RAISE 'lost'; END $$")
        .await;
}

#[tokio::test]
async fn unlogged_tables() {
    let mut scene = Scene::postgres_after("ALTER TABLE todoctl_outbox SET UNLOGGED; ALTER TABLE notifications SET UNLOGGED; ALTER TABLE tasks SET UNLOGGED").await;
    scene.proves(&UNLOGGED_TABLES).await;
}
