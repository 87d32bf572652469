//! Tasks that were all deleted, as by a statement that was meant for another database.

use rstest::rstest;

use crate::faults::fingerprint::sqlite;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::support::Engine;

const CHECK: &str = "database.continuity";

faults! {
    EMPTIED = Fault {
        after: After::Person("a backup has to be restored"),
        ..Fault::warned_of(
            "All tasks were deleted, in production by mistake",
            Symptom::Risk("every list is empty"),
            CHECK,
        )
    };
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_are_all_gone(#[values(Engine::Sqlite, Engine::Postgres)] engine: Engine) {
    let (mut scene, insert) = match engine {
        Engine::Sqlite => (
            Scene::sqlite().await,
            "INSERT INTO tasks (user_id, title, title_folded, created_at, updated_at)
             WITH RECURSIVE one (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM one LIMIT 30)
             SELECT 'me', 'one', 'one', 1, 1 FROM one",
        ),
        Engine::Postgres => (
            Scene::postgres().await,
            "INSERT INTO tasks (user_id, title, created_at, updated_at)
             SELECT 'me', 'one', now(), now() FROM generate_series(1, 30)",
        ),
    };
    execute(&scene, insert).await;
    scene.start();
    // A few are left, or deleted on purpose.
    execute(&scene, "DELETE FROM tasks WHERE id > 5").await;
    scene.doctor(CHECK).says(CHECK, "pass", "");
    execute(&scene, "DELETE FROM tasks").await;
    // Neither an end nor a start forgets it.
    scene.end();
    scene.proves(&EMPTIED).await;
    scene.start();
    assert!(scene.has_logged("nearly all tasks of the database are gone"));
    scene.end();
    let report = scene.doctor(CHECK);
    let detail = report.detail(CHECK);
    assert!(
        detail.starts_with("this database had 31 tasks when the daemon last counted them at 20"),
        "{detail}"
    );
    report.says(CHECK, "warn", ".env-database");
    execute(&scene, insert).await;
    scene.proves_gone(&EMPTIED);
}

async fn execute(scene: &Scene, statement: &str) {
    match &scene.database {
        Some(_) => scene.sql(statement).await,
        None => sqlite(&scene.file(), statement).await,
    }
}
