//! Tables that are kept elsewhere, or in parts, and rows without theirs.

use super::duplicates::{correct, holds};
use super::servers::{drop_role_of, with_role};
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};

const SCHEMA: &str = "database.schema";
const NO_REMINDERS: Symptom = Symptom::Risk("no user is reminded of a task");

faults! {
    FOREIGN_TABLE = Fault {
        after: After::Person("only a person knows where the tasks should be"),
        ..Fault::failing("The tasks are a foreign table", NO_REMINDERS, SCHEMA)
    };
    PARTITIONED_TABLE = Fault {
        after: After::Person("only a person knows which of both tables has the newest rows"),
        ..Fault::failing("The tasks are partitioned", NO_REMINDERS, SCHEMA)
    };
    VIEW_IN_PLACE = Fault::failing(
        "The tasks were moved to another schema, and a view has their name",
        NO_REMINDERS,
        SCHEMA,
    );
    ALL_MOVED = Fault::failing(
        "All tables were moved to another schema, without their functions and their type",
        Symptom::Start("the tables are in the schema app"),
        "database.tables",
    );
    RENAMED_SCHEMA = Fault::failing(
        "The schema was renamed while the daemon runs",
        Symptom::Answer { method: "GET", path: "/tasks/", status: 503 },
        "database.tables",
    );
    LOST_OUTBOX_KEY = Fault::warned_of(
        "The foreign key of the outbox was dropped",
        Symptom::Risk("mails of deleted notifications are sent"),
        SCHEMA,
    );
}

/// The daemon goes on without a restart: names lead to the schema again.
#[tokio::test]
async fn a_renamed_schema() {
    let mut scene = Scene::postgres().await;
    scene.start_at_its_port();
    scene.sql("ALTER SCHEMA public RENAME TO pub").await;
    for _ in 0..3 {
        assert_eq!(scene.status("GET", "/tasks/"), 503);
    }
    // What the daemon and the role lack has the same cause.
    for (check, outcome) in [("database.role", "fail"), ("daemon.errors", "warn")] {
        let report = scene.doctor(check);
        report.says(check, outcome, "ALTER SCHEMA \"pub\" RENAME TO public");
        let remedy = report.check(check)["remedy"].as_str().unwrap();
        for other in ["migrate up", "ALTER SYSTEM", "another database"] {
            assert!(!remedy.contains(other), "{check}: {remedy}");
        }
    }
    let report = scene.doctor("daemon.database");
    report.says("daemon.database", "skip", "");
    scene.proves(&RENAMED_SCHEMA).await;
    // One that the role's own search path names.
    scene.end();
    scene
        .sql(
            "ALTER SCHEMA public RENAME TO app;
             DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = app', current_database()); END $$",
        )
        .await;
    scene.start_at_its_port();
    scene.sql("ALTER SCHEMA app RENAME TO \"App 2\"").await;
    scene.proves(&RENAMED_SCHEMA).await;
}

/// A table that is missing is no reason to migrate, where all migrations are applied.
#[tokio::test]
async fn what_failing_requests_lack() {
    let mut scene = Scene::postgres().await;
    scene.start_at_its_port();
    scene.sql("ALTER TABLE tasks RENAME TO tasks_2").await;
    for _ in 0..3 {
        assert_eq!(scene.status("GET", "/tasks/"), 500);
    }
    for (check, outcome) in [("database.continuity", "fail"), ("daemon.errors", "warn")] {
        let report = scene.doctor(check);
        report.says(check, outcome, "RENAME TO \"tasks\"");
        let remedy = report.check(check)["remedy"].as_str().unwrap();
        assert!(!remedy.contains("migrate up"), "{check}: {remedy}");
    }
}

/// No remedy names what such a table cannot have: a foreign key towards it would wait for ever.
fn says_nothing_of_parts(scene: &Scene) {
    for check in [
        "database.indexes",
        "database.triggers",
        "database.sequences",
    ] {
        let report = scene.doctor(check);
        let remedy = report.check(check)["remedy"].as_str().unwrap_or_default();
        assert!(!remedy.contains("tasks"), "{check}: {remedy}");
    }
}

#[tokio::test]
async fn a_foreign_table() {
    let mut scene = Scene::postgres_after(
        "CREATE EXTENSION file_fdw;
         CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
         ALTER TABLE tasks RENAME TO tasks_store;
         CREATE FOREIGN TABLE tasks (
             id bigint NOT NULL, user_id varchar(255) NOT NULL, title varchar(200) NOT NULL, description text,
             completed boolean NOT NULL DEFAULT false, priority prioritylevel NOT NULL DEFAULT 'Medium',
             due_date timestamptz, reminder_sent boolean NOT NULL DEFAULT false,
             created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(),
             search_title text COLLATE \"C\", search_description text COLLATE \"C\"
         ) SERVER files OPTIONS (filename '/dev/null')",
    )
    .await;
    says_nothing_of_parts(&scene);
    scene.proves(&FOREIGN_TABLE).await;
    scene
        .sql("DROP FOREIGN TABLE tasks; ALTER TABLE tasks_store RENAME TO tasks")
        .await;
    scene.proves_gone(&FOREIGN_TABLE);
}

#[tokio::test]
async fn a_partitioned_table() {
    let mut scene = Scene::postgres_after(
        "ALTER TABLE tasks RENAME TO tasks_old;
         CREATE TABLE tasks (LIKE tasks_old INCLUDING DEFAULTS) PARTITION BY RANGE (created_at);
         CREATE TABLE tasks_all PARTITION OF tasks DEFAULT;
         ALTER TABLE tasks ADD PRIMARY KEY (id, created_at);
         INSERT INTO tasks SELECT * FROM tasks_old",
    )
    .await;
    let report = scene.doctor(SCHEMA);
    let detail = report.detail(SCHEMA);
    assert!(
        detail.contains("notifications refers to tasks_old instead"),
        "{detail}"
    );
    scene.proves(&PARTITIONED_TABLE).await;
    // Its indexes cannot be built beside its use.
    let report = scene.doctor("database.indexes");
    let remedy = report.check("database.indexes")["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    scene
        .sql("DROP TABLE tasks; ALTER TABLE tasks_old RENAME TO tasks")
        .await;
    scene.proves_gone(&PARTITIONED_TABLE);
}

/// As after a restore of one table. Mails whose notification is gone are kept beside the others.
#[tokio::test]
async fn mails_without_notifications() {
    const LOSE: &str =
        "ALTER TABLE todoctl_outbox DROP CONSTRAINT todoctl_outbox_notification_id_fkey";
    const ORPHANS: &str = "INSERT INTO todoctl_outbox (notification_id, user_id, subject, body, idempotency_key, due_at, expires_at, created_at)
        SELECT n, 'me', 's', 'b', 'k' || n, now() + interval '1 day', now() + interval '2 days', now() FROM generate_series(901, 903) n";
    let mut scene = Scene::postgres_after(LOSE).await;
    scene.proves(&LOST_OUTBOX_KEY).await;
    scene.sql(&format!("{LOSE}; {ORPHANS}")).await;
    correct(&scene, SCHEMA);
    holds(
        &scene,
        "(SELECT count(*) = 3 FROM set_aside_todoctl_outbox)",
    )
    .await;
    // One that was never checked, with rows that are set aside beside the first.
    scene
        .sql(&format!(
            "{LOSE}; {ORPHANS};
             ALTER TABLE todoctl_outbox ADD CONSTRAINT todoctl_outbox_notification_id_fkey
                 FOREIGN KEY (notification_id) REFERENCES notifications (id) ON DELETE CASCADE NOT VALID"
        ))
        .await;
    correct(&scene, SCHEMA);
    holds(
        &scene,
        "(SELECT count(*) = 6 FROM set_aside_todoctl_outbox)",
    )
    .await;
}

/// As when a table is changed by copying it. What was inserted since has no id.
#[tokio::test]
async fn a_copy_in_place_of_the_table() {
    let mut scene = Scene::postgres_after(
        "CREATE TABLE copied AS SELECT * FROM tasks; DROP TABLE tasks CASCADE;
         ALTER TABLE copied RENAME TO tasks",
    )
    .await;
    assert_eq!(scene.status("POST", "/tasks/"), 500);
    correct(&scene, SCHEMA);
    holds(
        &scene,
        "(SELECT count(*) = 2 AND min(id) = 1 AND bool_and(completed IS NOT NULL) FROM tasks)",
    )
    .await;
    for check in [
        "database.triggers",
        "database.indexes",
        "database.sequences",
    ] {
        let report = scene.doctor(check);
        let remedy = report.check(check)["remedy"].as_str().unwrap_or_default();
        assert!(scene.type_in(remedy).status.success(), "{remedy}");
        scene.doctor(check).says(check, "pass", "");
    }
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    assert_eq!(scene.status("GET", "/tasks/"), 200);
}

#[tokio::test]
async fn a_view_in_place_of_the_table() {
    let mut scene = Scene::postgres_after(
        "CREATE SCHEMA archive; ALTER TABLE tasks SET SCHEMA archive;
         CREATE VIEW tasks AS SELECT * FROM archive.tasks",
    )
    .await;
    scene.proves(&VIEW_IN_PLACE).await;
    holds(&scene, "to_regclass('tasks_view') IS NOT NULL").await;
}

/// They follow: no second type is made, and no function is lost.
#[tokio::test]
async fn tables_in_another_schema() {
    let mut scene = Scene::postgres_after(
        "CREATE SCHEMA app;
         DO $$ DECLARE one text; BEGIN
             FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
                 EXECUTE format('ALTER TABLE public.%I SET SCHEMA app', one);
             END LOOP; END $$",
    )
    .await;
    let name = with_role(
        &mut scene,
        "",
        "GRANT USAGE, CREATE ON SCHEMA app, public TO ROLE",
    )
    .await;
    give_all(&scene, "app", &name).await;
    scene.proves(&ALL_MOVED).await;
    holds(
        &scene,
        "to_regtype('app.prioritylevel') IS NOT NULL AND to_regtype('public.prioritylevel') IS NULL",
    )
    .await;
    // What the functions do names the tables with their schema.
    for check in ["database.triggers", SCHEMA] {
        scene.doctor(check).says(check, "pass", "");
    }
    assert_eq!(scene.status("DELETE", "/tasks/1"), 204);
    scene
        .sql(&format!("REASSIGN OWNED BY {name} TO CURRENT_USER"))
        .await;
    drop_role_of(&mut scene, &name).await;
}

/// Makes the role the owner of all tables of a schema, and of the functions and the type.
async fn give_all(scene: &Scene, schema: &str, role: &str) {
    scene
        .sql(&format!(
            "DO $$ DECLARE one record; BEGIN
                 FOR one IN SELECT oid::regclass AS name FROM pg_class
                            WHERE relnamespace = '{schema}'::regnamespace AND relkind = 'r' LOOP
                     EXECUTE format('ALTER TABLE %s OWNER TO {role}', one.name);
                 END LOOP;
                 FOR one IN SELECT oid::regprocedure AS name FROM pg_proc WHERE proname LIKE 'todoctl_%' LOOP
                     EXECUTE format('ALTER FUNCTION %s OWNER TO {role}', one.name);
                 END LOOP; END $$;
             ALTER TYPE prioritylevel OWNER TO {role}"
        ))
        .await;
}
