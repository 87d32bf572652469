//! Poolers: not configured, denied, in the wrong mode.

use crate::faults::Broken;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::support::{PgBouncer, TestDatabase};

faults! {
    WRONG_POOLER = Fault {
        title: "DB_POOLER=none, although there is a pooler in transaction mode",
        symptom: Symptom::Risk("requests fail when the pooler switches the server connection"),
        check: "database.pooler",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    STATEMENT_MODE = Fault {
        title: "The pooler is in statement mode",
        symptom: Symptom::Risk("every request that changes something answers 500"),
        check: "database.pooler",
        outcome: "fail",
        after: After::Typed("pass"),
    };
}

/// PgBouncer 1.18 in transaction mode: nothing says so, and migrations would go through it.
#[tokio::test]
async fn a_pooler_that_is_not_configured() {
    let database = TestDatabase::create().await;
    let owner = Broken::with_server(&database.url);
    assert!(owner.output(&["migrate", "up"]).status.success());
    // The checks that run at the same time must not take all server connections.
    let pooler = PgBouncer::start_with(&database.url, "transaction", 6);
    let broken = Broken::with_server(&pooler.url);
    broken.database_says("database.pooler", "fail", "DB_POOLER=transaction");
    let report = broken.db_check();
    assert!(
        report
            .detail("database.pooler")
            .contains("loses prepared statements"),
        "{}",
        report.detail("database.pooler")
    );
    // The suggested setting works.
    let corrected = broken
        .env("DB_POOLER", "transaction")
        .env("DATABASE_URL_UNPOOLED", &database.url);
    corrected.database_says("database.pooler", "pass", "");
    let wrong = corrected.env("DB_POOLER", "none");
    wrong.database_says("database.pooler", "fail", "DB_POOLER=transaction");
}

/// In statement mode there are no transactions, so no request succeeds.
#[tokio::test]
async fn a_pooler_in_statement_mode() {
    let mut scene = Scene::postgres().await;
    let direct = scene.get("DATABASE_URL").unwrap();
    scene.set("DATABASE_URL_UNPOOLED", &direct);
    // The remedy changes the mode in the pooler's file, and the setting where it is missing.
    for is_configured in [false, true] {
        let pooler = PgBouncer::start_in_mode(&direct, "statement");
        scene.set("DATABASE_URL", &pooler.url);
        let setting = scene.get("DB_POOLER");
        assert_eq!(setting.as_deref() == Some("transaction"), is_configured);
        scene.proves(&STATEMENT_MODE).await;
        drop(pooler);
    }
    let right = PgBouncer::start(&direct);
    scene.set("DATABASE_URL", &right.url);
    scene.proves_gone(&STATEMENT_MODE);
    drop(right);
}

#[tokio::test]
async fn a_pooler_that_is_denied() {
    let mut scene = Scene::postgres().await;
    let direct = scene.get("DATABASE_URL").unwrap();
    let pooler = PgBouncer::start(&direct);
    scene.set("DATABASE_URL_UNPOOLED", &direct);
    scene.set("DATABASE_URL", &pooler.url);
    scene.set("DB_POOLER", "none");
    scene.proves(&WRONG_POOLER).await;
    scene.stop();
    drop(pooler);
}
