//! Keys that were dropped, and rows that share one since.

use crate::faults::fingerprint::Fingerprint;
use crate::faults::harness::{Fault, Scene, Symptom, faults};

const SCHEMA: &str = "database.schema";

faults! {
    UNREAD_TWICE = Fault::failing(
        "Counts of unread notifications are there twice, and their primary key is gone",
        Symptom::Answer { method: "DELETE", path: "/tasks/1", status: 500 },
        SCHEMA,
    );
    KEYS_TWICE = Fault::failing(
        "The unique key of provider keys is gone",
        Symptom::Risk("provider keys cannot be saved"),
        SCHEMA,
    );
    REMINDERS_TWICE = Fault::failing(
        "The unique index of reminders is gone",
        Symptom::Risk("no user is reminded of a task"),
        "database.indexes",
    );
    IDS_WITHOUT_KEY = Fault::failing(
        "The primary key of the tasks is gone",
        Symptom::Risk("ids may be there twice"),
        SCHEMA,
    );
}

/// Types the remedy of `check`, twice; what it says the first time.
pub fn correct(scene: &Scene, check: &str) -> String {
    let report = scene.doctor(check);
    let remedy = report.check(check)["remedy"].as_str().unwrap();
    let said = [(), ()].map(|()| {
        let typed = scene.type_in(remedy);
        let said = String::from_utf8_lossy(&typed.stderr).into_owned();
        assert!(typed.status.success(), "{remedy}\n{said}");
        scene.doctor(check).says(check, "pass", "");
        said
    });
    said[0].clone()
}

/// Fails unless the question is answered with true.
pub async fn holds(scene: &Scene, question: &str) {
    let check =
        format!("DO $$ BEGIN IF NOT ({question}) THEN RAISE 'it does not hold'; END IF; END $$");
    scene.sql(&check).await;
}

#[tokio::test]
async fn ids_that_are_there_twice() {
    let mut scene = Scene::postgres().await;
    scene
        .sql("ALTER TABLE tasks DROP CONSTRAINT tasks_pkey CASCADE")
        .await;
    scene.proves(&IDS_WITHOUT_KEY).await;
    scene
        .sql(
            "ALTER TABLE tasks DROP CONSTRAINT tasks_pkey CASCADE;
             INSERT INTO notifications (user_id, task_id, type, message) VALUES ('me', 1, 'due_soon', 'soon');
             SELECT setval('tasks_id_seq', 40);
             INSERT INTO tasks (id, user_id, title, created_at)
                 VALUES (1, 'me', 'copy', now() + interval '1 s'), (1, 'you', 'copy', now() + interval '2 s');
             ALTER TABLE notifications DROP CONSTRAINT notifications_pkey CASCADE;
             INSERT INTO notifications (id, user_id, task_id, type, message) SELECT id, user_id, task_id, 'overdue', 'copy' FROM notifications",
        )
        .await;
    let said = correct(&scene, SCHEMA);
    assert!(said.contains("tasks: a copy of 1 is now 42"), "{said}");
    assert!(said.contains("tasks: a copy of 1 is now 43"), "{said}");
    holds(
        &scene,
        "(SELECT count(*) = 3 AND count(DISTINCT id) = 3 FROM tasks)",
    )
    .await;
    holds(&scene, "(SELECT title = 'one' FROM tasks WHERE id = 1)").await;
    holds(
        &scene,
        "(SELECT count(DISTINCT id) = 2 AND bool_and(task_id = 1) FROM notifications)",
    )
    .await;
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    assert_eq!(scene.status("DELETE", "/tasks/42"), 204);
}

#[tokio::test]
async fn counts_that_are_there_twice() {
    let mut scene = Scene::postgres_after(
        "INSERT INTO notifications (user_id, task_id, type, message) VALUES ('me', 1, 'due_soon', 'soon');
         ALTER TABLE todoctl_unread DROP CONSTRAINT todoctl_unread_pkey;
         INSERT INTO todoctl_unread SELECT * FROM todoctl_unread",
    )
    .await;
    assert_eq!(scene.status("DELETE", "/tasks/1"), 500);
    scene.proves(&UNREAD_TWICE).await;
    holds(
        &scene,
        "(SELECT count(*) = 0 FROM todoctl_unread WHERE unread <> 0)",
    )
    .await;
    scene
        .doctor("database.unread")
        .says("database.unread", "pass", "");
}

#[tokio::test]
async fn keys_that_are_there_twice() {
    let drop = "ALTER TABLE user_api_keys DROP CONSTRAINT user_api_keys_user_id_provider_key;
                ALTER TABLE todoctl_outbox DROP CONSTRAINT todoctl_outbox_idempotency_key_key";
    let mut scene = Scene::postgres_after(drop).await;
    scene.proves(&KEYS_TWICE).await;
    scene
        .sql(&format!(
            "{drop};
             INSERT INTO user_api_keys (user_id, encrypted_key, updated_at) VALUES
                 ('me', 'new', now()), ('me', 'old', now() - interval '1 day');
             INSERT INTO notifications (user_id, task_id, type, message) VALUES ('me', 1, 'due_soon', 'soon');
             INSERT INTO todoctl_outbox (notification_id, user_id, subject, body, idempotency_key, due_at, expires_at, created_at, state)
                 SELECT id, 'me', 's', 'b', 'same', now(), now(), now(), state
                 FROM notifications, unnest(ARRAY['pending', 'sent']) AS state"
        ))
        .await;
    correct(&scene, SCHEMA);
    holds(
        &scene,
        "(SELECT string_agg(encrypted_key, ' ') = 'new' FROM user_api_keys)",
    )
    .await;
    holds(
        &scene,
        "(SELECT string_agg(encrypted_key, ' ') = 'old' FROM set_aside_user_api_keys)",
    )
    .await;
    holds(
        &scene,
        "(SELECT string_agg(state, ' ') = 'sent' FROM todoctl_outbox)",
    )
    .await;
}

#[tokio::test]
async fn reminders_that_are_there_twice() {
    let mut scene = Scene::postgres_after("DROP INDEX notifications_dedup_idx").await;
    scene.proves(&REMINDERS_TWICE).await;
    scene
        .sql(
            "DROP INDEX notifications_dedup_idx;
             INSERT INTO notifications (user_id, task_id, type, message, dedup_key)
                 SELECT 'me', 1, 'due_soon', 'soon', 'k' FROM generate_series(1, 2)",
        )
        .await;
    correct(&scene, "database.indexes");
    holds(
        &scene,
        "(SELECT count(*) = 2 AND count(dedup_key) = 1 FROM notifications)",
    )
    .await;
    let before = Fingerprint::of(&scene).await;
    scene
        .doctor("database.unread")
        .says("database.unread", "pass", "");
    before.is_kept_in(&Fingerprint::of(&scene).await, "reminders");
}
