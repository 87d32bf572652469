//! Types of columns that were changed while something uses the columns.

use super::duplicates::{correct, holds};
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};

const SCHEMA: &str = "database.schema";
const REFUSED: Symptom = Symptom::Risk("longer titles are answered with 500");

faults! {
    SHORT_WITH_VIEWS = Fault::failing(
        "Titles are shorter than they may be, and views, a policy, a rule and a trigger use them",
        REFUSED,
        SCHEMA,
    );
    SHORT_WITH_COPY = Fault {
        after: After::Person("only a person knows when its rows may be read anew"),
        ..Fault::failing(
            "Titles are shorter than they may be, and a materialized view uses them",
            REFUSED,
            SCHEMA,
        )
    };
    SMALL_IDS_WITH_VIEW = Fault::failing(
        "Ids of tasks are integers and nearly used up, and a view uses them",
        Symptom::Risk("soon no task can be created"),
        "database.sequences",
    );
    DOMAIN = Fault::failing(
        "A domain has the name of the type of the priorities",
        Symptom::Risk("a later migration fails"),
        SCHEMA,
    );
    TEXT_PRIORITIES = Fault::failing(
        "Priorities are texts, and their type was dropped",
        Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        SCHEMA,
    );
}

const SHORTER: &str = "ALTER TABLE tasks ALTER title TYPE varchar(60)";

/// What uses the titles, without one word of how they are stored.
const AS_IT_IS: &str = "
    SELECT string_agg(definition, ' ' ORDER BY definition) AS whole FROM (
        SELECT concat_ws(' ', relname, reloptions, relacl, replace(pg_get_viewdef(oid), '::text', '')) AS definition
        FROM pg_class WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace
        UNION ALL SELECT pg_get_ruledef(oid) FROM pg_rewrite WHERE rulename = 'quiet'
        UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'watch'
        UNION ALL SELECT concat_ws(' ', polpermissive, polcmd, polroles, pg_get_expr(polqual, polrelid),
                                   pg_get_expr(polwithcheck, polrelid)) FROM pg_policy
    ) AS one";

#[tokio::test]
async fn what_uses_a_column_is_made_again() {
    let mut scene = Scene::postgres_after(&format!(
        "{SHORTER};
         CREATE VIEW report WITH (security_barrier = true) AS SELECT id, title, 'it''s one' AS note FROM tasks;
         CREATE VIEW \"Top report\" AS SELECT title FROM report WHERE id < 10;
         GRANT SELECT ON report TO PUBLIC;
         CREATE POLICY titled ON tasks AS RESTRICTIVE FOR UPDATE TO PUBLIC USING (title <> '') WITH CHECK (title <> 'x');
         CREATE RULE quiet AS ON UPDATE TO tasks WHERE new.title = 'never' DO ALSO NOTHING;
         CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
         CREATE TRIGGER watch AFTER UPDATE OF title ON tasks FOR EACH ROW EXECUTE FUNCTION watch();
         CREATE TABLE before AS {AS_IT_IS}"
    ))
    .await;
    scene.proves(&SHORT_WITH_VIEWS).await;
    let is_same = format!("(SELECT b.whole = n.whole FROM before b, ({AS_IT_IS}) n)");
    holds(&scene, &is_same).await;
}

/// Views of this kind are named, and the command is for after they were dropped.
#[tokio::test]
async fn what_cannot_be_made_again_is_named() {
    let mut scene = Scene::postgres_after(&format!(
        "{SHORTER};
         CREATE VIEW report AS SELECT title FROM tasks;
         CREATE MATERIALIZED VIEW copied AS SELECT title FROM report"
    ))
    .await;
    let report = scene.doctor(SCHEMA);
    report.says(SCHEMA, "fail", "the materialized view public.copied");
    scene.proves(&SHORT_WITH_COPY).await;
    scene
        .sql("DROP VIEW report CASCADE; ALTER TABLE tasks ALTER title TYPE varchar(200)")
        .await;
    scene.proves_gone(&SHORT_WITH_COPY);
    // A literal that would not be the same in one line.
    scene
        .sql(&format!(
            "{SHORTER}; CREATE VIEW odd AS SELECT title || 'two  blanks' AS odd FROM tasks"
        ))
        .await;
    let report = scene.doctor(SCHEMA);
    report.says(
        SCHEMA,
        "fail",
        "# drop what uses tasks.title (the view public.odd)",
    );
}

#[tokio::test]
async fn small_ids() {
    let mut scene = Scene::postgres_after(
        "ALTER TABLE tasks ALTER id TYPE integer; ALTER SEQUENCE tasks_id_seq AS integer;
         SELECT setval('tasks_id_seq', 2147480000);
         CREATE VIEW ids AS SELECT id FROM tasks",
    )
    .await;
    scene.proves(&SMALL_IDS_WITH_VIEW).await;
    holds(&scene, "to_regclass('ids') IS NOT NULL").await;
}

#[tokio::test]
async fn types_in_place_of_the_priorities() {
    let mut scene = Scene::postgres_after(
        "ALTER TYPE prioritylevel RENAME TO prioritylevel_old;
         CREATE DOMAIN prioritylevel AS text CHECK (value IN ('Low', 'Medium', 'High', 'Urgent'));
         ALTER TABLE tasks ALTER priority DROP DEFAULT, ALTER priority TYPE prioritylevel USING priority::text,
             ALTER priority SET DEFAULT 'Medium';
         CREATE VIEW urgent AS SELECT id FROM tasks WHERE priority = 'Urgent'",
    )
    .await;
    scene.proves(&DOMAIN).await;

    let mut scene = Scene::postgres_after(
        "ALTER TABLE tasks ALTER priority DROP DEFAULT, ALTER priority TYPE text;
         DROP TYPE prioritylevel",
    )
    .await;
    scene.proves(&TEXT_PRIORITIES).await;
}

/// Values that todoctl does not know are kept beside the tasks.
#[tokio::test]
async fn priorities_of_others() {
    let scene = Scene::postgres_after("ALTER TYPE prioritylevel ADD VALUE 'Critical'").await;
    let report = scene.doctor(SCHEMA);
    assert!(report.detail(SCHEMA).contains("no task has one"));
    scene
        .sql("UPDATE tasks SET priority = 'Critical'; CREATE TABLE jobs (priority prioritylevel)")
        .await;
    let report = scene.doctor(SCHEMA);
    let detail = report.detail(SCHEMA);
    assert!(detail.contains("are shown as Medium"), "{detail}");
    let said = correct(&scene, SCHEMA);
    assert!(said.contains("prioritylevel_replaced stays"), "{said}");
    holds(&scene, "(SELECT priority = 'Medium' FROM tasks)").await;
    let kept = "(SELECT array_agg(task_id || ' ' || priority) = ARRAY['1 Critical'] FROM set_aside_priorities)";
    holds(&scene, kept).await;
}

/// Those of a text, in whatever spelling.
#[tokio::test]
async fn texts_that_are_no_priorities() {
    let scene = Scene::postgres_after(
        "ALTER TABLE tasks ALTER priority DROP DEFAULT, ALTER priority TYPE text;
         INSERT INTO tasks (user_id, title, priority) VALUES ('me', 'two', 'high'), ('me', 'three', 'P1')",
    )
    .await;
    correct(&scene, SCHEMA);
    holds(
        &scene,
        "(SELECT array_agg(priority::text ORDER BY id) = '{Medium,High,Medium}' FROM tasks)",
    )
    .await;
    holds(
        &scene,
        "(SELECT array_agg(priority) = '{P1}' FROM set_aside_priorities)",
    )
    .await;
}
