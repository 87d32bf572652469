//! The schema's way up and down, and the taking over of the previous service's database.

mod adoption;
mod depth;
mod history;
mod identity;
mod locking;
mod search;
mod triggers;

use crate::support::{self, TestDatabase};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use todoctl::clock::Clock;
use todoctl::config::{DatabaseTarget, SqliteTarget};
use todoctl::store::migrate::{self, MigrateError, Migration};

/// An empty database, gone with its value.
enum Home {
    Postgres(TestDatabase),
    Sqlite(tempfile::TempDir),
}

impl Home {
    async fn postgres() -> Self {
        Self::Postgres(TestDatabase::create().await)
    }

    fn sqlite() -> Self {
        Self::Sqlite(support::sqlite_dir())
    }

    async fn both() -> [Self; 2] {
        [Self::sqlite(), Self::postgres().await]
    }

    fn target(&self) -> DatabaseTarget {
        match self {
            Self::Postgres(database) => {
                todoctl::config::database_url::parse(&database.url)
                    .expect("the test server's URL is good")
                    .value
            }
            Self::Sqlite(directory) => DatabaseTarget::Sqlite(SqliteTarget {
                path: directory.path().join("todo.db"),
            }),
        }
    }

    async fn up(&self) -> Result<Vec<Migration>, MigrateError> {
        migrate::up(&self.target(), &Clock::system()).await
    }

    async fn status(&self) -> Vec<Migration> {
        migrate::status(&self.target()).await.expect("a status")
    }

    /// Runs statements behind the migrator's back.
    async fn run(&self, sql: &str) {
        match self {
            Self::Postgres(_) => {
                let mut connection = self.connect().await;
                sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                    .execute(&mut connection)
                    .await
                    .expect("the statements run");
            }
            Self::Sqlite(directory) => {
                let path = directory.path().join("todo.db");
                let url = format!("sqlite://{}?mode=rwc", path.display());
                let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                    .execute(&mut connection)
                    .await
                    .expect("the statements run");
                connection.close().await.unwrap();
            }
        }
    }

    /// A PostgreSQL connection of the test's own.
    async fn connect(&self) -> PgConnection {
        let Self::Postgres(database) = self else {
            panic!("PostgreSQL only");
        };
        PgConnection::connect(&database.url).await.unwrap()
    }
}

fn versions(migrations: &[Migration]) -> Vec<i64> {
    migrations.iter().map(|one| one.version).collect()
}
