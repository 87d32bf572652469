//! Every statement ends in time, on the server too.

use std::time::{Duration, Instant};

use rstest::rstest;
use sqlx::{Connection as _, PgConnection};
use todoctl::clock::Clock;
use todoctl::domain::{IdempotencyKey, TaskChanges};
use todoctl::store::{Store, StoreError, TaskFilter};

use super::{connect, task, user};
use crate::support::Engine::{self, Postgres, Sqlite};
use crate::support::{Database, TestDatabase, database_config, eventually};

const LIMIT: Duration = Duration::from_millis(500);

/// A query that takes minutes, and the statements that put it in the way of others.
fn slow(engine: Engine) -> &'static str {
    match engine {
        Sqlite => {
            "CREATE TRIGGER slow AFTER INSERT ON tasks BEGIN
                 INSERT INTO todoctl_attempts SELECT 'x', count(*), 1 FROM (
                     WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 2000000000)
                     SELECT x FROM n);
             END;
             ALTER TABLE user_api_keys RENAME TO hidden;
             CREATE VIEW user_api_keys AS SELECT hidden.* FROM hidden, (
                 WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 2000000000)
                 SELECT count(*) AS x FROM n) AS slow WHERE slow.x > 0;
             INSERT INTO hidden (user_id, provider, encrypted_key, created_at, updated_at)
                 VALUES ('usr_1', 'gemini', 'k', 1, 1);"
        }
        Postgres => {
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM pg_sleep(100); RETURN NEW; END $$;
             CREATE TRIGGER slow BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION slow();
             ALTER TABLE user_api_keys RENAME TO hidden;
             CREATE VIEW user_api_keys AS SELECT hidden.* FROM hidden, pg_sleep(100);
             INSERT INTO hidden (user_id, provider, encrypted_key, created_at, updated_at)
                 VALUES ('usr_1', 'gemini', 'k', now(), now());"
        }
    }
}

fn is_over(error: &StoreError) -> bool {
    matches!(error, StoreError::Transient(_)) && error.is_unavailable()
}

#[rstest]
#[tokio::test]
async fn a_slow_statement_ends(#[values(Sqlite, Postgres)] engine: Engine) {
    let database = Database::migrated(engine).await;
    let mut config = database_config(database.target(), 2);
    config.pool.statement_timeout = LIMIT;
    let store = Store::connect(&config, Clock::system()).await.unwrap();
    let kept = store.create_task(&task("kept")).await.unwrap();
    database.execute(slow(engine)).await;
    let started = Instant::now();
    let error = store.create_task(&task("slow")).await.unwrap_err();
    assert!(is_over(&error), "{error:?}");
    let key = todoctl::domain::IdempotencyKey::new(b"k").unwrap();
    let answer = |_: &todoctl::domain::Task| "{}".to_owned();
    let slow = task("slow");
    let error = store.create_task_once(&slow, &key, "f", answer).await;
    let error = error.unwrap_err();
    assert!(is_over(&error), "{error:?}");
    let error = store.api_key(&user()).await.unwrap_err();
    assert!(is_over(&error), "{error:?}");
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
    // The connections are good for more, and nothing was stored.
    let page = store.tasks(&user(), &TaskFilter::default(), 10, 0).await;
    assert_eq!(page.unwrap().tasks, std::slice::from_ref(&kept));
    let changes = TaskChanges {
        completed: Some(true),
        ..TaskChanges::default()
    };
    let updated = store.update_task(&user(), kept.id, &changes).await;
    assert!(updated.unwrap().unwrap().completed);
}

async fn sessions(database: &TestDatabase) -> i64 {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'todoctl'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap()
}

/// Work that is given up leaves no session behind that still waits. Statements that requests share
/// end at their deadline instead.
#[tokio::test]
async fn the_server_has_no_more_sessions_than_the_pool() {
    let database = TestDatabase::migrated().await;
    let store = connect(database.target(), 2).await;
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE tasks")
        .execute(&mut other)
        .await
        .unwrap();
    let completed = TaskFilter {
        completed: Some(true),
        ..TaskFilter::default()
    };
    for _ in 0..8 {
        let task = task("given up");
        let key = IdempotencyKey::new(b"key").unwrap();
        let create = store.create_task_once(&task, &key, "digest", |_| String::new());
        let limit = Duration::from_millis(200);
        assert!(tokio::time::timeout(limit, create).await.is_err());
        let user = user();
        let read = store.tasks(&user, &completed, 10, 0);
        assert!(tokio::time::timeout(limit, read).await.is_err());
    }
    // The lock is still held, so none of them can end by itself.
    eventually("the sessions have ended", async || {
        sessions(&database).await <= 2
    })
    .await;
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    let page = store.tasks(&user(), &TaskFilter::default(), 10, 0).await;
    assert_eq!(page.unwrap().tasks, []);
}

/// A limit that the administrator or the URL has set is not raised.
#[tokio::test]
async fn a_lower_limit_stays() {
    let database = TestDatabase::migrated().await;
    let name = &database.name;
    database
        .execute(&format!(
            "ALTER DATABASE {name} SET statement_timeout = '300ms'"
        ))
        .await;
    let store = connect(database.target(), 2).await;
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE tasks")
        .execute(&mut other)
        .await
        .unwrap();
    let started = Instant::now();
    let error = store.task(&user(), 1).await.unwrap_err();
    assert!(is_over(&error), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(9));
}
