//! What PostgreSQL's statements mean: languages, functions of others, shared records.

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::servers::{SCHEMA, SEQUENCES, TABLES, drop_role_of, with_role};

const TABLES_CHECK: &str = "database.tables";
const WRONG_RESULTS: Symptom = Symptom::Risk("searches and comparisons do something else");

faults! {
    NO_LANGUAGE = Fault::failing(
        "The extension plpgsql was dropped, and its functions with it",
        Symptom::Risk("unread notifications are counted wrongly"),
        "database.triggers",
    );
    CLOSED_LANGUAGE = Fault::failing(
        "The role may not use PL/pgSQL, and a function was dropped",
        Symptom::Risk("unread notifications are counted wrongly"),
        "database.triggers",
    );
    EARLIER_FUNCTIONS = Fault::warned_of(
        "Functions and operators of others come before the system's in the search path",
        WRONG_RESULTS,
        TABLES_CHECK,
    );
    NEARER_FUNCTION = Fault {
        after: After::Person("another service uses it by its name"),
        ..Fault::warned_of(
            "A function of others fits columns better than the system's",
            WRONG_RESULTS,
            TABLES_CHECK,
        )
    };
    HIDDEN_RECORD = Fault::failing(
        "Row-level security hides the record of migrations",
        Symptom::Start("row-level security hides the rows of _sqlx_migrations"),
        "database.migrations",
    );
    SHARED_RECORD = Fault {
        after: After::Person("the other service has to move as well"),
        ..Fault::failing(
            "Another service records its migrations in the same table",
            Symptom::Start("also has migrations of another service"),
            "database.migrations",
        )
    };
}

#[tokio::test]
async fn without_plpgsql() {
    let mut scene = Scene::postgres_after("DROP EXTENSION plpgsql CASCADE").await;
    scene.proves(&NO_LANGUAGE).await;

    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let role = with_role(&mut scene, "", &grants).await;
    scene
        .sql(&format!(
            "ALTER TABLE notifications OWNER TO {role}; ALTER TABLE todoctl_unread OWNER TO {role};
             REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC; DROP FUNCTION todoctl_count_unread CASCADE"
        ))
        .await;
    scene.proves(&CLOSED_LANGUAGE).await;
    scene
        .sql(&format!("REASSIGN OWNED BY {role} TO CURRENT_USER"))
        .await;
    drop_role_of(&mut scene, &role).await;
}

#[tokio::test]
async fn functions_in_place_of_the_systems() {
    let mut scene = Scene::postgres_after(
        "CREATE FUNCTION lower(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
         CREATE OPERATOR || (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_catalog.textcat)",
    )
    .await;
    // The system's come first, unless the path says otherwise.
    scene.doctor(TABLES_CHECK).says(TABLES_CHECK, "pass", "");
    scene
        .sql("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database()); END $$")
        .await;
    scene.proves(&EARLIER_FUNCTIONS).await;
    scene
        .sql("CREATE FUNCTION lower(varchar) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1'")
        .await;
    scene.proves(&NEARER_FUNCTION).await;
    scene
        .sql("ALTER FUNCTION lower(varchar) RENAME TO same")
        .await;
    scene.proves_gone(&NEARER_FUNCTION);
}

#[tokio::test]
async fn records_of_migrations() {
    let mut scene = Scene::postgres().await;
    scene
        .sql(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (20310102030405, 'create users', true, '', 1)",
        )
        .await;
    let report = scene.doctor("database.migrations");
    report.says("database.migrations", "fail", "schema of its own");
    let detail = report.detail("database.migrations");
    assert!(
        detail.ends_with("of another service: 20310102030405 (create users)"),
        "{detail}"
    );
    scene.proves(&SHARED_RECORD).await;
    scene
        .sql("DELETE FROM _sqlx_migrations WHERE version > 1000")
        .await;
    scene.proves_gone(&SHARED_RECORD);

    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let role = with_role(&mut scene, "", &grants).await;
    scene
        .sql("ALTER TABLE _sqlx_migrations ENABLE ROW LEVEL SECURITY")
        .await;
    let stamp = scene.todoctl(&["migrate", "stamp"]);
    assert_eq!(stamp.status.code(), Some(2));
    scene.proves(&HIDDEN_RECORD).await;
    drop_role_of(&mut scene, &role).await;
}
