//! Statements that answer several requests, and transactions for several statements.

mod faults;
mod foreign;
mod history;
mod kinds;
mod latency;
mod plans;
mod reads;
mod sharing;
mod single;

use std::time::Duration;

use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use todoctl::clock::Clock;
use todoctl::domain::{Description, NewTask, Priority, Task, TaskChanges, Title, UserId};
use todoctl::store::Store;

use super::task;
use crate::support::Engine::{self, Postgres, Sqlite};
use crate::support::{Database, database_config, eventually};

/// The number of requests that share a statement or a transaction.
const SHARING: usize = 12;

/// Somebody who keeps what follows waiting: every statement on the tasks (PostgreSQL), every
/// change (SQLite).
enum Blocker {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Blocker {
    async fn of(database: &Database) -> Self {
        match database.engine() {
            Postgres => Self::of_table(database, "tasks").await,
            Sqlite => {
                let mut connection = SqliteConnection::connect(&database.url()).await.unwrap();
                let lock = sqlx::raw_sql("BEGIN IMMEDIATE");
                lock.execute(&mut connection).await.unwrap();
                Self::Sqlite(connection)
            }
        }
    }

    /// The same for every statement on another table of PostgreSQL.
    async fn of_table(database: &Database, table: &str) -> Self {
        let mut connection = PgConnection::connect(&database.url()).await.unwrap();
        let lock = AssertSqlSafe(format!("BEGIN; LOCK TABLE {table}"));
        sqlx::raw_sql(lock).execute(&mut connection).await.unwrap();
        Self::Postgres(connection)
    }

    async fn let_go(self) {
        match self {
            Self::Postgres(connection) => connection.close().await.unwrap(),
            Self::Sqlite(connection) => connection.close().await.unwrap(),
        }
    }
}

/// A database to which one connection leads, so that requests have to share it.
struct World {
    database: Database,
    store: Store,
}

impl World {
    async fn new(engine: Engine) -> Self {
        let database = Database::migrated(engine).await;
        let mut config = database_config(database.target(), 1);
        // For a busy machine.
        config.pool.timeout = Duration::from_secs(15);
        let store = Store::connect(&config, Clock::system()).await.unwrap();
        Self { database, store }
    }

    fn waiting(&self) -> usize {
        self.store.pools()[0].1.waiting
    }

    /// Runs `requests` together: another one is in front of them, and is held up until all of
    /// them wait.
    async fn together<T>(
        &self,
        requests: impl IntoIterator<Item = impl Future<Output = T>>,
    ) -> Vec<T> {
        Box::pin(self.together_while(requests, async {})).await
    }

    /// The same, while something else happens to them.
    async fn together_while<T>(
        &self,
        requests: impl IntoIterator<Item = impl Future<Output = T>>,
        happening: impl Future<Output = ()>,
    ) -> Vec<T> {
        let requests: Vec<_> = requests.into_iter().collect();
        let count = requests.len();
        Box::pin(self.blocked(requests, count, happening)).await
    }

    /// The same, where only `count` of the requests wait for the connection.
    async fn blocked<T>(
        &self,
        requests: Vec<impl Future<Output = T>>,
        count: usize,
        happening: impl Future<Output = ()>,
    ) -> Vec<T> {
        let blocker = Blocker::of(&self.database).await;
        let in_front = of("in front", 0);
        let letting_go = async {
            eventually("all wait", async || self.waiting() == count).await;
            blocker.let_go().await;
            happening.await;
        };
        let (_, outcomes, ()) = tokio::join!(
            self.store.create_task(&in_front),
            self.behind(requests),
            letting_go
        );
        outcomes
    }

    /// Runs `requests` once the one that has begun before them has its connection.
    async fn behind<T>(
        &self,
        requests: impl IntoIterator<Item = impl Future<Output = T>>,
    ) -> Vec<T> {
        while self.waiting() > 0 {
            tokio::task::yield_now().await;
        }
        join_all(requests).await
    }

    /// How many requests shared a statement or a transaction.
    fn batched(&self) -> usize {
        let metrics: Vec<_> = self
            .store
            .metrics()
            .iter()
            .flat_map(|one| one.collect())
            .collect();
        let requests = metrics
            .iter()
            .find(|metric| metric.name() == "db_batch_requests");
        let histogram = requests.unwrap().get_metric()[0].get_histogram();
        let alone = histogram.get_bucket()[0].cumulative_count();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small sum of natural numbers"
        )]
        let all = histogram.get_sample_sum() as usize;
        all - usize::try_from(alone).unwrap()
    }

    /// The tasks of all users but the one of the request in front.
    async fn titles(&self) -> Vec<String> {
        let titles = "SELECT title FROM tasks WHERE title <> 'in front' ORDER BY id";
        self.database.column(titles).await
    }

    /// Counts statements that change tasks from now on (PostgreSQL), or transactions (SQLite).
    async fn count_changes(&self) -> Changes {
        match &self.database {
            Database::Postgres(database) => {
                database
                    .execute(
                        "DROP TABLE IF EXISTS statements;
                         CREATE TABLE statements (number bigserial);
                         CREATE OR REPLACE FUNCTION count_statement() RETURNS trigger LANGUAGE plpgsql AS
                             $$ BEGIN INSERT INTO statements DEFAULT VALUES; RETURN NULL; END $$;
                         CREATE OR REPLACE TRIGGER count_statement AFTER INSERT OR UPDATE OR DELETE ON tasks
                             FOR EACH STATEMENT EXECUTE FUNCTION count_statement();",
                    )
                    .await;
                Changes { before: 0 }
            }
            Database::Sqlite(_) => Changes {
                before: self.commits(),
            },
        }
    }

    async fn changes_since(&self, changes: &Changes) -> usize {
        match &self.database {
            Database::Postgres(_) => {
                let count: Vec<i64> = self
                    .database
                    .column("SELECT count(*) FROM statements")
                    .await;
                usize::try_from(count[0]).unwrap()
            }
            Database::Sqlite(_) => self.commits() - changes.before,
        }
    }

    /// The commits in SQLite's write-ahead log: <https://www.sqlite.org/fileformat2.html#walformat>.
    fn commits(&self) -> usize {
        let Database::Sqlite(directory) = &self.database else {
            unreachable!("only SQLite has a write-ahead log file");
        };
        let log = std::fs::read(directory.path().join("todo.db-wal")).unwrap_or_default();
        if log.is_empty() {
            return 0;
        }
        let page = u32::from_be_bytes(log[8..12].try_into().unwrap());
        let salts = &log[16..24];
        log[32..]
            .chunks_exact(24 + page as usize)
            .filter(|frame| &frame[8..16] == salts && frame[4..8] != [0; 4])
            .count()
    }
}

struct Changes {
    before: usize,
}

fn owner(number: usize) -> UserId {
    UserId::new(format!("usr_{number}")).unwrap()
}

fn of(title: &str, number: usize) -> NewTask {
    NewTask {
        user_id: owner(number),
        ..task(title)
    }
}

fn numbered() -> Vec<NewTask> {
    let mut tasks: Vec<_> = (0..SHARING)
        .map(|number| of(&format!("task {number}"), number % 5))
        .collect();
    tasks[3].priority = Priority::Urgent;
    tasks[4].due_date = Some("2031-01-02T03:04:05.678901Z".parse().unwrap());
    tasks[5].description = Description::new("words").unwrap();
    tasks
}

/// Whether a task is the one that was asked for.
fn is_of(task: &Task, new: &NewTask) -> bool {
    task.title == new.title.as_str()
        && task.user_id == new.user_id.as_str()
        && task.priority == new.priority
        && task.due_date == new.due_date
        && task.description.as_deref() == new.description.as_ref().map(Description::as_str)
        && !task.completed
}

fn titled(title: &str) -> TaskChanges {
    TaskChanges {
        title: Some(Title::new(title).unwrap()),
        ..TaskChanges::default()
    }
}
