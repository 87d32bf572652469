//! A database of a test's own, on either engine.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection, FromRow, PgConnection, SqliteConnection};
use todoctl::clock::Clock;
use todoctl::config::{
    DatabaseConfig, DatabaseTarget, HealthProbe, PoolConfig, PoolerMode, SqliteTarget,
};
use todoctl::store::migrate;

use super::TestDatabase;

/// What a test stores its data in: `#[values(Sqlite, Postgres)] engine: Engine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// Deleted with its value.
#[derive(Debug)]
pub enum Database {
    Sqlite(tempfile::TempDir),
    Postgres(TestDatabase),
}

impl Database {
    /// One with todoctl's schema.
    pub async fn migrated(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => {
                let database = Self::Sqlite(super::sqlite_dir());
                migrate::up(&database.target(), &Clock::system())
                    .await
                    .expect("the migrations run");
                database
            }
            Engine::Postgres => Self::Postgres(TestDatabase::migrated().await),
        }
    }

    pub fn target(&self) -> DatabaseTarget {
        match self {
            Self::Sqlite(directory) => DatabaseTarget::Sqlite(SqliteTarget {
                path: directory.path().join("todo.db"),
            }),
            Self::Postgres(database) => database.target(),
        }
    }

    /// What `DATABASE_URL` has to be for this database.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(directory) => {
                format!("sqlite://{}", directory.path().join("todo.db").display())
            }
            Self::Postgres(database) => database.url.clone(),
        }
    }

    pub fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    /// Runs statements on a connection of their own.
    pub async fn execute(&self, statements: &str) {
        match self {
            Self::Postgres(database) => database.execute(statements).await,
            Self::Sqlite(_) => {
                let mut connection = self.connect_sqlite().await;
                sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
                    .execute(&mut connection)
                    .await
                    .unwrap_or_else(|error| panic!("{statements}: {error}"));
                connection.close().await.expect("closes");
            }
        }
    }

    /// The first column of what a statement returns.
    pub async fn column<T>(&self, statement: &str) -> Vec<T>
    where
        T: Send + Unpin,
        (T,): for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow>,
    {
        let query = AssertSqlSafe(statement.to_owned());
        let rows: Result<Vec<(T,)>, sqlx::Error> = match self {
            Self::Postgres(database) => {
                let mut connection = PgConnection::connect(&database.url)
                    .await
                    .expect("connects");
                sqlx::query_as(query).fetch_all(&mut connection).await
            }
            Self::Sqlite(_) => {
                let mut connection = self.connect_sqlite().await;
                sqlx::query_as(query).fetch_all(&mut connection).await
            }
        };
        let rows = rows.unwrap_or_else(|error| panic!("{statement}: {error}"));
        rows.into_iter().map(|(value,)| value).collect()
    }

    async fn connect_sqlite(&self) -> SqliteConnection {
        SqliteConnection::connect(&self.url())
            .await
            .expect("the database file opens")
    }
}

/// A configuration with `connections` to the database at `target`.
pub fn database_config(target: DatabaseTarget, connections: usize) -> DatabaseConfig {
    DatabaseConfig {
        direct: target.clone(),
        target,
        pool: PoolConfig {
            size: connections,
            overflow: 0,
            timeout: Duration::from_secs(5),
            recycle: Duration::from_secs(1800),
            statement_timeout: Duration::from_secs(18),
        },
        pooler: PoolerMode::None,
        auto_migrate: true,
        health_probe: HealthProbe::Active,
    }
}
