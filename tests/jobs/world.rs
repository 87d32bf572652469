//! A migrated database of a test's own, and the time in it.

use std::time::Duration;

use todoctl::clock::Clock;
use todoctl::config::{DatabaseConfig, DatabaseTarget, Secret, ServicesConfig};
use todoctl::domain::{NewTask, Notification, Priority, Timestamp, Title, UserId};
use todoctl::jobs::outbox::Outbox;
use todoctl::jobs::reminders::ReminderRun;
use todoctl::jobs::{self, Stop};
use todoctl::services::mail::Mailer;
use todoctl::store::Store;
use todoctl::telemetry::JobMetrics;
use tokio::task::JoinSet;

use crate::support::{self, Database, Engine, MailPeer};

/// What the mail key is in tests; it must be seen nowhere.
pub const MAIL_KEY: &str = "re_canary_0123456789";

/// A database, a clock that stands at noon, and the jobs' metrics.
pub struct World {
    pub config: DatabaseConfig,
    pub store: Store,
    pub clock: Clock,
    pub metrics: JobMetrics,
    pub database: Database,
}

/// `text` as an instant.
pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The instant at which every test begins.
pub const NOON: &str = "2031-05-10T12:00:00Z";

pub fn config(target: DatabaseTarget) -> DatabaseConfig {
    let mut config = support::database_config(target, 8);
    config.pool.timeout = Duration::from_secs(20);
    config
}

pub fn target(url: &str) -> DatabaseTarget {
    todoctl::config::database_url::parse(url).unwrap().value
}

impl World {
    pub async fn start(engine: Engine) -> Self {
        let database = Database::migrated(engine).await;
        let clock = Clock::fixed(at(NOON));
        let config = config(database.target());
        Self {
            store: Store::connect(&config, clock.clone()).await.unwrap(),
            metrics: JobMetrics::new().unwrap(),
            config,
            clock,
            database,
        }
    }

    /// Runs a statement behind the store's back, in the engine's dialect.
    pub async fn execute(&self, postgres: &str, sqlite: &str) {
        self.database
            .execute(match self.database.engine() {
                Engine::Postgres => postgres,
                Engine::Sqlite => sqlite,
            })
            .await;
    }

    /// The number that `statement` finds.
    pub async fn number(&self, statement: &str) -> i64 {
        self.database.column(statement).await[0]
    }

    /// The text that `statement` finds.
    pub async fn text(&self, statement: &str) -> String {
        self.database.column(statement).await.swap_remove(0)
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

    /// Three runs of the job at the same time, each of a process's own store; returns how many
    /// reminders they made together.
    pub async fn remind_in_three_stores(&self, config: &DatabaseConfig) -> usize {
        let mut runs = JoinSet::new();
        for _ in 0..3 {
            let store = Store::connect(config, self.clock.clone()).await.unwrap();
            let (clock, metrics) = (self.clock.clone(), self.metrics.clone());
            runs.spawn(async move {
                jobs::run_reminders(&store, &clock, false, &Stop::never(), &metrics)
                    .await
                    .unwrap()
            });
        }
        let runs = runs.join_all().await;
        assert!(runs.iter().all(|run| run.skipped == 0), "{runs:?}");
        runs.iter().map(|run| run.due_soon + run.overdue).sum()
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
        self.outbox_to(peer.url())
    }

    /// An outbox that sends to a server at `url`.
    pub fn outbox_to(&self, url: url::Url) -> Outbox {
        let services = ServicesConfig {
            resend_api_key: Some(Secret::new(MAIL_KEY)),
            resend_api_url: Some(url),
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
