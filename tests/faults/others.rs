//! Databases that others own, guard or share, and changes of SQLite files.

use crate::faults::fingerprint::sqlite;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};

faults! {
    FILE_TABLE = Fault {
        title: "A table of a SQLite file was renamed",
        symptom: Symptom::Answer { method: "GET", path: "/tasks/", status: 500 },
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FILE_COLUMN = Fault {
        title: "A column of a SQLite file was renamed",
        symptom: Symptom::Answer { method: "GET", path: "/tasks/", status: 500 },
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FILE_INDEX = Fault {
        title: "An index of a SQLite file was dropped",
        symptom: Symptom::Risk("lists read the whole table"),
        check: "database.schema",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    FILE_UNIQUE = Fault {
        title: "A unique index was added to a SQLite file",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 409 },
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FILE_TRIGGER = Fault {
        title: "A trigger of others refuses inserts into a SQLite file",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        check: "database.schema",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    FILE_COUNT = Fault {
        title: "A trigger of todoctl was dropped from a SQLite file",
        symptom: Symptom::Risk("unread notifications are counted wrongly"),
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    OTHER_SERVICE = Fault {
        title: "The tables belong to another service",
        symptom: Symptom::Start("tables of another service"),
        check: "database.tables",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FOREIGN_OWNER = Fault {
        title: "The tables belong to another role",
        symptom: Symptom::Risk("the next migration fails"),
        check: "database.owners",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    FUNCTION_OWNER = Fault {
        title: "The function of the triggers runs as a role without rights",
        symptom: Symptom::Risk("notifications cannot be saved"),
        check: "database.owners",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FORCED_SECURITY = Fault {
        title: "Row-level security is forced for the owner",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        check: "database.row_security",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    LIMITED_ROWS = Fault {
        title: "A policy hides rows",
        symptom: Symptom::Risk("lists lack tasks"),
        check: "database.row_security",
        outcome: "warn",
        after: After::Typed("pass"),
    };
}

#[tokio::test]
async fn file_table() {
    let mut scene = Scene::sqlite().await;
    sqlite(&scene.file(), "ALTER TABLE tasks RENAME TO todos").await;
    scene.proves(&FILE_TABLE).await;
}

#[tokio::test]
async fn file_column() {
    let mut scene = Scene::sqlite().await;
    sqlite(
        &scene.file(),
        "ALTER TABLE tasks RENAME COLUMN title TO name",
    )
    .await;
    scene.proves(&FILE_COLUMN).await;
}

#[tokio::test]
async fn file_index() {
    let mut scene = Scene::sqlite().await;
    sqlite(&scene.file(), "DROP INDEX tasks_user_newest_idx").await;
    scene.proves(&FILE_INDEX).await;
}

#[tokio::test]
async fn file_unique() {
    let mut scene = Scene::sqlite().await;
    sqlite(
        &scene.file(),
        "CREATE UNIQUE INDEX one_each ON tasks (user_id)",
    )
    .await;
    scene.proves(&FILE_UNIQUE).await;
}

#[tokio::test]
async fn file_trigger() {
    let mut scene = Scene::sqlite().await;
    sqlite(
        &scene.file(),
        "CREATE TRIGGER frozen BEFORE INSERT ON tasks BEGIN SELECT RAISE(ABORT, 'frozen'); END",
    )
    .await;
    scene.proves(&FILE_TRIGGER).await;
}

#[tokio::test]
async fn file_count() {
    let mut scene = Scene::sqlite().await;
    sqlite(&scene.file(), "DROP TRIGGER todoctl_unread_added").await;
    scene.proves(&FILE_COUNT).await;
}

/// Its columns are not all known, and it has rows.
#[tokio::test]
async fn other_service() {
    let mut scene = Scene::empty_postgres().await;
    scene
        .sql(
            "CREATE TABLE tasks (id serial PRIMARY KEY, user_id text NOT NULL, title text NOT NULL, board integer);
             INSERT INTO tasks (user_id, title) VALUES ('me', 'one')",
        )
        .await;
    scene.proves(&OTHER_SERVICE).await;
}

/// A role that may use everything, and owns nothing.
async fn limited(scene: &mut Scene) -> String {
    let database = scene.database.as_ref().unwrap();
    let name = database.name.replace("test", "limited");
    scene
        .sql(&format!(
            "CREATE ROLE {name} LOGIN PASSWORD 'canary';
             GRANT USAGE, CREATE ON SCHEMA public TO {name};
             GRANT ALL ON ALL TABLES IN SCHEMA public TO {name};
             GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {name}"
        ))
        .await;
    let mut url = url::Url::parse(&scene.database.as_ref().unwrap().url).unwrap();
    url.set_username(&name).unwrap();
    url.set_password(Some("canary")).unwrap();
    scene.set("DATABASE_URL", url.as_str());
    name
}

async fn drop_role(scene: &mut Scene, name: &str) {
    scene.stop();
    scene
        .sql(&format!(
            "REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}; DROP ROLE {name}"
        ))
        .await;
}

/// A role that does not migrate need not own anything.
#[tokio::test]
async fn foreign_owner() {
    let mut scene = Scene::postgres().await;
    let name = limited(&mut scene).await;
    scene.set("AUTO_MIGRATE", "false");
    scene
        .doctor("database.owners")
        .says("database.owners", "pass", "");
    scene.set("AUTO_MIGRATE", "true");
    scene.proves(&FOREIGN_OWNER).await;
    drop_role(&mut scene, &name).await;
}

#[tokio::test]
async fn function_owner() {
    let mut scene = Scene::postgres().await;
    let name = format!("{}_other", scene.database.as_ref().unwrap().name);
    scene
        .sql(&format!(
            "CREATE ROLE {name}; ALTER FUNCTION todoctl_count_unread() OWNER TO {name}"
        ))
        .await;
    scene.proves(&FUNCTION_OWNER).await;
    drop_role(&mut scene, &name).await;
}

#[tokio::test]
async fn forced_security() {
    let mut scene = Scene::postgres().await;
    let name = limited(&mut scene).await;
    scene
        .sql(&format!(
            "ALTER TABLE tasks OWNER TO {name}; ALTER TABLE tasks ENABLE ROW LEVEL SECURITY"
        ))
        .await;
    // An owner is exempt, until it is forced.
    scene
        .doctor("database.row_security")
        .says("database.row_security", "pass", "");
    scene
        .sql("ALTER TABLE tasks FORCE ROW LEVEL SECURITY")
        .await;
    scene.start();
    assert!(scene.has_logged("row-level security hides rows"));
    scene.proves(&FORCED_SECURITY).await;
    drop_role(&mut scene, &name).await;
}

#[tokio::test]
async fn limited_rows() {
    let mut scene = Scene::postgres().await;
    let name = limited(&mut scene).await;
    scene
        .sql(
            "ALTER TABLE tasks ENABLE ROW LEVEL SECURITY;
             CREATE POLICY todoctl ON tasks USING (user_id <> 'me')",
        )
        .await;
    scene.start();
    assert!(scene.has_logged("row-level security hides rows"));
    scene.proves(&LIMITED_ROWS).await;
    drop_role(&mut scene, &name).await;
}

/// What only adds to the schema, or does the same in another way, is no alarm.
#[tokio::test]
async fn harmless_changes() {
    let scene = Scene::postgres().await;
    scene
        .sql(
            "ALTER TABLE tasks ADD COLUMN colour text, ADD COLUMN rank integer NOT NULL DEFAULT 0;
             CREATE INDEX tasks_title_idx ON tasks (title);
             CREATE UNIQUE INDEX tasks_user_id_idx ON tasks (user_id, id);
             ALTER TABLE tasks ALTER COLUMN title TYPE text;
             ALTER INDEX tasks_open_due_idx RENAME TO due;
             ALTER TABLE notifications RENAME CONSTRAINT notifications_task_id_fkey TO of_task;
             ALTER TABLE tasks ALTER COLUMN id DROP DEFAULT;
             DROP SEQUENCE tasks_id_seq;
             ALTER TABLE tasks ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (START WITH 2);
             CREATE SCHEMA other; CREATE TABLE other.tasks (id uuid);
             CREATE TABLE todoctl_notes (id integer)",
        )
        .await;
    for check in [
        "tables",
        "schema",
        "indexes",
        "triggers",
        "sequences",
        "owners",
        "row_security",
        "collation",
    ] {
        let id = format!("database.{check}");
        scene.doctor(&id).says(&id, "pass", "");
    }
}
