//! Indexes and triggers: lost, damaged, or added by others.

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};

faults! {
    INVALID_INDEX = Fault {
        title: "An index is invalid",
        symptom: Symptom::Risk("lists read the whole table"),
        check: "database.indexes",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    MISSING_INDEX = Fault {
        title: "An index was dropped",
        symptom: Symptom::Risk("lists read the whole table"),
        check: "database.indexes",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    LOST_UNIQUE = Fault {
        title: "A unique index is not unique any more",
        symptom: Symptom::Risk("a task is notified of several times, or no notification is saved"),
        check: "database.indexes",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FOREIGN_UNIQUE_INDEX = Fault {
        title: "A unique index was added",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 409 },
        check: "database.indexes",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    REPEATED_UNIQUE_INDEX = Fault {
        title: "A unique index repeats one of todoctl",
        symptom: Symptom::Risk("every change maintains both"),
        check: "database.indexes",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    LONG_TEXT_INDEX = Fault {
        title: "An index was added whose entries are too short for long texts",
        symptom: Symptom::Risk("tasks with a long description are refused"),
        check: "database.indexes",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    LEFT_INDEX = Fault {
        title: "A failed CREATE INDEX CONCURRENTLY left its index",
        symptom: Symptom::Risk("every change maintains an index that no query uses"),
        check: "database.indexes",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    DISABLED_TRIGGER = Fault {
        title: "A trigger of todoctl is disabled",
        symptom: Symptom::Risk("unread notifications are counted wrongly"),
        check: "database.triggers",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    DROPPED_TRIGGER = Fault {
        title: "A trigger of todoctl was dropped",
        symptom: Symptom::Risk("unread notifications are counted wrongly"),
        check: "database.triggers",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    CHANGED_FUNCTION = Fault {
        title: "The function of the triggers was changed",
        symptom: Symptom::Risk("unread notifications are counted wrongly"),
        check: "database.triggers",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    UNSAFE_FUNCTION = Fault {
        title: "The function of the triggers lost its search path",
        symptom: Symptom::Risk("a role that may create temporary tables redirects what is counted"),
        check: "database.triggers",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    DISABLED_KEYS = Fault {
        title: "The triggers of foreign keys are disabled",
        symptom: Symptom::Risk("notifications of deleted tasks stay"),
        check: "database.triggers",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    REPLICA_ROLE = Fault {
        title: "Sessions work as a replica",
        symptom: Symptom::Risk("no trigger and no foreign key works"),
        check: "database.triggers",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    SWALLOWING_RULE = Fault {
        title: "A rule suppresses inserts",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        check: "database.triggers",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    SWALLOWING_TRIGGER = Fault {
        title: "A trigger of others suppresses inserts",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        check: "database.triggers",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    RAISING_TRIGGER = Fault {
        title: "A trigger of others refuses inserts",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        check: "database.triggers",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    EVENT_TRIGGER = Fault {
        title: "An event trigger refuses changes of the schema",
        symptom: Symptom::Risk("the next migration fails"),
        check: "database.triggers",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    CHANGED_FOLDING = Fault {
        title: "The function that marks changed texts was changed",
        symptom: Symptom::Risk("searches find changed tasks by their old texts"),
        check: "database.triggers",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    DISABLED_FOLDING = Fault {
        title: "The trigger that marks changed texts is disabled",
        symptom: Symptom::Risk("searches find changed tasks by their old texts"),
        check: "database.triggers",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    DROPPED_FUNCTION = Fault {
        title: "The functions of the triggers were dropped",
        symptom: Symptom::Risk("unread notifications are counted wrongly"),
        check: "database.triggers",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    RENAMED_TRIGGER = Fault {
        title: "A trigger of todoctl was renamed",
        symptom: Symptom::Risk("a later migration fails"),
        check: "database.triggers",
        outcome: "warn",
        after: After::Typed("pass"),
    };
}

#[tokio::test]
async fn invalid_index() {
    let mut scene = Scene::postgres_after("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'tasks_user_newest_idx'::regclass").await;
    scene.proves(&INVALID_INDEX).await;
}

#[tokio::test]
async fn missing_index() {
    let mut scene = Scene::postgres_after("DROP INDEX tasks_user_newest_idx").await;
    scene.proves(&MISSING_INDEX).await;
}

#[tokio::test]
async fn lost_unique() {
    let mut scene = Scene::postgres_after("DROP INDEX notifications_dedup_idx; CREATE INDEX notifications_dedup_idx ON notifications (task_id, type, dedup_key)").await;
    scene.proves(&LOST_UNIQUE).await;
}

#[tokio::test]
async fn foreign_unique_index() {
    let mut scene =
        Scene::postgres_after("CREATE UNIQUE INDEX one_task_each ON tasks (user_id)").await;
    scene.proves(&FOREIGN_UNIQUE_INDEX).await;
    scene
        .sql(
            "CREATE UNIQUE INDEX again ON notifications (task_id, type, dedup_key);
             CREATE UNIQUE INDEX keys_again ON user_api_keys (user_id, provider)",
        )
        .await;
    let report = scene.doctor("database.indexes");
    let detail = report.detail("database.indexes");
    assert!(
        detail.contains("repeats notifications_dedup_idx"),
        "{detail}"
    );
    assert!(detail.contains("keys_again"), "{detail}");
    scene.proves(&REPEATED_UNIQUE_INDEX).await;
}

#[tokio::test]
async fn an_index_of_long_texts() {
    let harmless = "CREATE INDEX short ON tasks (user_id, title); CREATE INDEX hashed ON tasks (md5(description))";
    let mut scene = Scene::postgres_after(harmless).await;
    scene
        .doctor("database.indexes")
        .says("database.indexes", "pass", "");
    let index = "CREATE INDEX by_description ON tasks (user_id, description)";
    scene.sql(index).await;
    scene.proves(&LONG_TEXT_INDEX).await;
}

#[tokio::test]
async fn left_index() {
    let mut scene = Scene::postgres_after("CREATE INDEX tasks_title_ccnew ON tasks (title); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'tasks_title_ccnew'::regclass").await;
    scene.proves(&LEFT_INDEX).await;
}

#[tokio::test]
async fn disabled_trigger() {
    let mut scene =
        Scene::postgres_after("ALTER TABLE notifications DISABLE TRIGGER todoctl_unread_added")
            .await;
    scene.proves(&DISABLED_TRIGGER).await;
}

#[tokio::test]
async fn dropped_trigger() {
    let mut scene =
        Scene::postgres_after("DROP TRIGGER todoctl_unread_changed ON notifications").await;
    scene.proves(&DROPPED_TRIGGER).await;
}

#[tokio::test]
async fn changed_function() {
    let mut scene = Scene::postgres_after("CREATE OR REPLACE FUNCTION todoctl_count_unread() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$").await;
    scene.proves(&CHANGED_FUNCTION).await;
}

#[tokio::test]
async fn unsafe_function() {
    let mut scene =
        Scene::postgres_after("ALTER FUNCTION todoctl_count_unread() RESET search_path").await;
    scene.proves(&UNSAFE_FUNCTION).await;
}

#[tokio::test]
async fn disabled_keys() {
    let mut scene = Scene::postgres_after("ALTER TABLE tasks DISABLE TRIGGER ALL").await;
    // One fault, named once.
    scene
        .doctor("database.schema")
        .says("database.schema", "pass", "");
    scene.proves(&DISABLED_KEYS).await;
}

#[tokio::test]
async fn replica_role() {
    let mut scene = Scene::postgres_after("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET session_replication_role = replica', current_database()); END $$").await;
    scene.proves(&REPLICA_ROLE).await;
}

#[tokio::test]
async fn swallowing_rule() {
    let mut scene =
        Scene::postgres_after("CREATE RULE nothing AS ON INSERT TO tasks DO INSTEAD NOTHING").await;
    scene.proves(&SWALLOWING_RULE).await;
}

#[tokio::test]
async fn swallowing_trigger() {
    let mut scene = Scene::postgres_after("CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; CREATE TRIGGER swallow BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION swallow()").await;
    scene.proves(&SWALLOWING_TRIGGER).await;
}

#[tokio::test]
async fn raising_trigger() {
    let mut scene = Scene::postgres_after("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'frozen'; END $$; CREATE TRIGGER refuse BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION refuse()").await;
    scene.proves(&RAISING_TRIGGER).await;
}

#[tokio::test]
async fn event_trigger() {
    let mut scene = Scene::postgres_after("CREATE FUNCTION frozen() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'frozen'; END $$; CREATE EVENT TRIGGER frozen ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION frozen()").await;
    scene.proves(&EVENT_TRIGGER).await;
}

/// Texts that changed meanwhile are folded again.
#[tokio::test]
async fn folding() {
    const CHANGE: &str = "UPDATE tasks SET search_title = 'one'; UPDATE tasks SET title = 'two'";
    const FORGOTTEN: &str = "DO $$ BEGIN IF EXISTS (SELECT FROM tasks WHERE search_title = 'one') THEN RAISE 'stale'; END IF; END $$";
    let function = "CREATE OR REPLACE FUNCTION todoctl_forget_folded() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$";
    let mut scene = Scene::postgres_after(&format!("{function}; {CHANGE}")).await;
    scene.proves(&CHANGED_FOLDING).await;
    scene.sql(FORGOTTEN).await;

    let disable = "ALTER TABLE tasks DISABLE TRIGGER todoctl_folded_outdated";
    let mut scene = Scene::postgres_after(&format!("{disable}; {CHANGE}")).await;
    scene.proves(&DISABLED_FOLDING).await;
    scene.sql(FORGOTTEN).await;
}

#[tokio::test]
async fn lost_functions() {
    let mut scene =
        Scene::postgres_after("DROP FUNCTION todoctl_forget_folded, todoctl_count_unread CASCADE")
            .await;
    scene.proves(&DROPPED_FUNCTION).await;
    let rename = "ALTER TRIGGER todoctl_unread_added ON notifications RENAME TO counting";
    let mut scene = Scene::postgres_after(rename).await;
    scene.proves(&RENAMED_TRIGGER).await;
}
