//! Tables and indexes of PostgreSQL that grow worse.

use std::time::Duration;

use sqlx::Connection as _;

use super::activity::{execute, session};
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::support::{Cluster, eventually};

faults! {
    DEAD_ROWS = Fault {
        title: "Dead rows are not removed, because autovacuum is off for the tasks",
        symptom: Symptom::Risk("the table grows, and queries slow down"),
        check: "database.vacuum",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    KEPT_ROWS = Fault {
        title: "Dead rows are kept for a session that may still read them",
        symptom: Symptom::Risk("the table grows, and VACUUM changes nothing"),
        check: "database.vacuum",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    ODD_OPTIONS = Fault {
        title: "Options of a table let autovacuum never begin",
        symptom: Symptom::Risk("the table grows, and queries slow down"),
        check: "database.vacuum",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    NO_STATISTICS = Fault {
        title: "A filled table has no statistics, as after a restore",
        symptom: Symptom::Risk("queries are planned blindly"),
        check: "database.vacuum",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    BLOAT = Fault {
        title: "A table keeps the space of rows that were deleted",
        symptom: Symptom::Risk("queries read mostly empty pages"),
        check: "database.vacuum",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    REPEATED_INDEX = Fault {
        title: "An index was added that the service has already",
        symptom: Symptom::Risk("every write is slower"),
        check: "database.index_use",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    NO_AUTOVACUUM = Fault {
        title: "Autovacuum is off on the server",
        symptom: Symptom::Risk("tables grow, and transaction ids run out"),
        check: "database.vacuum",
        outcome: "warn",
        after: After::Typed("pass"),
    };
}

/// Inserts tasks.
async fn fill(scene: &Scene, count: u32) {
    scene
        .sql(&format!(
            "INSERT INTO tasks (user_id, title, created_at, updated_at)
             SELECT 'me', 'Task ' || n, now(), now() FROM generate_series(1, {count}) n"
        ))
        .await;
}

/// Changes each task ten times.
async fn leave_dead_rows(scene: &Scene) {
    for _ in 0..10 {
        scene
            .sql("UPDATE tasks SET completed = NOT completed")
            .await;
    }
}

#[tokio::test]
async fn dead_rows() {
    let mut scene = Scene::postgres().await;
    fill(&scene, 2_000).await;
    scene
        .doctor("database.vacuum")
        .says("database.vacuum", "pass", "");
    scene
        .sql("ALTER TABLE tasks SET (autovacuum_enabled = false)")
        .await;
    leave_dead_rows(&scene).await;
    let report = scene.doctor("database.vacuum");
    let detail = report.detail("database.vacuum");
    assert!(
        detail.contains("autovacuum is off for public.tasks"),
        "{detail}"
    );
    assert!(detail.contains("dead rows beside"), "{detail}");
    scene.proves(&DEAD_ROWS).await;
}

/// VACUUM alone, as often as it is typed, would change nothing.
#[tokio::test]
async fn rows_that_are_kept() {
    let mut scene = Scene::postgres().await;
    scene
        .sql("ALTER TABLE tasks SET (autovacuum_vacuum_threshold = 2000000000, toast.autovacuum_enabled = off)")
        .await;
    fill(&scene, 2_000).await;
    let url = scene.database.as_ref().unwrap().url.clone();
    let mut reader = session(&url, "report").await;
    execute(
        &mut reader,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM tasks",
    )
    .await;
    leave_dead_rows(&scene).await;
    let report = scene.doctor("database.vacuum");
    let detail = report.detail("database.vacuum");
    assert!(detail.contains("autovacuum_vacuum_threshold"), "{detail}");
    assert!(detail.contains("dead rows beside"), "{detail}");
    assert!(!detail.contains("kept for"), "{detail}");
    scene.sql("VACUUM tasks").await;
    let report = scene.doctor("database.vacuum");
    let detail = report.detail("database.vacuum");
    assert!(detail.contains("kept for pid"), "{detail}");
    assert!(detail.contains("(report, role postgres"), "{detail}");
    scene.proves(&KEPT_ROWS).await;
    scene
        .sql("ALTER TABLE tasks SET (autovacuum_vacuum_scale_factor = 100, fillfactor = 10)")
        .await;
    scene.proves(&ODD_OPTIONS).await;
}

#[tokio::test]
async fn a_table_without_statistics() {
    let mut scene = Scene::postgres().await;
    scene
        .sql("ALTER TABLE tasks SET (autovacuum_analyze_threshold = 1000000)")
        .await;
    fill(&scene, 20_000).await;
    scene.proves(&NO_STATISTICS).await;
}

#[tokio::test]
async fn a_bloated_table() {
    let mut scene = Scene::postgres().await;
    fill(&scene, 42_000).await;
    scene
        .sql("UPDATE tasks SET description = repeat('x', 1700)")
        .await;
    scene.sql("DELETE FROM tasks WHERE id % 20 > 0").await;
    scene.sql("VACUUM (ANALYZE) tasks").await;
    let report = scene.doctor("database.vacuum");
    let detail = report.detail("database.vacuum");
    assert!(detail.contains("public.tasks takes"), "{detail}");
    scene.proves(&BLOAT).await;
}

#[tokio::test]
async fn an_index_twice() {
    let mut scene = Scene::postgres().await;
    let report = scene.doctor("database.index_use");
    report.says("database.index_use", "pass", "");
    let own = first_index(&scene).await;
    let (_, definition) = own.split_once(" ON ").unwrap();
    scene
        .sql(&format!("CREATE INDEX \"added by hand\" ON {definition}"))
        .await;
    scene.proves(&REPEATED_INDEX).await;
    // The service's own is still there.
    assert_eq!(first_index(&scene).await, own);
}

/// The definition of an index that a migration made and no constraint needs.
async fn first_index(scene: &Scene) -> String {
    let url = &scene.database.as_ref().unwrap().url;
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    let found = sqlx::query_scalar(
        "SELECT pg_get_indexdef(indexrelid) FROM pg_index
         WHERE indrelid = 'tasks'::regclass AND NOT indisunique ORDER BY indexrelid LIMIT 1",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    found
}

/// Transaction ids are used up while an old transaction keeps autovacuum from freezing rows. What
/// the remedy says first is the old transaction, which only `database.sessions` can name.
#[tokio::test(flavor = "multi_thread")]
async fn transaction_ids_run_out() {
    let cluster = Cluster::start();
    cluster
        .execute(&[
            "ALTER SYSTEM SET autovacuum_freeze_max_age = 100000",
            "ALTER SYSTEM SET autovacuum_naptime = '1s'",
        ])
        .await;
    cluster.restart();
    let scene = Scene::on(cluster.database().await).await;
    scene
        .doctor("database.vacuum")
        .says("database.vacuum", "pass", "");
    let mut old = cluster.connect().await;
    execute(&mut old, "BEGIN; SELECT txid_current()").await;
    scene
        .sql("DO $$ BEGIN FOR i IN 1..160000 LOOP PERFORM txid_current(); COMMIT; END LOOP; END $$")
        .await;
    let report = scene.doctor("database.vacuum");
    report.says("database.vacuum", "warn", "vacuumdb");
    let detail = report.detail("database.vacuum");
    assert!(detail.contains("has not been frozen for 16"), "{detail}");
    drop(old);
    let typed = scene.type_in(report.check("database.vacuum")["remedy"].as_str().unwrap());
    assert!(typed.status.success());
    // Autovacuum attends to the template that nobody can connect to.
    eventually("the templates are frozen", async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        scene.doctor("database.vacuum").check("database.vacuum")["outcome"] == "pass"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn autovacuum_is_off() {
    let cluster = Cluster::start();
    let mut scene = Scene::on(cluster.database().await).await;
    cluster
        .execute(&["ALTER SYSTEM SET autovacuum = off"])
        .await;
    cluster.reload().await;
    scene.proves(&NO_AUTOVACUUM).await;
}
