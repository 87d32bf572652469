//! What the store's connections do under strain.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use todoctl::config::DatabaseTarget;
use todoctl::domain::{Description, TaskChanges};
use todoctl::store::{Store, StoreError, TaskFilter};

use super::{connect, task, user};
use crate::support::{Database, Engine, TestDatabase, eventually};

async fn on_postgres(connections: usize) -> (TestDatabase, Store) {
    let database = TestDatabase::migrated().await;
    let store = connect(database.target(), connections).await;
    (database, store)
}

/// Readers that never pause keep SQLite's own checkpoints from emptying the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_stays_small() {
    const LIMIT: u64 = 64 * 1024 * 1024;
    let database = Database::migrated(Engine::Sqlite).await;
    let Database::Sqlite(directory) = &database else {
        unreachable!("it was made on SQLite");
    };
    let wal = directory.path().join("todo.db-wal");
    let store = connect(database.target(), 4).await;
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                loop {
                    store
                        .tasks(&user(), &TaskFilter::default(), 3, 0)
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    let mut largest = 0;
    let mut written = 0;
    let mut large = task("a task with a long description");
    // Four bytes each, and stored twice: once folded for the search.
    large.description = Description::new(&"\u{1d11e}".repeat(1000)).unwrap();
    // More than the limit in all, so that a log that only grows would pass it.
    while written < LIMIT + LIMIT / 4 {
        store.create_task(&large).await.unwrap();
        // The row's 8 kB, the table's page and the index's.
        written += 4 * 4096;
        largest = largest.max(std::fs::metadata(&wal).map_or(0, |file| file.len()));
    }
    for reader in readers {
        reader.abort();
    }
    assert!(largest > 0 && largest < LIMIT, "{largest} bytes");
    store.close().await;
}

/// A pool without a free connection is not an error of the database, and is reported separately.
#[tokio::test]
async fn a_full_pool_is_told() {
    let (database, store) = on_postgres(1).await;
    // The one connection is open before somebody else locks the table.
    store.ping().await.unwrap();
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE tasks")
        .execute(&mut other)
        .await
        .unwrap();
    let held = store.clone();
    let held = tokio::spawn(async move { held.task(&user(), 1).await });
    while !store.is_saturated() {
        tokio::task::yield_now().await;
    }
    let error = store.task(&user(), 1).await.unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::PoolTimeout {
                in_use: 1,
                max: 1,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.is_unavailable());
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    assert!(held.await.unwrap().unwrap().is_none());
    assert!(store.task(&user(), 1).await.unwrap().is_none());
}

/// A unit of work that is dropped in its middle takes its connection with it, and no other.
#[tokio::test]
async fn a_dropped_call_spoils_nothing() {
    let (database, store) = on_postgres(1).await;
    let created = store.create_task(&task("kept")).await.unwrap();
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    for _ in 0..5 {
        sqlx::raw_sql("BEGIN; LOCK TABLE tasks")
            .execute(&mut other)
            .await
            .unwrap();
        let dropped = task("dropped");
        let call = store.create_task(&dropped);
        assert!(
            tokio::time::timeout(Duration::from_millis(100), call)
                .await
                .is_err()
        );
        sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
        assert_eq!(
            store.task(&user(), created.id).await.unwrap().as_ref(),
            Some(&created)
        );
    }
}

/// A server that ended every session goes unnoticed by the next read.
#[tokio::test]
async fn reads_survive_a_restart() {
    let (database, store) = on_postgres(4).await;
    let created = store.create_task(&task("kept")).await.unwrap();
    database
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
    assert_eq!(
        store.task(&user(), created.id).await.unwrap(),
        Some(created)
    );
}

/// Sessions of a pool are idle on purpose.
#[tokio::test]
async fn no_limit_ends_idle_sessions() {
    let database = Database::migrated(Engine::Postgres).await;
    let DatabaseTarget::Postgres(mut server) = database.target() else {
        unreachable!("it was made on PostgreSQL");
    };
    server.options = Some("-c idle_session_timeout=300".to_owned());
    let store = connect(DatabaseTarget::Postgres(server), 2).await;
    store.create_task(&task("one")).await.unwrap();
    let idle = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
         AND application_name = 'todoctl' AND state = 'idle'
         AND clock_timestamp() - state_change > '600ms'";
    eventually("a session was idle for twice as long", async || {
        !database.column::<i32>(idle).await.is_empty()
    })
    .await;
    store.create_task(&task("two")).await.unwrap();
}

/// Nothing is begun on a store that was closed.
#[tokio::test]
async fn a_closed_store_says_so() {
    let (_database, store) = on_postgres(2).await;
    store.close().await;
    let error = store.task(&user(), 1).await.unwrap_err();
    assert!(matches!(error, StoreError::Closed), "{error:?}");
}

/// A row that somebody else has locked is waited for, whatever the server's own isolation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_server_ends_no_wait_in_an_error() {
    let database = TestDatabase::migrated().await;
    let name = &database.name;
    let strict =
        format!("ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'");
    database.execute(&strict).await;
    let store = connect(database.target(), 4).await;
    let id = store.create_task(&task("wanted by all")).await.unwrap().id;
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let changes = TaskChanges {
                    completed: Some(number % 2 == 0),
                    ..TaskChanges::default()
                };
                for _ in 0..50 {
                    assert!(
                        store
                            .update_task(&user(), id, &changes)
                            .await
                            .unwrap()
                            .is_some()
                    );
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}
