//! One migration at a time, also with sqlx-cli.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::migrate::Migrate;
use todoctl::clock::Clock;
use todoctl::config::DatabaseTarget;
use todoctl::store::migrate::{self, LockWait, MigrateError, Up};

use crate::migrations::{Home, versions};
use crate::support::PgBouncer;

/// Any number of replicas that start at once migrate once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_migrate_once() {
    for home in Home::both().await {
        let all = versions(&home.status().await);
        let starts: Vec<_> = (0..8)
            .map(|_| {
                let target = home.target();
                tokio::spawn(async move { migrate::up(&target, &Clock::system()).await })
            })
            .collect();
        let mut applied = Vec::new();
        for start in starts {
            applied.extend(versions(
                &start.await.unwrap().expect("waits rather than fails"),
            ));
        }
        assert_eq!(applied, all);
    }
}

/// sqlx-cli holds the same lock: todoctl waits until it is free.
#[tokio::test]
async fn waits_for_sqlx_cli() {
    let home = Home::postgres().await;
    let mut other = home.connect().await;
    other.lock().await.unwrap();
    let target = home.target();
    let mut waiting = tokio::spawn(async move { migrate::up(&target, &Clock::system()).await });
    let early = tokio::time::timeout(Duration::from_secs(1), &mut waiting).await;
    assert!(early.is_err(), "it did not wait");
    other.unlock().await.unwrap();
    assert!(!waiting.await.unwrap().unwrap().is_empty());
}

/// Neither the lock nor the connection stays behind, after a failure either.
#[tokio::test]
async fn the_lock_is_given_back() {
    let home = Home::postgres().await;
    home.run("CREATE TABLE todoctl_sessions (something_else text)")
        .await;
    home.up().await.unwrap_err();
    let held: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
         WHERE l.locktype = 'advisory' AND d.datname = current_database()",
    )
    .fetch_one(&mut home.connect().await)
    .await
    .unwrap();
    assert_eq!(held, 0);
}

/// The holder of the lock is reported, and named by the error when the wait is over.
#[tokio::test]
async fn the_lock_holder_is_reported() {
    let home = Home::postgres().await;
    let mut other = home.connect().await;
    other.lock().await.unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut other)
        .await
        .unwrap();
    let reports = std::sync::Mutex::new(Vec::new());
    let report = |text: &str| reports.lock().unwrap().push(text.to_owned());
    let wait = LockWait::new(Duration::from_millis(500), &report);
    let error = migrate::up_with(&home.target(), &Clock::system(), Up::default(), wait)
        .await
        .unwrap_err();
    assert!(matches!(error, MigrateError::Locked { pid: Some(named), .. } if named == pid));
    assert!(error.to_string().contains("(unnamed, idle for "), "{error}");
    assert!(
        error
            .remedy()
            .to_string()
            .contains(&format!("pg_terminate_backend({pid})"))
    );
    let reports = reports.into_inner().unwrap();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].contains(&format!("pid {pid} (")), "{reports:?}");
    assert!(
        reports[0].ends_with("waiting up to 500ms for it"),
        "{reports:?}"
    );
}

/// The same on SQLite, where the lock is a file.
#[tokio::test]
async fn a_locked_file_is_named() {
    let home = Home::sqlite();
    let Home::Sqlite(directory) = &home else {
        unreachable!()
    };
    let path = directory.path().join("todo.db-migrate.lock");
    let file = std::fs::File::create(&path).unwrap();
    file.lock().unwrap();
    let wait = LockWait::new(Duration::from_millis(300), &|_| {});
    let error = migrate::up_with(&home.target(), &Clock::system(), Up::default(), wait)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("todo.db-migrate.lock"),
        "{error}"
    );
}

/// A pooler whose address does not tell is found out before a lock is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hidden_pooler_is_found_out() {
    let Home::Postgres(database) = Home::postgres().await else {
        unreachable!()
    };
    let pooler = PgBouncer::start(&database.url);
    let target = todoctl::config::database_url::parse(&pooler.url)
        .unwrap()
        .value;
    let DatabaseTarget::Postgres(server) = &target else {
        unreachable!()
    };
    assert!(!server.pooled, "the address must not tell");
    let error = migrate::up(&target, &Clock::system()).await.unwrap_err();
    assert!(
        matches!(error, MigrateError::ThroughPooler { .. }),
        "{error}"
    );
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            .fetch_one(&mut sqlx::PgConnection::connect(&database.url).await.unwrap())
            .await
            .unwrap();
    assert_eq!(tables, 0);
}

/// A pooler keeps no session locks, so it is refused by name of what to set.
#[tokio::test]
async fn never_through_a_pooler() {
    let home = Home::postgres().await;
    let DatabaseTarget::Postgres(mut server) = home.target() else {
        unreachable!()
    };
    server.pooled = true;
    let error = migrate::up(&DatabaseTarget::Postgres(server), &Clock::system())
        .await
        .unwrap_err();
    assert!(matches!(error, MigrateError::ThroughPooler { .. }));
    assert!(error.remedy().to_string().contains("DATABASE_URL_UNPOOLED"));
}

/// A migration that waits for a locked table is retried, and the report names the session.
#[tokio::test]
async fn gives_way_to_other_sessions() {
    let home = Home::postgres().await;
    home.run(include_str!("previous_service.sql")).await;
    let mut other = home.connect().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE tasks IN ACCESS SHARE MODE")
        .execute(&mut other)
        .await
        .unwrap();
    let target = home.target();
    let (reports, mut reported) = tokio::sync::mpsc::unbounded_channel();
    let migrating = tokio::spawn(async move {
        let report = |text: &str| reports.send(text.to_owned()).unwrap();
        let wait = LockWait::new(Duration::from_secs(5), &report);
        migrate::up_with(&target, &Clock::system(), Up::default(), wait).await
    });
    let report = reported.recv().await.expect("a report");
    assert!(
        report.contains("table \"tasks\", which another session has locked: pid "),
        "{report}"
    );
    assert!(report.contains("idle in transaction for "), "{report}");
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    assert!(!migrating.await.unwrap().unwrap().migrations.is_empty());
}
