//! What others attach to the tables: triggers that need more than the role may do, publications,
//! tables that refer to tasks.

use crate::faults::harness::{Fault, Scene, Symptom, faults};
use crate::faults::servers::{SCHEMA, SEQUENCES, TABLES, drop_role_of, with_role};

const TRIAL: &str = "database.trial";
const REFUSED: Symptom = Symptom::Answer {
    method: "POST",
    path: "/tasks/",
    status: 500,
};

faults! {
    CLOSED_AUDIT = Fault::failing("An audit trigger writes into a schema that the role may not use", REFUSED, TRIAL);
    CLOSED_SEQUENCE = Fault::failing("An audit trigger uses a sequence that the role may not use", REFUSED, TRIAL);
    LONG_PAYLOAD = Fault::failing(
        "A trigger sends each task in a NOTIFY, which takes 8000 bytes",
        Symptom::Risk("tasks with a long description are answered with 500"),
        TRIAL,
    );
    LONG_ENTRIES = Fault::failing(
        "An index on an expression has entries that are too short for long texts",
        Symptom::Risk("tasks with a long description are refused"),
        TRIAL,
    );
    PUBLISHED = Fault::failing(
        "A publication has a condition on a column that is in no key",
        Symptom::Risk("changes of tasks are answered with 500"),
        TRIAL,
    );
    UNINDEXED = Fault::warned_of(
        "A large table of others refers to tasks without an index",
        Symptom::Risk("each deletion of a task takes as long as reading that table"),
        "database.indexes",
    );
    NOT_ITS_OWNER = Fault::failing("A trigger refreshes a materialized view of another role", REFUSED, TRIAL);
}

#[tokio::test]
async fn audits() {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let role = with_role(&mut scene, "", &grants).await;
    scene
        .sql(
            "CREATE SCHEMA audit; CREATE TABLE audit.log (id bigserial, t text, r jsonb);
             CREATE TABLE log (id int);
             CREATE FUNCTION audit.write() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN INSERT INTO audit.log (t, r) VALUES (tg_table_name, to_jsonb(new)); RETURN new; END $$;
             CREATE TRIGGER audit AFTER INSERT OR UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION audit.write()",
        )
        .await;
    // Nobody turns an audit off who pastes the whole report.
    let report = scene.doctor("database.triggers");
    report.says(
        "database.triggers",
        "warn",
        "# unless it is wanted, as for an audit",
    );
    scene.proves(&CLOSED_AUDIT).await;
    scene
        .sql(&format!(
            "REVOKE ALL ON SEQUENCE audit.log_id_seq FROM {role}"
        ))
        .await;
    let report = scene.doctor(TRIAL);
    let remedy = report.check(TRIAL)["remedy"].as_str().unwrap();
    assert_eq!(remedy.lines().count(), 1, "{remedy}");
    scene.proves(&CLOSED_SEQUENCE).await;
    scene
        .sql(
            "CREATE MATERIALIZED VIEW stats AS SELECT count(*) FROM tasks;
             CREATE FUNCTION refresh() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN REFRESH MATERIALIZED VIEW stats; RETURN NULL; END $$;
             CREATE TRIGGER refresh AFTER INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION refresh()",
        )
        .await;
    let report = scene.doctor(TRIAL);
    let detail = report.detail(TRIAL);
    assert!(!detail.contains("migration"), "{detail}");
    scene.proves(&NOT_ITS_OWNER).await;
    drop_role_of(&mut scene, &role).await;
}

#[tokio::test]
async fn limits_of_others() {
    let mut scene = Scene::postgres_after(
        "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM pg_notify('tasks', repeat(new.description, 2)); RETURN new; END $$;
         CREATE TRIGGER tell AFTER INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION tell()",
    )
    .await;
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    scene.proves(&LONG_PAYLOAD).await;
    scene
        .sql("CREATE INDEX joined ON tasks ((title || description))")
        .await;
    scene.proves(&LONG_ENTRIES).await;
    scene
        .sql("CREATE PUBLICATION done FOR TABLE tasks WHERE (completed)")
        .await;
    scene.proves(&PUBLISHED).await;
    scene
        .sql(
            "CREATE TABLE comments (task_id bigint REFERENCES tasks ON DELETE CASCADE);
             INSERT INTO comments SELECT NULL FROM generate_series(1, 20000); ANALYZE comments",
        )
        .await;
    scene.proves(&UNINDEXED).await;
}
