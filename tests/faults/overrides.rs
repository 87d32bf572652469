//! Settings of the database or of its role that keep the daemon from its work.

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::servers::{SCHEMA, SEQUENCES, TABLES, drop_role_of, with_role};
use crate::support::Cluster;

const REFUSED: Symptom = Symptom::Risk("changes are answered with 503");

faults! {
    READ_ONLY_DATABASE = Fault::failing("ALTER DATABASE … SET default_transaction_read_only", REFUSED, "database.role");
    READ_ONLY_IN_DATABASE = Fault::failing("The role may only read in this database", REFUSED, "database.role");
    READ_ONLY_FOR_ALL = Fault::failing("ALTER ROLE ALL SET default_transaction_read_only", REFUSED, "database.role");
    MISSING_LIBRARY = Fault::failing(
        "Sessions of the role load a library that the server lacks",
        Symptom::Start("could not access file"),
        "database.login",
    );
    MISSING_LIBRARY_OF_DATABASE = Fault::failing(
        "Sessions of the database load a library that the server lacks",
        Symptom::Start("could not access file"),
        "database.login",
    );
    INVALID_DATABASE = Fault {
        after: After::Person("the rows are gone"),
        ..Fault::failing(
            "DROP DATABASE was interrupted",
            Symptom::Start("cannot connect to invalid database"),
            "database.login",
        )
    };
    ROW_SECURITY_OFF = Fault::failing(
        "The role has row_security = off, and a policy applies to a table",
        Symptom::Risk("statements on the table are answered with 500"),
        "database.row_security",
    );
    UNUSABLE_SCHEMA = Fault::failing(
        "The schema of the tables belongs to another role, and nobody else may use it",
        Symptom::Answer { method: "GET", path: "/tasks/", status: 503 },
        "database.tables",
    );
    NO_INDEXES = Fault::warned_of(
        "The role does not use indexes",
        Symptom::Risk("requests read whole tables"),
        "database.settings",
    );
    SERIALIZABLE = Fault::warned_of(
        "The transactions of the database are serializable",
        Symptom::Risk("requests that change the same rows fail"),
        "database.settings",
    );
    COMPILED = Fault::warned_of(
        "The role compiles each statement, and does without indexes",
        Symptom::Risk("requests take some hundred milliseconds longer"),
        "database.settings",
    );
    CLOSED_TABLESPACE = Fault::warned_of(
        "The role creates its tables in a tablespace that it may not use",
        Symptom::Risk("the next migration fails"),
        "database.settings",
    );
    SYSTEM_PATH = Fault::failing(
        "The search path of the role is pg_catalog alone",
        Symptom::Risk("no table is found"),
        "database.role",
    );
    RESTRICTIVE_POLICY = Fault::warned_of(
        "A restrictive policy hides tasks while the daemon runs",
        Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        "database.row_security",
    );
}

#[tokio::test]
async fn read_only() {
    let mut scene = Scene::postgres().await;
    let name = scene.database.as_ref().unwrap().name.clone();
    scene
        .sql(&format!(
            "ALTER DATABASE {name} SET default_transaction_read_only = on"
        ))
        .await;
    scene.proves(&READ_ONLY_DATABASE).await;

    let mut scene = Scene::postgres().await;
    let name = scene.database.as_ref().unwrap().name.clone();
    scene
        .sql(&format!(
            "ALTER ROLE CURRENT_USER IN DATABASE {name} SET default_transaction_read_only = on"
        ))
        .await;
    scene.proves(&READ_ONLY_IN_DATABASE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_for_all_roles() {
    let cluster = Cluster::start();
    let mut scene = Scene::on(cluster.database().await).await;
    cluster
        .execute(&["ALTER ROLE ALL SET default_transaction_read_only = on"])
        .await;
    scene.proves(&READ_ONLY_FOR_ALL).await;
}

#[tokio::test]
async fn libraries_that_are_missing() {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let role = with_role(&mut scene, "", &grants).await;
    scene
        .sql(&format!(
            "ALTER ROLE {role} SET session_preload_libraries = 'no_such_library'"
        ))
        .await;
    scene.proves(&MISSING_LIBRARY).await;
    let name = scene.database.as_ref().unwrap().name.clone();
    scene
        .sql(&format!(
            "ALTER DATABASE {name} SET local_preload_libraries = 'no_such_library'"
        ))
        .await;
    scene.proves(&MISSING_LIBRARY_OF_DATABASE).await;
    drop_role_of(&mut scene, &role).await;
}

#[tokio::test]
async fn an_invalid_database() {
    let mut scene = Scene::postgres().await;
    let database = scene.database.as_ref().unwrap();
    let limit = |limit| {
        format!(
            "UPDATE pg_database SET datconnlimit = {limit} WHERE datname = '{}'",
            database.name
        )
    };
    database.administer(&limit(-2)).await;
    let repair = limit(-1);
    scene.proves(&INVALID_DATABASE).await;
    scene.database.as_ref().unwrap().administer(&repair).await;
    scene.proves_gone(&INVALID_DATABASE);
}

#[tokio::test]
async fn settings_of_execution() {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let role = with_role(&mut scene, "", &grants).await;
    let name = scene.database.as_ref().unwrap().name.clone();
    scene
        .sql(&format!("ALTER ROLE {role} SET enable_indexscan = off"))
        .await;
    scene.proves(&NO_INDEXES).await;
    scene
        .sql(&format!(
            "ALTER DATABASE {name} SET default_transaction_isolation = serializable"
        ))
        .await;
    scene.proves(&SERIALIZABLE).await;
    scene
        .sql(&format!(
            "ALTER ROLE {role} SET jit = on; ALTER ROLE {role} SET jit_above_cost = 0;
             ALTER DATABASE {name} SET jit_optimize_above_cost = 0;
             ALTER ROLE {role} SET random_page_cost = 1000;
             ALTER DATABASE {name} SET deadlock_timeout = '1min'"
        ))
        .await;
    scene.proves(&COMPILED).await;
    // A tablespace of the system's.
    scene
        .sql(&format!(
            "ALTER ROLE {role} SET default_tablespace = 'pg_global'"
        ))
        .await;
    scene.proves(&CLOSED_TABLESPACE).await;
    scene
        .sql(&format!("ALTER ROLE {role} SET search_path = pg_catalog"))
        .await;
    scene.proves(&SYSTEM_PATH).await;
    drop_role_of(&mut scene, &role).await;
}

/// Settings that only change how values are shown make no difference.
#[tokio::test]
async fn settings_of_form() {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let role = with_role(&mut scene, "", &grants).await;
    for setting in [
        "bytea_output = escape",
        "IntervalStyle = sql_standard",
        "extra_float_digits = -15",
        "DateStyle = 'German, DMY'",
        "TimeZone = 'Asia/Tokyo'",
        "client_encoding = LATIN1",
        "standard_conforming_strings = off",
        "default_transaction_isolation = serializable",
    ] {
        scene.sql(&format!("ALTER ROLE {role} SET {setting}")).await;
    }
    for check in ["database.migrations", "database.trial"] {
        scene.doctor(check).says(check, "pass", "");
    }
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    drop_role_of(&mut scene, &role).await;
}

#[tokio::test]
async fn policies_and_settings() {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let role = with_role(&mut scene, "", &grants).await;
    scene
        .sql(&format!(
            "ALTER TABLE notifications ENABLE ROW LEVEL SECURITY;
             CREATE POLICY open ON notifications USING (true) WITH CHECK (true);
             ALTER ROLE {role} SET row_security = off"
        ))
        .await;
    let report = scene.doctor("database.trial");
    report.says("database.trial", "fail", "RESET row_security");
    scene.proves(&ROW_SECURITY_OFF).await;
    scene.start();
    scene
        .sql(
            "ALTER TABLE tasks ENABLE ROW LEVEL SECURITY;
             CREATE POLICY open ON tasks USING (true) WITH CHECK (true);
             CREATE POLICY narrow ON tasks AS RESTRICTIVE FOR SELECT USING (user_id <> 'me')",
        )
        .await;
    scene.proves(&RESTRICTIVE_POLICY).await;
    drop_role_of(&mut scene, &role).await;
}

#[tokio::test]
async fn a_schema_that_only_others_may_use() {
    let mut scene = Scene::postgres().await;
    let grants = [TABLES, SEQUENCES].join("; ");
    let role = with_role(&mut scene, "", &grants).await;
    let base = scene.start_at_its_port();
    scene.sql("REVOKE ALL ON SCHEMA public FROM PUBLIC").await;
    assert_eq!(Scene::ask(&base, "GET", "/tasks/"), 503);
    // One cause, one remedy.
    let report = scene.doctor("database.role");
    let remedy = &report.check("database.role")["remedy"];
    let tables = scene.doctor("database.tables");
    assert_eq!(&tables.check("database.tables")["remedy"], remedy);
    let daemon = scene.doctor("daemon.database");
    daemon.says("daemon.database", "skip", "");
    scene.proves(&UNUSABLE_SCHEMA).await;
    scene
        .doctor("database.role")
        .says("database.role", "pass", "");
    drop_role_of(&mut scene, &role).await;
}
