//! Rows that a transaction has changed or locked, and not committed.

use std::time::Duration;

use crate::faults::activity::{execute, session};
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::servers::{SCHEMA, SEQUENCES, TABLES, drop_role_of, with_role};

faults! {
    LOCKED_ROW = Fault {
        title: "A superuser's transaction has locked a task that a request changes",
        symptom: Symptom::Risk("the request is answered with 503"),
        check: "database.locks",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    UNCOMMITTED_ROWS = Fault {
        title: "Another role's transaction has changed tasks, and nobody waits yet",
        symptom: Symptom::Risk("changes of these tasks wait"),
        check: "database.locks",
        outcome: "warn",
        after: After::Typed("pass"),
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_others() {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let role = with_role(&mut scene, "", &grants).await;
    let administrator = scene.administrators_url().unwrap();
    let mut holder = session(&administrator, "batch").await;
    execute(&mut holder, "BEGIN; UPDATE tasks SET completed = true").await;
    scene.proves(&UNCOMMITTED_ROWS).await;
    let mut holder = session(&administrator, "batch").await;
    execute(&mut holder, "BEGIN; SELECT FROM tasks FOR UPDATE").await;
    let own = scene.get("DATABASE_URL").unwrap();
    let waiting = tokio::spawn(async move {
        let mut waiting = session(&own, "todoctl").await;
        execute(&mut waiting, "UPDATE tasks SET completed = completed").await;
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    let report = scene.doctor("database.locks");
    let remedy = report.check("database.locks")["remedy"].as_str().unwrap();
    assert_eq!(remedy.matches("_backend(pid)").count(), 1, "{remedy}");
    scene.proves(&LOCKED_ROW).await;
    // The request itself was not cancelled.
    waiting.await.unwrap();
    drop_role_of(&mut scene, &role).await;
}
