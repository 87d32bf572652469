//! Sequences, collations, and schemas that the names lead to.

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};

faults! {
    SEQUENCE_BEHIND = Fault {
        title: "A sequence is behind the highest id",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        check: "database.sequences",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    SEQUENCE_FULL = Fault {
        title: "A sequence is at its maximum",
        symptom: Symptom::Risk("after four more tasks every create is answered with 500"),
        check: "database.sequences",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    SEQUENCE_FAR = Fault {
        title: "A sequence was moved to the end of its type",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        check: "database.sequences",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    CYCLING_SEQUENCE = Fault {
        title: "A sequence starts again after its maximum",
        symptom: Symptom::Risk("ids repeat"),
        check: "database.sequences",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    BACKWARD_SEQUENCE = Fault {
        title: "A sequence counts backwards",
        symptom: Symptom::Risk("ids repeat"),
        check: "database.sequences",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    LOOSE_SEQUENCE = Fault {
        title: "A sequence does not belong to its column",
        symptom: Symptom::Risk("a copy of the table lacks it"),
        check: "database.sequences",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    CHANGED_COLLATION = Fault {
        title: "Text sorts differently after an upgrade",
        symptom: Symptom::Risk("indexes on text miss rows"),
        check: "database.collation",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    HIDDEN_TABLE = Fault {
        title: "Another schema hides a table",
        symptom: Symptom::Risk("requests are answered with 500 until the daemon is started again"),
        check: "database.tables",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    BORROWED_SEQUENCE = Fault {
        title: "The ids of the tasks come from another table's sequence",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        check: "database.sequences",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    UNSEARCHED_SCHEMA = Fault {
        title: "The tables are in a schema that is not searched",
        symptom: Symptom::Risk("the daemon would create empty tables and serve them"),
        check: "database.tables",
        outcome: "fail",
        after: After::Typed("pass"),
    };

}

#[tokio::test]
async fn sequence_behind() {
    let mut scene = Scene::postgres_after("INSERT INTO tasks (id, user_id, title) SELECT id, 'me', 'copied' FROM generate_series(2, 9) id").await;
    scene.proves(&SEQUENCE_BEHIND).await;
}

#[tokio::test]
async fn borrowed_sequence() {
    let mut scene = Scene::postgres_after(
        "ALTER TABLE tasks ALTER id SET DEFAULT nextval('todoctl_outbox_id_seq')",
    )
    .await;
    scene.proves(&BORROWED_SEQUENCE).await;
}

#[tokio::test]
async fn sequence_full() {
    let mut scene = Scene::postgres_after(
        "ALTER SEQUENCE tasks_id_seq MAXVALUE 100; SELECT setval('tasks_id_seq', 96)",
    )
    .await;
    scene.proves(&SEQUENCE_FULL).await;
}

#[tokio::test]
async fn sequence_far() {
    let mut scene =
        Scene::postgres_after("SELECT setval('tasks_id_seq', 9223372036854775807)").await;
    scene.proves(&SEQUENCE_FAR).await;
}

#[tokio::test]
async fn cycling_sequence() {
    let mut scene = Scene::postgres_after("ALTER SEQUENCE tasks_id_seq CYCLE").await;
    scene.proves(&CYCLING_SEQUENCE).await;
}

#[tokio::test]
async fn backward_sequence() {
    let mut scene = Scene::postgres_after(
        "ALTER SEQUENCE tasks_id_seq INCREMENT BY -1 MINVALUE -100 MAXVALUE 9223372036854775807",
    )
    .await;
    scene.proves(&BACKWARD_SEQUENCE).await;
}

#[tokio::test]
async fn loose_sequence() {
    let mut scene = Scene::postgres_after("ALTER SEQUENCE tasks_id_seq OWNED BY NONE").await;
    scene.proves(&LOOSE_SEQUENCE).await;
}

#[tokio::test]
async fn changed_collation() {
    let mut scene = Scene::postgres_after(r#"ALTER TABLE todoctl_sessions ALTER COLUMN token_hash TYPE text COLLATE "und-x-icu"; UPDATE pg_collation SET collversion = '1' WHERE collname = 'und-x-icu'"#).await;
    scene.proves(&CHANGED_COLLATION).await;
}

#[tokio::test]
async fn hidden_table() {
    let mut scene = Scene::postgres_after("CREATE SCHEMA app; CREATE TABLE app.tasks (id integer); DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = app, public', current_database()); END $$").await;
    scene.proves(&HIDDEN_TABLE).await;
}

#[tokio::test]
async fn unsearched_schema() {
    let mut scene =
        Scene::postgres_after("ALTER SCHEMA public RENAME TO app; CREATE SCHEMA public").await;
    scene.proves(&UNSEARCHED_SCHEMA).await;
}
