//! What is evaluated, and what is read, for each row although no migration says so.

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};

const TRIGGERS: &str = "database.triggers";
const SCHEMA: &str = "database.schema";
const SOME_REFUSED: Symptom = Symptom::Risk("some tasks are refused, and answered with 500 or 503");

faults! {
    FAILING_INDEX = Fault::failing(
        "An index is on an expression that fails for every new row",
        Symptom::Answer { method: "POST", path: "/tasks/", status: 503 },
        "database.trial",
    );
    RISKY_INDEX = Fault::warned_of(
        "An index is on an expression that fails for some titles",
        SOME_REFUSED,
        TRIGGERS,
    );
    CASTING_INDEX = Fault::warned_of("An index is on titles that are taken for numbers", SOME_REFUSED, TRIGGERS);
    FAILING_DEFAULT = Fault::failing(
        "The default of an added column fails",
        Symptom::Risk("no user is reminded of a task"),
        "database.trial",
    );
    FAILING_COLUMN = Fault::failing(
        "An added column is computed from an expression that fails",
        Symptom::Answer { method: "POST", path: "/tasks/", status: 503 },
        "database.trial",
    );
    COPIED_CHILD = Fault::failing(
        "A child table has copies of tasks",
        Symptom::Risk("tasks are served twice"),
        SCHEMA,
    );
    EMPTY_CHILD = Fault::warned_of(
        "A child table inherits from the tasks",
        Symptom::Risk("its rows will be served"),
        SCHEMA,
    );
    FILLED_CHILD = Fault {
        after: After::Person("the rows may be tasks, or not"),
        ..Fault::warned_of(
            "A child table of the tasks has rows of its own",
            Symptom::Risk("its rows are served"),
            SCHEMA,
        )
    };
}

#[tokio::test]
async fn indexes_on_expressions() {
    let mut scene = Scene::postgres_after(
        "CREATE FUNCTION at_odds(text) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT 1 / (length($1) - length($1))';
         CREATE INDEX odd ON tasks (at_odds(title)) WHERE title <> 'one'",
    )
    .await;
    scene.proves(&FAILING_INDEX).await;
    let mut scene =
        Scene::postgres_after("CREATE INDEX odd ON tasks ((1 / (length(title) - 7)))").await;
    scene.proves(&RISKY_INDEX).await;
    scene
        .sql("TRUNCATE tasks CASCADE; CREATE INDEX odd ON tasks ((title::integer))")
        .await;
    scene.proves(&CASTING_INDEX).await;
}

#[tokio::test]
async fn ordinary_expressions_are_accepted() {
    let scene = Scene::postgres_after(
        "CREATE INDEX a ON tasks (lower(title)) WHERE title LIKE '50%/x' AND NOT completed;
         CREATE INDEX b ON tasks ((created_at AT TIME ZONE 'UTC'), left(title || description, 100));
         ALTER TABLE tasks ADD COLUMN seen timestamptz DEFAULT now();
         ALTER TABLE tasks ADD COLUMN tags jsonb NOT NULL DEFAULT '{}';
         ALTER TABLE tasks ADD COLUMN ref uuid NOT NULL DEFAULT gen_random_uuid();
         ALTER TABLE tasks ADD COLUMN tenant text DEFAULT current_setting('app.tenant', true);
         ALTER TABLE tasks ADD COLUMN words tsvector GENERATED ALWAYS AS (to_tsvector('simple', title)) STORED",
    )
    .await;
    scene.doctor(TRIGGERS).says(TRIGGERS, "pass", "");
    scene
        .doctor("database.trial")
        .says("database.trial", "pass", "");
}

#[tokio::test]
async fn columns_with_expressions() {
    let mut scene = Scene::postgres_after(
        "ALTER TABLE todoctl_outbox ADD COLUMN tenant text NOT NULL DEFAULT 'x';
         ALTER TABLE todoctl_outbox ALTER tenant SET DEFAULT current_setting('app.tenant')",
    )
    .await;
    scene.proves(&FAILING_DEFAULT).await;
    let mut scene = Scene::postgres_after(
        "DELETE FROM tasks;
         ALTER TABLE tasks ADD COLUMN part integer GENERATED ALWAYS AS (1 / (length(user_id) - length(user_id))) STORED",
    )
    .await;
    scene.proves(&FAILING_COLUMN).await;
}

#[tokio::test]
async fn child_tables() {
    let mut scene = Scene::postgres_after("CREATE TABLE archive () INHERITS (tasks)").await;
    scene.proves(&EMPTY_CHILD).await;
    scene
        .sql("ALTER TABLE archive INHERIT tasks; INSERT INTO archive SELECT * FROM ONLY tasks")
        .await;
    scene.proves(&COPIED_CHILD).await;
    scene
        .sql("ALTER TABLE archive INHERIT tasks; UPDATE archive SET id = 99")
        .await;
    scene.proves(&FILLED_CHILD).await;
    scene.sql("ALTER TABLE archive NO INHERIT tasks").await;
    scene.proves_gone(&FILLED_CHILD);
}
