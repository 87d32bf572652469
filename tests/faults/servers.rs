//! PostgreSQL itself: roles, limits, states, poolers.

use rstest::rstest;
use sqlx::{Connection as _, PgConnection};
use url::Url;

use crate::faults::Broken;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::support::TestDatabase;

/// The database's address for another role.
pub fn as_role(database: &TestDatabase, role: &str) -> String {
    let mut url = Url::parse(&database.url).unwrap();
    url.set_username(role).unwrap();
    url.set_password(Some("canary")).unwrap();
    url.into()
}

/// A role of this test alone; gone with its database's drop is not what roles do, so the
/// name is the database's.
async fn role(database: &TestDatabase, options: &str) -> String {
    let url = Url::parse(&database.url).unwrap();
    let name = url.path().trim_start_matches('/').replace("test", "role");
    database
        .execute(&format!(
            "CREATE ROLE {name} LOGIN PASSWORD 'canary' {options}; REVOKE CREATE ON SCHEMA public FROM PUBLIC"
        ))
        .await;
    name
}

async fn drop_role(database: &TestDatabase, name: &str) {
    database
        .execute(&format!("DROP OWNED BY {name}; DROP ROLE {name}"))
        .await;
}

#[tokio::test]
async fn a_healthy_server() {
    let database = TestDatabase::create().await;
    let broken = Broken::with_server(&database.url);
    broken.database_says("database.migrations", "fail", "todoctl migrate up");
    assert!(broken.output(&["migrate", "up"]).status.success());
    let report = broken.db_check();
    assert_eq!(report.code, 0, "{:#}", report.json);
    assert_eq!(report.json["summary"]["fail"], 0);
    assert_eq!(report.json["summary"]["skip"], 0, "{:#}", report.json);
    let report = broken.doctor();
    assert_eq!(report.code, 0, "{:#}", report.json);
}

faults! {
    CLOSED_TABLES = Fault {
        title: "The role may not use the tables",
        symptom: Symptom::Answer { method: "GET", path: "/tasks/", status: 500 },
        check: "database.role",
        outcome: "fail",
        after: After::Typed("warn"),
    };
    CLOSED_SEQUENCES = Fault {
        title: "The role may not use the sequences",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        check: "database.role",
        outcome: "fail",
        after: After::Typed("warn"),
    };
    CLOSED_SCHEMA = Fault {
        title: "The role may not create tables in an empty database",
        symptom: Symptom::Start("permission denied for schema"),
        check: "database.role",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    READ_ONLY_ROLE = Fault {
        title: "Every transaction of the role is read-only",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 503 },
        check: "database.role",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    ROLE_LIMIT = Fault {
        title: "The role has reached its CONNECTION LIMIT",
        symptom: Symptom::Start("too many connections for role"),
        check: "database.login",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    NO_DATABASE = Fault {
        title: "The database does not exist",
        symptom: Symptom::Start("does not exist"),
        check: "database.login",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    WRONG_PASSWORD = Fault {
        title: "The password of the role is wrong",
        symptom: Symptom::Start("password authentication failed"),
        check: "database.login",
        outcome: "fail",
        after: After::Person("only a person knows the password"),
    };
    NOT_UTF8 = Fault {
        title: "The database's encoding is not UTF8",
        symptom: Symptom::Start("encoding is SQL_ASCII"),
        check: "database.settings",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    MORE_THAN_ALLOWED = Fault {
        title: "The pool is larger than the role's CONNECTION LIMIT",
        symptom: Symptom::Risk("under load, requests answer 503"),
        check: "database.connections",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    NO_TRIGRAMS = Fault {
        title: "The extension pg_trgm is missing, and the role may not create it",
        symptom: Symptom::Risk("each search reads all tasks of its user"),
        check: "database.search",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    NOT_THE_OWNER = Fault {
        title: "The role may not build the index for searches",
        symptom: Symptom::Risk("each search reads all tasks of its user"),
        check: "database.search",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    HIDDEN_ROWS = Fault {
        title: "Row-level security without a policy for the role",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        check: "database.row_security",
        outcome: "fail",
        after: After::Typed("pass"),
    };
}

/// A scene whose role is not the administrator; what it may do in the schema.
pub async fn with_role(scene: &mut Scene, options: &str, grants: &str) -> String {
    let database = scene.database.as_ref().unwrap();
    let name = role(database, options).await;
    scene.sql(&grants.replace("ROLE", &name)).await;
    scene.set("DATABASE_URL", &as_role(database, &name));
    name
}

pub const TABLES: &str =
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ROLE";
pub const SEQUENCES: &str = "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO ROLE";
pub const SCHEMA: &str = "GRANT USAGE, CREATE ON SCHEMA public TO ROLE";

pub async fn drop_role_of(scene: &mut Scene, name: &str) {
    scene.stop();
    drop_role(scene.database.as_ref().unwrap(), name).await;
}

#[tokio::test]
async fn closed_tables() {
    let mut scene = Scene::postgres().await;
    let name = with_role(&mut scene, "", SEQUENCES).await;
    scene.set("AUTO_MIGRATE", "false");
    scene
        .sql(&format!(
            "GRANT SELECT ON _sqlx_migrations, todoctl_identity TO {name}"
        ))
        .await;
    scene.proves(&CLOSED_TABLES).await;
    drop_role_of(&mut scene, &name).await;
}

#[tokio::test]
async fn closed_sequences() {
    let mut scene = Scene::postgres().await;
    let name = with_role(&mut scene, "", TABLES).await;
    scene.proves(&CLOSED_SEQUENCES).await;
    drop_role_of(&mut scene, &name).await;
}

#[tokio::test]
async fn closed_schema() {
    let mut scene = Scene::empty_postgres().await;
    let name = with_role(&mut scene, "", "").await;
    scene.proves(&CLOSED_SCHEMA).await;
    drop_role_of(&mut scene, &name).await;
}

#[tokio::test]
async fn searches_without_the_extension() {
    let mut scene = Scene::postgres().await;
    let owner = "ALTER TABLE tasks OWNER TO ROLE";
    let grants = [SCHEMA, TABLES, SEQUENCES, owner].join("; ");
    let name = with_role(&mut scene, "", &grants).await;
    scene.proves(&NO_TRIGRAMS).await;
    scene.sql("ALTER TABLE tasks OWNER TO CURRENT_USER").await;
    drop_role_of(&mut scene, &name).await;
}

#[tokio::test]
async fn searches_of_a_role_that_owns_nothing() {
    let mut scene = Scene::postgres().await;
    let extension = "CREATE EXTENSION IF NOT EXISTS pg_trgm";
    let grants = [SCHEMA, TABLES, SEQUENCES, extension].join("; ");
    let name = with_role(&mut scene, "", &grants).await;
    scene.proves(&NOT_THE_OWNER).await;
    drop_role_of(&mut scene, &name).await;
}

#[tokio::test]
async fn a_read_only_role() {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let name = with_role(&mut scene, "", &grants).await;
    scene
        .sql(&format!(
            "ALTER ROLE {name} SET default_transaction_read_only = on"
        ))
        .await;
    scene.proves(&READ_ONLY_ROLE).await;
    drop_role_of(&mut scene, &name).await;
}

#[tokio::test]
async fn a_full_connection_table() {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let name = with_role(&mut scene, "CONNECTION LIMIT 1", &grants).await;
    let holder = PgConnection::connect(&scene.get("DATABASE_URL").unwrap())
        .await
        .unwrap();
    scene.proves(&ROLE_LIMIT).await;
    holder.close().await.unwrap();
    drop_role_of(&mut scene, &name).await;
}

/// Lists would be empty, and changes refused.
#[rstest]
#[case("tasks")]
#[case("notifications")]
#[case("todoctl_outbox")]
#[tokio::test]
async fn hidden_rows(#[case] table: &str) {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let name = with_role(&mut scene, "", &grants).await;
    scene
        .sql(&format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"))
        .await;
    if table == "tasks" {
        scene.proves(&HIDDEN_ROWS).await;
    }
    // One that lets it read is not enough.
    scene
        .sql(&format!(
            "CREATE POLICY reads ON {table} FOR SELECT USING (true)"
        ))
        .await;
    if table != "tasks" {
        scene.doctor("database.row_security").says(
            "database.row_security",
            "fail",
            &format!("ON \"public\".\"{table}\""),
        );
    }
    drop_role_of(&mut scene, &name).await;
}

#[tokio::test]
async fn more_replicas_than_connections() {
    let database = TestDatabase::create().await;
    let broken = Broken::with_server(&database.url);
    let check = |replicas: &str| {
        broken.report(&["db", "check", "--replicas", replicas, "--format", "json"])
    };
    check("1").says("database.connections", "pass", "");
    check("50").says(
        "database.connections",
        "warn",
        "SQLALCHEMY_POOL_SIZE=3 SQLALCHEMY_POOL_OVERFLOW=0",
    );
}

/// Somebody renamed a table: the history says that all is well.
#[tokio::test]
async fn a_table_that_is_gone() {
    let database = TestDatabase::create().await;
    let broken = Broken::with_server(&database.url);
    assert!(broken.output(&["migrate", "up"]).status.success());
    database
        .execute("ALTER TABLE notifications RENAME TO old_notifications")
        .await;
    broken.database_says("database.schema", "fail", "RENAME TO \"notifications\"");
}

/// `serve` refuses it, so `doctor` must not pass it.
#[tokio::test]
async fn a_database_that_a_newer_release_migrated() {
    let database = TestDatabase::create().await;
    let broken = Broken::with_server(&database.url);
    assert!(broken.output(&["migrate", "up"]).status.success());
    database
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (99, 'later', true, '\\x00', 0)",
        )
        .await;
    broken.database_says("database.migrations", "fail", "--allow-newer");
}

#[tokio::test]
async fn a_wrong_password() {
    let mut scene = Scene::postgres().await;
    let right = scene.get("DATABASE_URL").unwrap();
    let wrong = as_role(scene.database.as_ref().unwrap(), "postgres");
    scene.set("DATABASE_URL", &wrong);
    scene.proves(&WRONG_PASSWORD).await;
    scene.set("DATABASE_URL", &right);
    scene.proves_gone(&WRONG_PASSWORD);
}

#[tokio::test]
async fn a_missing_database() {
    let mut scene = Scene::postgres().await;
    let database = scene.database.as_ref().unwrap();
    let name = format!("{}_new", database.name);
    let url = database.url.replace(&database.name, &name);
    scene.set("DATABASE_URL", &url);
    scene.proves(&NO_DATABASE).await;
    scene.stop();
    scene
        .sql(&format!("DROP DATABASE {name} WITH (FORCE)"))
        .await;
}

#[tokio::test]
async fn a_pool_that_is_too_large() {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let name = with_role(&mut scene, "CONNECTION LIMIT 8", &grants).await;
    scene.proves(&MORE_THAN_ALLOWED).await;
    drop_role_of(&mut scene, &name).await;
}

#[tokio::test]
async fn settings_that_take() {
    let database = TestDatabase::create().await;
    let url = format!("{}?options=-c%20statement_timeout%3D5s", database.url);
    let report = Broken::with_server(&url).db_check();
    report
        .says("database.startup", "pass", "")
        .says("database.settings", "pass", "");
}

/// A setting that no client can change. The rows are copied, and the old database stays.
#[tokio::test]
async fn a_database_without_utf8() {
    let mut scene = Scene::postgres().await;
    let database = scene.database.as_ref().unwrap();
    let name = format!("{}_ascii", database.name);
    let url = database.url.replace(&database.name, &name);
    scene
        .sql(&format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
        ))
        .await;
    scene.set("DATABASE_URL", &url);
    let administrator = scene.administrators_url().unwrap();
    let mut connection = PgConnection::connect(&administrator).await.unwrap();
    sqlx::raw_sql("CREATE TABLE kept (text text); INSERT INTO kept VALUES ('Zürich')")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    scene.proves(&NOT_UTF8).await;
    scene.stop();
    for name in [&name, &format!("{name}_utf8")] {
        let drop = format!("DROP DATABASE {name} WITH (FORCE)");
        scene.sql(&drop).await;
    }
}
