//! What keeps the daemon from the index for searches, and what tools leave on its tables.

use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use super::duplicates::{correct, holds};
use crate::faults::harness::{Fault, Scene, Symptom, faults};
use crate::faults::servers::{SCHEMA, SEQUENCES, TABLES, drop_role_of, with_role};

const SEARCH: &str = "database.search";
const TRIGGERS: &str = "database.triggers";
const SLOW: Symptom = Symptom::Risk("each search reads all tasks of its user");

faults! {
    FROZEN = Fault::warned_of("An event trigger refuses the index for searches", SLOW, SEARCH);
    CLOSED_TO_INDEXES = Fault::warned_of(
        "The role owns the tables, and may not create an index in their schema",
        SLOW,
        SEARCH,
    );
    CLOSED_EXTENSION = Fault::warned_of(
        "The role may not use the schema with the extension pg_trgm",
        SLOW,
        SEARCH,
    );
    NAMELESS = Fault::failing(
        "A trigger of tsvector_update_trigger names a column that is not there",
        Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        "database.trial",
    );
    BROKEN_OFF = Fault::failing(
        "A run of pg_repack was broken off, and its trigger is left",
        Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        "database.trial",
    );
}

#[tokio::test]
async fn a_frozen_schema() {
    let mut scene = Scene::postgres_after(
        "CREATE EXTENSION IF NOT EXISTS pg_trgm; DROP INDEX IF EXISTS tasks_search_idx",
    )
    .await;
    scene.doctor(SEARCH).says(SEARCH, "pass", "");
    scene
        .sql(
            "CREATE FUNCTION frozen() RETURNS event_trigger LANGUAGE plpgsql
                 AS $$ BEGIN RAISE EXCEPTION 'changes are frozen'; END $$;
             CREATE EVENT TRIGGER frozen ON ddl_command_start EXECUTE FUNCTION frozen()",
        )
        .await;
    let report = scene.doctor(SEARCH);
    let detail = report.detail(SEARCH);
    assert!(detail.contains("frozen() line 1 at RAISE"), "{detail}");
    scene.proves(&FROZEN).await;
    // It is in force as before.
    holds(
        &scene,
        "EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'frozen' AND evtenabled = 'O')",
    )
    .await;
    // One for other statements keeps nobody out.
    scene
        .sql(
            "ALTER EVENT TRIGGER frozen DISABLE; DROP INDEX tasks_search_idx;
             DROP EVENT TRIGGER frozen;
             CREATE EVENT TRIGGER frozen ON ddl_command_start WHEN TAG IN ('CREATE TABLE', 'DROP TABLE')
                 EXECUTE FUNCTION frozen()",
        )
        .await;
    scene.doctor(SEARCH).says(SEARCH, "pass", "");
    scene
        .sql(
            "DROP EVENT TRIGGER frozen; DROP EXTENSION pg_trgm;
             CREATE EVENT TRIGGER frozen ON ddl_command_start WHEN TAG IN ('CREATE EXTENSION')
                 EXECUTE FUNCTION frozen()",
        )
        .await;
    correct(&scene, SEARCH);
}

#[tokio::test]
async fn rights_that_an_index_needs() {
    let mut scene = Scene::postgres_after(
        "CREATE SCHEMA extra; CREATE EXTENSION IF NOT EXISTS pg_trgm; ALTER EXTENSION pg_trgm SET SCHEMA extra;
         DROP INDEX IF EXISTS tasks_search_idx",
    )
    .await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let name = with_role(&mut scene, "", &grants).await;
    scene
        .sql(&format!("ALTER TABLE tasks OWNER TO {name}"))
        .await;
    scene.proves(&CLOSED_EXTENSION).await;
    scene
        .sql(&format!(
            "REVOKE CREATE ON SCHEMA public FROM {name}; REVOKE CREATE ON SCHEMA public FROM PUBLIC"
        ))
        .await;
    scene.proves(&CLOSED_TO_INDEXES).await;
    scene.sql("ALTER TABLE tasks OWNER TO CURRENT_USER").await;
    drop_role_of(&mut scene, &name).await;
}

#[tokio::test]
async fn a_run_of_pg_repack() {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let name = with_role(&mut scene, "", &grants).await;
    scene
        .sql(
            "CREATE SCHEMA repack; CREATE TABLE repack.log_1 (id bigserial PRIMARY KEY, pk bigint);
             CREATE FUNCTION repack.repack_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN INSERT INTO repack.log_1 (pk) VALUES (coalesce(new.id, old.id)); RETURN NULL; END $$;
             CREATE TRIGGER repack_trigger AFTER INSERT OR DELETE OR UPDATE ON tasks
                 FOR EACH ROW EXECUTE FUNCTION repack.repack_trigger()",
        )
        .await;
    scene
        .doctor(TRIGGERS)
        .says(TRIGGERS, "warn", "DROP TRIGGER");
    // While it works, its trigger is needed.
    let own = &scene.database.as_ref().unwrap().url;
    let options = PgConnectOptions::from_str(own).unwrap();
    let options = options.application_name("pg_repack");
    let at_work = PgConnection::connect_with(&options).await.unwrap();
    scene.doctor(TRIGGERS).says(TRIGGERS, "pass", "");
    at_work.close().await.unwrap();
    scene.proves(&BROKEN_OFF).await;
    scene.doctor(TRIGGERS).says(TRIGGERS, "pass", "");
    drop_role_of(&mut scene, &name).await;
}

/// A function that is no text does not name itself in its errors.
#[tokio::test]
async fn a_trigger_for_a_column_that_is_gone() {
    let mut scene = Scene::postgres_after(
        "ALTER TABLE tasks ADD COLUMN words tsvector;
         CREATE TRIGGER words BEFORE INSERT OR UPDATE ON tasks FOR EACH ROW
             EXECUTE FUNCTION tsvector_update_trigger(words, 'pg_catalog.english', title, body)",
    )
    .await;
    scene.proves(&NAMELESS).await;
}
