//! The service's functions and types, and who owns them.

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::servers::{SCHEMA, SEQUENCES, TABLES, drop_role_of, with_role};

const fn triggers(title: &'static str, symptom: Symptom) -> Fault {
    Fault::failing(title, symptom, "database.triggers")
}

faults! {
    STABLE_FUNCTION = triggers(
        "A function of the service is STABLE",
        Symptom::Answer { method: "DELETE", path: "/tasks/1", status: 500 },
    );
    FUNCTION_OF_ANOTHER = triggers(
        "A function of the service runs with the rights of another role",
        Symptom::Risk("it does what that role may do"),
    );
    SLOW_FUNCTION = triggers(
        "A function of the service has a setting",
        Symptom::Risk("its statements run with that setting"),
    );
    TYPE_OF_ANOTHER = Fault {
        title: "The type of the priorities belongs to another role and lacks a label",
        symptom: Symptom::Risk("tasks with this priority are answered with 500"),
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    HIDDEN_TYPE = Fault {
        title: "Another schema's type hides the type of the priorities",
        symptom: Symptom::Risk("new tasks are answered with 500 until the daemon is started again"),
        check: "database.tables",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    DEFERRED_TRIGGER = Fault {
        title: "A deferred trigger refuses every task when it is committed",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        check: "database.trial",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    DEFERRED_TRIGGER_OF_NOTIFICATIONS = Fault {
        title: "A deferred trigger refuses the end of a reminder",
        symptom: Symptom::Risk("no user is reminded of a task"),
        check: "database.trial",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    DEFERRED_KEY = Fault {
        title: "A deferred foreign key to another table refuses every task",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 409 },
        check: "database.trial",
        outcome: "fail",
        after: After::Typed("pass"),
    };
}

/// A scene whose role owns the tables, as one that has migrated does, and another role.
async fn with_owner() -> (Scene, String, String) {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let role = with_role(&mut scene, "", &grants).await;
    let other = format!("{role}_other");
    scene
        .sql(&format!(
            "CREATE ROLE {other};
             DO $$ DECLARE one record; BEGIN
                 FOR one IN SELECT format('TABLE %I', relname) AS name FROM pg_class
                            WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
                            UNION ALL
                            SELECT format('FUNCTION %I()', proname) FROM pg_proc
                            WHERE proname IN ('todoctl_count_unread', 'todoctl_forget_folded')
                            UNION ALL SELECT 'TYPE prioritylevel'
                 LOOP EXECUTE format('ALTER %s OWNER TO {role}', one.name); END LOOP; END $$"
        ))
        .await;
    (scene, role, other)
}

async fn drop_roles(scene: &mut Scene, role: &str, other: &str) {
    scene.stop();
    scene
        .sql(&format!("DROP OWNED BY {other}; DROP ROLE {other}"))
        .await;
    drop_role_of(scene, role).await;
}

#[tokio::test]
async fn functions_that_changed() {
    let (mut scene, role, other) = with_owner().await;
    scene
        .sql(
            "INSERT INTO notifications (user_id, task_id, type, message) VALUES ('me', 1, 'due_soon', 'soon');
             ALTER FUNCTION todoctl_count_unread() STABLE",
        )
        .await;
    scene
        .doctor("database.trial")
        .says("database.trial", "fail", "CREATE OR REPLACE FUNCTION");
    assert_eq!(scene.status("DELETE", "/tasks/1"), 500);
    scene
        .sql("INSERT INTO tasks (id, user_id, title) VALUES (99, 'me', 'kept')")
        .await;
    scene.proves(&STABLE_FUNCTION).await;
    scene
        .sql(&format!(
            "ALTER FUNCTION todoctl_forget_folded() SECURITY DEFINER;
             ALTER FUNCTION todoctl_forget_folded() OWNER TO {other}"
        ))
        .await;
    let owners = scene.doctor("database.owners");
    let detail = owners.detail("database.owners");
    assert!(!detail.contains("todoctl_unread"), "{detail}");
    scene.proves(&FUNCTION_OF_ANOTHER).await;
    scene
        .doctor("database.owners")
        .says("database.owners", "pass", "");
    scene
        .sql("ALTER FUNCTION todoctl_count_unread() SET statement_timeout = '1ms'")
        .await;
    scene.proves(&SLOW_FUNCTION).await;
    scene
        .sql(&format!(
            "ALTER TYPE prioritylevel RENAME VALUE 'Urgent' TO 'Critical';
             ALTER TYPE prioritylevel OWNER TO {other}"
        ))
        .await;
    scene.proves(&TYPE_OF_ANOTHER).await;
    drop_roles(&mut scene, &role, &other).await;
}

#[tokio::test]
async fn a_hidden_type() {
    let mut scene = Scene::postgres_after(
        "CREATE SCHEMA app; CREATE TYPE app.prioritylevel AS ENUM ('low', 'high');
         DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = app, public', current_database()); END $$",
    )
    .await;
    scene.proves(&HIDDEN_TYPE).await;
}

#[tokio::test]
async fn what_is_deferred_to_the_commit() {
    let refuse = |table: &str, event: &str| {
        format!(
            "CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'offline'; END $$;
             CREATE CONSTRAINT TRIGGER audit AFTER {event} ON {table} DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION audit()"
        )
    };
    let mut scene = Scene::postgres_after(&refuse("tasks", "INSERT")).await;
    scene.proves(&DEFERRED_TRIGGER).await;
    let mut scene = Scene::postgres_after(&refuse("notifications", "INSERT OR DELETE")).await;
    scene.proves(&DEFERRED_TRIGGER_OF_NOTIFICATIONS).await;
    let mut scene = Scene::postgres_after(
        "CREATE TABLE people (id varchar PRIMARY KEY); INSERT INTO people VALUES ('nobody');
         ALTER TABLE tasks ADD CONSTRAINT people FOREIGN KEY (user_id) REFERENCES people
             DEFERRABLE INITIALLY DEFERRED NOT VALID",
    )
    .await;
    scene.proves(&DEFERRED_KEY).await;
}
