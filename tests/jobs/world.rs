//! A migrated database of a test's own, and the time in it.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection, FromRow, PgConnection, SqliteConnection};
use todoctl::clock::Clock;
use todoctl::config::{
    DatabaseConfig, DatabaseTarget, HealthProbe, PoolConfig, PoolerMode, Secret, ServicesConfig,
    SqliteTarget,
};
use todoctl::domain::{NewTask, Notification, Priority, Timestamp, Title, UserId};
use todoctl::jobs::outbox::Outbox;
use todoctl::jobs::reminders::ReminderRun;
use todoctl::jobs::{self, Stop};
use todoctl::services::mail::Mailer;
use todoctl::store::{Store, migrate};
use todoctl::telemetry::JobMetrics;

use crate::support::{self, MailPeer, TestDatabase};

/// What the mail key is in tests; it must be seen nowhere.
pub const MAIL_KEY: &str = "re_canary_0123456789";

enum Home {
    Postgres(TestDatabase),
    Sqlite(tempfile::TempDir),
}

/// A database, a clock that stands at noon, and the jobs' metrics.
pub struct World {
    pub config: DatabaseConfig,
    pub store: Store,
    pub clock: Clock,
    pub metrics: JobMetrics,
    home: Home,
}

/// `text` as an instant.
pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The instant at which every test begins.
pub const NOON: &str = "2031-05-10T12:00:00Z";

pub fn config(target: DatabaseTarget) -> DatabaseConfig {
    DatabaseConfig {
        direct: target.clone(),
        target,
        pool: PoolConfig {
            size: 4,
            overflow: 4,
            timeout: Duration::from_secs(20),
            recycle: Duration::from_secs(1800),
        },
        pooler: PoolerMode::None,
        auto_migrate: true,
        health_probe: HealthProbe::Active,
    }
}

pub fn target(url: &str) -> DatabaseTarget {
    todoctl::config::database_url::parse(url).unwrap().value
}

impl World {
    pub async fn on_sqlite() -> Self {
        let directory = support::sqlite_dir();
        let path = directory.path().join("todo.db");
        let target = DatabaseTarget::Sqlite(SqliteTarget { path });
        Self::start(target, Home::Sqlite(directory)).await
    }

    pub async fn on_postgres() -> Self {
        let database = TestDatabase::create().await;
        let target = target(&database.url);
        Self::start(target, Home::Postgres(database)).await
    }

    async fn start(target: DatabaseTarget, home: Home) -> Self {
        let clock = Clock::fixed(at(NOON));
        migrate::up(&target, &clock).await.unwrap();
        let config = config(target);
        Self {
            store: Store::connect(&config, clock.clone()).await.unwrap(),
            metrics: JobMetrics::new().unwrap(),
            config,
            clock,
            home,
        }
    }

    /// What `DATABASE_URL` has to be for this database.
    pub fn url(&self) -> String {
        match &self.home {
            Home::Postgres(database) => database.url.clone(),
            Home::Sqlite(directory) => {
                format!("sqlite://{}", directory.path().join("todo.db").display())
            }
        }
    }

    /// Runs a statement behind the store's back, in the engine's own words.
    pub async fn execute(&self, postgres: &str, sqlite: &str) {
        match &self.home {
            Home::Postgres(database) => {
                let mut connection = PgConnection::connect(&database.url).await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(postgres.to_owned()))
                    .execute(&mut connection)
                    .await
                    .unwrap();
                connection.close().await.unwrap();
            }
            Home::Sqlite(_) => {
                let mut connection = SqliteConnection::connect(&self.url()).await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(sqlite.to_owned()))
                    .execute(&mut connection)
                    .await
                    .unwrap();
                connection.close().await.unwrap();
            }
        }
    }

    /// The number that `statement` finds.
    pub async fn number(&self, statement: &str) -> i64 {
        self.scalar(statement).await
    }

    /// The text that `statement` finds.
    pub async fn text(&self, statement: &str) -> String {
        self.scalar(statement).await
    }

    async fn scalar<T>(&self, statement: &str) -> T
    where
        T: Send + Unpin,
        (T,): for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow>,
    {
        let statement = AssertSqlSafe(statement.to_owned());
        match &self.home {
            Home::Postgres(database) => {
                let mut connection = PgConnection::connect(&database.url).await.unwrap();
                let found = sqlx::query_as(statement).fetch_one(&mut connection).await;
                connection.close().await.unwrap();
                let (found,): (T,) = found.unwrap();
                found
            }
            Home::Sqlite(_) => {
                let mut connection = SqliteConnection::connect(&self.url()).await.unwrap();
                let found = sqlx::query_as(statement).fetch_one(&mut connection).await;
                connection.close().await.unwrap();
                let (found,): (T,) = found.unwrap();
                found
            }
        }
    }

    /// Stores a task of `user`.
    pub async fn task(&self, user: &str, title: &str, due: Option<Timestamp>) -> i64 {
        let task = NewTask {
            user_id: UserId::new(user).unwrap(),
            title: Title::new(title).unwrap(),
            description: None,
            priority: Priority::Medium,
            due_date: due,
        };
        self.store.create_task(&task).await.unwrap().id
    }

    /// What a user was told, oldest first.
    pub async fn told(&self, user: &str) -> Vec<Notification> {
        let user = UserId::new(user).unwrap();
        let mut list = self.store.notifications(&user, 1_000_000).await.unwrap();
        let unread = list.notifications.iter().filter(|one| !one.is_read).count();
        assert_eq!(list.unread, i64::try_from(unread).unwrap());
        list.notifications.reverse();
        list.notifications
    }

    /// What a user was told, as type and task.
    pub async fn kinds(&self, user: &str) -> Vec<(String, i64)> {
        let told = self.told(user).await;
        told.into_iter()
            .map(|one| (one.kind, one.task_id.unwrap()))
            .collect()
    }

    /// Runs the reminder job once.
    pub async fn remind(&self, mails: bool) -> ReminderRun {
        jobs::run_reminders(
            &self.store,
            &self.clock,
            mails,
            &Stop::never(),
            &self.metrics,
        )
        .await
        .unwrap()
    }

    /// Makes the auth server's table of accounts, with an address for each of `users`.
    pub async fn accounts(&self, users: &[&str]) {
        let rows: Vec<String> = users
            .iter()
            .map(|user| format!("('{user}', '{user}@example.com')"))
            .collect();
        let statement = format!(
            r#"CREATE TABLE "user" (id text PRIMARY KEY, email text, name text);
               INSERT INTO "user" (id, email) VALUES {}"#,
            rows.join(", ")
        );
        self.execute(&statement, &statement).await;
    }

    /// An outbox that sends to `peer`.
    pub fn outbox(&self, peer: &MailPeer) -> Outbox {
        let services = ServicesConfig {
            resend_api_key: Some(Secret::new(MAIL_KEY)),
            resend_api_url: Some(peer.url()),
            email_from: Some("Todo <todo@example.com>".to_owned()),
            ..ServicesConfig::default()
        };
        let mailer = Mailer::new(&services).unwrap().unwrap();
        Outbox::new(
            self.store.clone(),
            self.clock.clone(),
            mailer,
            self.metrics.clone(),
        )
    }
}
