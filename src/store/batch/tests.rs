//! Panics and deadlines of requests that run together.

use futures_util::future::join_all;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;

use crate::config::SqliteTarget;
use crate::store::arg::args;
use crate::store::connect::SqliteAccess;
use crate::store::last_outcome::LastOutcome;
use crate::store::opener::Opener;
use crate::store::pool::Limits;
use crate::store::queue::acquire_histogram;

use super::*;

/// Debug builds panic where a statement has more parameters than arguments.
static READ: Batched = Batched {
    single: Sql::Common("SELECT $1 AS value"),
    several: "SELECT $1, $2",
    several_in_json: None,
    most: 64,
    writes: false,
    answers: Answers::Numbered,
};

static WRITE: Batched = Batched {
    single: Sql::Common("INSERT INTO numbers VALUES ($1) RETURNING value"),
    several: "SELECT $1, $2",
    several_in_json: Some("SELECT $1, $2"),
    most: 64,
    writes: true,
    answers: Answers::Inserted,
};

static SOUND: Batched = Batched {
    single: Sql::Common("INSERT INTO numbers VALUES ($1) RETURNING rowid AS id, value"),
    several: "",
    several_in_json: Some(
        "INSERT INTO numbers SELECT value ->> 0 FROM json_each($1) RETURNING rowid AS id, value",
    ),
    most: 64,
    writes: true,
    answers: Answers::Inserted,
};

struct World {
    pool: Arc<Pool>,
    batcher: Arc<Batcher>,
    directory: TempDir,
}

impl World {
    /// A batcher of one connection, which chooses statements as for `dialect`.
    async fn new(dialect: Dialect) -> Self {
        Self::limited(dialect, Duration::from_secs(18)).await
    }

    /// The same, where a statement waits no longer than `longest` for a lock.
    async fn limited(dialect: Dialect, longest: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("numbers.db");
        std::fs::File::create(&path).unwrap();
        let opener = Opener::Sqlite {
            target: SqliteTarget { path },
            access: SqliteAccess::Write,
            longest,
        };
        let limits = Limits {
            keep: 1,
            max: 1,
            wait: Duration::from_secs(5),
            statement: Duration::from_secs(18),
            max_age: Duration::MAX,
        };
        let outcome = Arc::new(LastOutcome::default());
        let pool = Arc::new(Pool::new(opener, limits, outcome, acquire_histogram()));
        let table = Sql::Common("CREATE TABLE numbers (value INTEGER)");
        work::write(&pool, &table, &args![]).await.unwrap();
        Self {
            batcher: Batcher::new(Arc::clone(&pool), dialect, BatchMetrics::new()),
            pool,
            directory,
        }
    }

    /// Runs the statement for a number.
    async fn call(&self, batched: &'static Batched, number: i64) -> Result<i64, StoreError> {
        let call = Call {
            sql: &batched.single,
            args: &args![number],
            writes: batched.writes,
            batched: Some(batched),
        };
        Ok(self.batcher.run(&call).await?.value("value")?)
    }

    /// Runs the statement for 1 to 4 together.
    async fn run(&self, batched: &'static Batched) -> Vec<Result<i64, StoreError>> {
        self.run_in(batched, Duration::from_secs(20), Duration::ZERO)
            .await
    }

    /// The same, where the last one has `limit`, after the connection was in use for `busy`.
    async fn run_in(
        &self,
        batched: &'static Batched,
        limit: Duration,
        busy: Duration,
    ) -> Vec<Result<i64, StoreError>> {
        let in_use = self.pool.lease().await.unwrap();
        let calls = (1..5).map(|number| {
            let limit = if number == 4 {
                limit
            } else {
                Duration::from_secs(20)
            };
            deadline::until(Instant::now() + limit, self.call(batched, number))
        });
        let letting_go = async {
            self.until_waiting(4).await;
            sleep(busy).await;
            in_use.put_back();
        };
        tokio::join!(join_all(calls), letting_go).0
    }

    /// Another process that keeps the file locked.
    async fn locked(&self) -> SqliteConnection {
        let file = self.directory.path().join("numbers.db");
        let options = SqliteConnectOptions::new().filename(file);
        let mut other = options.connect().await.unwrap();
        let lock = sqlx::raw_sql("BEGIN IMMEDIATE");
        lock.execute(&mut other).await.unwrap();
        other
    }

    async fn until_waiting(&self, count: usize) {
        while self.batcher.line.lock().requests.len() < count {
            yield_now().await;
        }
    }

    /// How many statements or transactions there were, and for how many requests.
    fn batches(&self) -> (u64, f64) {
        let requests = &self.batcher.metrics.requests;
        (requests.get_sample_count(), requests.get_sample_sum())
    }
}

/// Requests that arrive together share a statement although the connection is free, and one by
/// itself waits for nobody.
#[tokio::test]
async fn requests_that_arrive_together() {
    let world = World::new(Dialect::Sqlite).await;
    assert_eq!(world.call(&SOUND, 7).await.unwrap(), 7);
    assert_eq!(world.batches(), (1, 1.0));
    let values = join_all((1..5).map(|number| world.call(&SOUND, number))).await;
    let values: Vec<_> = values.into_iter().map(Result::unwrap).collect();
    assert_eq!(values, [1, 2, 3, 4]);
    assert_eq!(world.batches(), (2, 5.0));
}

/// Requests of other threads share statements with those of this one.
#[tokio::test]
async fn requests_of_several_runtimes() {
    let world = Arc::new(World::new(Dialect::Sqlite).await);
    let in_use = world.pool.lease().await.unwrap();
    let others = [10, 20].map(|first| {
        let world = Arc::clone(&world);
        tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let calls = (first..first + 2).map(|number| world.call(&SOUND, number));
            let values = runtime.block_on(join_all(calls));
            values.into_iter().map(Result::unwrap).collect::<Vec<_>>()
        })
    });
    let letting_go = async {
        world.until_waiting(5).await;
        in_use.put_back();
    };
    let (own, ()) = tokio::join!(world.call(&SOUND, 1), letting_go);
    assert_eq!(own.unwrap(), 1);
    for (other, expected) in others.into_iter().zip([[10, 11], [20, 21]]) {
        assert_eq!(other.await.unwrap(), expected);
    }
    assert_eq!(world.batches(), (1, 5.0));
}

#[tokio::test]
async fn reads_run_alone_after_a_panic() {
    let world = World::new(Dialect::Postgres).await;
    for _ in 0..2 {
        let values = world.run(&READ).await;
        let values: Vec<_> = values.into_iter().map(Result::unwrap).collect();
        assert_eq!(values, [1, 2, 3, 4]);
    }
    assert_eq!(world.batcher.metrics.alone.get(), 8);
    assert_eq!(world.batches(), (2, 8.0));
}

#[tokio::test]
async fn changes_are_undecided_after_a_panic() {
    let world = World::new(Dialect::Sqlite).await;
    for _ in 0..2 {
        for value in world.run(&WRITE).await {
            assert!(matches!(value, Err(StoreError::Undecided(_))), "{value:?}");
        }
    }
    let state = world.batcher.line.lock();
    assert!(state.load.connections == 0 && state.load.requests == 0 && !state.is_collecting);
}

#[tokio::test]
async fn a_request_in_a_hurry_does_not_limit_the_others() {
    let world = World::new(Dialect::Sqlite).await;
    let values = world
        .run_in(&SOUND, Duration::from_secs(8), Duration::ZERO)
        .await;
    let values: Vec<_> = values.into_iter().map(Result::unwrap).collect();
    assert_eq!(values, [1, 2, 3, 4]);
    assert_eq!(world.batches(), (1, 3.0), "1 to 3");
}

#[tokio::test]
async fn a_request_ends_at_its_deadline_while_others_wait() {
    let world = World::new(Dialect::Sqlite).await;
    let values = world
        .run_in(
            &SOUND,
            Duration::from_millis(30),
            Duration::from_millis(150),
        )
        .await;
    let values: Vec<_> = values.into_iter().map(Result::ok).collect();
    assert_eq!(values, [Some(1), Some(2), Some(3), None]);
    assert_eq!(world.batches(), (1, 3.0), "1 to 3");
    let stored = Sql::Common("SELECT count(*) AS stored FROM numbers");
    let stored = work::read(&world.pool, &stored, &args![]).await.unwrap();
    assert_eq!(stored.value::<i64>("stored").unwrap(), 3);
}

/// What another process has locked is waited for once, and not once for each request.
#[tokio::test]
async fn a_locked_file_is_waited_for_once() {
    let world = World::limited(Dialect::Sqlite, Duration::from_millis(100)).await;
    let _other = world.locked().await;
    for value in world.run(&SOUND).await {
        assert!(matches!(value, Err(StoreError::Transient(_))), "{value:?}");
    }
    assert_eq!(world.batcher.metrics.alone.get(), 0);
}

/// Where that was in vain, the next ones do not wait as long, until one succeeds.
#[tokio::test]
async fn a_file_that_stays_locked() {
    let world = World::limited(Dialect::Sqlite, Duration::from_millis(1100)).await;
    let wait = async || {
        let setting = Sql::Common("PRAGMA busy_timeout");
        let wait = work::read(&world.pool, &setting, &args![]).await.unwrap();
        wait.value::<i64>("timeout").unwrap()
    };
    let other = world.locked().await;
    assert_eq!(wait().await, 1100);
    let locked = world.call(&SOUND, 1).await;
    assert!(
        matches!(locked, Err(StoreError::Transient(_))),
        "{locked:?}"
    );
    assert_eq!(wait().await, 1000);
    drop(other);
    assert_eq!(wait().await, 1100);
}
