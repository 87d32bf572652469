//! The store without HTTP around it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use todoctl::clock::Clock;
use todoctl::config::{
    DatabaseConfig, DatabaseTarget, HealthProbe, PoolConfig, PoolerMode, SqliteTarget,
};
use todoctl::domain::{NewTask, Priority, Title, UserId};
use todoctl::store::{Store, migrate};

use crate::support::{self, TestDatabase};

mod connections;
mod rows;

fn config(target: DatabaseTarget, connections: usize) -> DatabaseConfig {
    DatabaseConfig {
        direct: target.clone(),
        target,
        pool: PoolConfig {
            size: connections,
            overflow: 0,
            timeout: Duration::from_secs(2),
            recycle: Duration::from_secs(1800),
        },
        pooler: PoolerMode::None,
        auto_migrate: true,
        health_probe: HealthProbe::Active,
    }
}

async fn open(target: DatabaseTarget, connections: usize) -> Store {
    let clock = Clock::system();
    migrate::up(&target, &clock).await.unwrap();
    Store::connect(&config(target, connections), clock)
        .await
        .unwrap()
}

async fn on_postgres(connections: usize) -> (TestDatabase, Store) {
    let database = TestDatabase::create().await;
    let target = todoctl::config::database_url::parse(&database.url)
        .unwrap()
        .value;
    let store = open(target, connections).await;
    (database, store)
}

fn user() -> UserId {
    UserId::new("usr_1").unwrap()
}

fn task(title: &str) -> NewTask {
    NewTask {
        user_id: user(),
        title: Title::new(title).unwrap(),
        description: None,
        priority: Priority::Medium,
        due_date: None,
    }
}

/// A way into a store's database past the store.
enum Database {
    Postgres(TestDatabase),
    Sqlite(
        PathBuf,
        #[expect(dead_code, reason = "its directory is removed when it is dropped")]
        tempfile::TempDir,
    ),
}

impl Database {
    async fn execute(&self, sql: &str) {
        match self {
            Self::Postgres(database) => database.execute(sql).await,
            Self::Sqlite(path, _) => {
                let mut connection = sqlite(path).await;
                let statement = sqlx::raw_sql(AssertSqlSafe(sql));
                statement.execute(&mut connection).await.unwrap();
            }
        }
    }

    /// The names of a table's columns.
    async fn columns(&self, table: &str) -> BTreeSet<String> {
        let names: Vec<String> = match self {
            Self::Postgres(database) => {
                let mut connection = PgConnection::connect(&database.url).await.unwrap();
                sqlx::query_scalar(
                    "SELECT column_name::text FROM information_schema.columns WHERE table_name = $1",
                )
                .bind(table)
                .fetch_all(&mut connection)
                .await
                .unwrap()
            }
            Self::Sqlite(path, _) => {
                let mut connection = sqlite(path).await;
                sqlx::query_scalar("SELECT name FROM pragma_table_info($1)")
                    .bind(table)
                    .fetch_all(&mut connection)
                    .await
                    .unwrap()
            }
        };
        names.into_iter().collect()
    }
}

async fn sqlite(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path);
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// A migrated store on each engine.
async fn on_both_engines() -> [(Database, Store); 2] {
    let directory = support::sqlite_dir();
    let path = directory.path().join("todo.db");
    let target = DatabaseTarget::Sqlite(SqliteTarget { path: path.clone() });
    let sqlite = open(target, 2).await;
    let (database, postgres) = on_postgres(2).await;
    [
        (Database::Sqlite(path, directory), sqlite),
        (Database::Postgres(database), postgres),
    ]
}
