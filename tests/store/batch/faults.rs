//! Statements for several requests whose connection is lost in their middle.

use std::time::Duration;

use rstest::rstest;
use sqlx::{Connection as _, PgConnection};
use todoctl::clock::Clock;
use todoctl::config::{RotatingSecret, Secret};
use todoctl::domain::{TaskId, Timestamp};
use todoctl::store::{NewSession, SessionHash, Store, StoreError, TaskFilter};

use super::{Blocker, World, of, owner, titled};
use crate::support::{Database, Engine, Network, TestDatabase, database_config, eventually};

/// What happens to the connection while the shared statement runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The statement is committed, and its answer is lost.
    AnswerLost,
    /// The server does not notice, and another connection can be opened.
    Broken,
    /// The server does not notice, and no other connection can be opened.
    Unreachable,
}

/// A world behind a network. A statement that names a task "wait" waits for an advisory lock.
struct Remote {
    world: World,
    network: Network,
}

impl Remote {
    async fn new() -> Self {
        let database = TestDatabase::migrated().await;
        database
            .execute(
                "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN COALESCE(NEW, OLD); END $$;
                 CREATE TRIGGER wait BEFORE INSERT OR UPDATE ON tasks
                     FOR EACH ROW WHEN (NEW.title = 'wait') EXECUTE FUNCTION wait();
                 CREATE TRIGGER wait_to_delete BEFORE DELETE ON tasks
                     FOR EACH ROW WHEN (OLD.title = 'wait') EXECUTE FUNCTION wait();",
            )
            .await;
        let mut target = database.target();
        let network = Network::before(&mut target).await;
        let mut config = database_config(target, 1);
        // A change whose outcome is uncertain is waited for until it is refused: two seconds longer.
        config.pool.statement_timeout = Duration::from_secs(3);
        let store = Store::connect(&config, Clock::system()).await.unwrap();
        let world = World {
            database: Database::Postgres(database),
            store,
        };
        Self { world, network }
    }

    /// Creates a task of the owner 0, one of the owner 1, and so on.
    async fn tasks(&self, titles: &[&str]) -> Vec<TaskId> {
        let mut ids = Vec::new();
        for (number, title) in titles.iter().enumerate() {
            let task = self.world.store.create_task(&of(title, number)).await;
            ids.push(task.unwrap().id);
        }
        ids
    }

    /// Runs requests in one statement, in the middle of which the fault happens.
    async fn together<T>(
        &self,
        fault: Fault,
        requests: impl IntoIterator<Item = impl Future<Output = Result<T, StoreError>>>,
    ) -> Vec<Result<T, StoreError>> {
        let url = self.world.database.url();
        let mut holder = PgConnection::connect(&url).await.unwrap();
        let lock = sqlx::raw_sql("SELECT pg_advisory_lock(42)");
        lock.execute(&mut holder).await.unwrap();
        let happening = async {
            self.until_waiting(1).await;
            match fault {
                Fault::AnswerLost => {
                    self.network.cut();
                    let unlock = sqlx::raw_sql("SELECT pg_advisory_unlock(42)");
                    unlock.execute(&mut holder).await.unwrap();
                }
                Fault::Broken => self.network.break_present(),
                Fault::Unreachable => {
                    self.network.close();
                    self.network.break_present();
                }
            }
        };
        let outcomes = Box::pin(self.world.together_while(requests, happening)).await;
        // What still waits goes on now.
        holder.close().await.unwrap();
        self.until_waiting(0).await;
        self.network.open();
        outcomes
    }

    async fn until_waiting(&self, count: i64) {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        eventually("statements wait for the lock", async || {
            self.world.database.column::<i64>(waiting).await == [count]
        })
        .await;
    }
}

/// Contract 11.3: a task that may have been stored is looked for, and never stored twice.
#[rstest]
#[case(Fault::AnswerLost)]
#[case(Fault::Broken)]
#[case(Fault::Unreachable)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creates_whose_connection_is_lost(#[case] fault: Fault) {
    let remote = Remote::new().await;
    let titles = ["one", "wait", "three", "four", "five"];
    let tasks: Vec<_> = titles.iter().map(|title| of(title, title.len())).collect();
    let store = &remote.world.store;
    let created = remote
        .together(fault, tasks.iter().map(|task| store.create_task(task)))
        .await;
    for (created, title) in created.into_iter().zip(titles) {
        match fault {
            Fault::AnswerLost => assert_eq!(created.unwrap().title, title),
            Fault::Broken => assert!(
                matches!(created, Err(StoreError::ConnectionLost(_))),
                "{created:?}"
            ),
            Fault::Unreachable => assert!(
                matches!(created, Err(StoreError::OutcomeUnknown(_))),
                "{created:?}"
            ),
        }
    }
    let stored = remote.world.titles().await;
    match fault {
        Fault::AnswerLost => assert_eq!(stored, titles),
        // The session was ended, or refused them.
        Fault::Broken | Fault::Unreachable => assert_eq!(stored, [""; 0]),
    }
    assert!(store.create_task(&of("afterwards", 1)).await.is_ok());
}

/// A change whose outcome is uncertain is not made again.
#[rstest]
#[case(Fault::AnswerLost)]
#[case(Fault::Broken)]
#[case(Fault::Unreachable)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_whose_connection_is_lost(#[case] fault: Fault) {
    let remote = Remote::new().await;
    let store = &remote.world.store;
    let ids = remote.tasks(&["before"; 5]).await;
    let changes = remote.world.count_changes().await;
    let updated = remote
        .together(
            fault,
            ids.iter().enumerate().map(async |(number, id)| {
                let title = if number == 1 { "wait" } else { "after" };
                store.update_task(&owner(number), *id, &titled(title)).await
            }),
        )
        .await;
    for updated in updated {
        match fault {
            Fault::AnswerLost | Fault::Broken => assert!(
                matches!(updated, Err(StoreError::ConnectionLost(_))),
                "{updated:?}"
            ),
            Fault::Unreachable => assert!(
                matches!(updated, Err(StoreError::Undecided(_))),
                "{updated:?}"
            ),
        }
    }
    let titles = remote.world.titles().await;
    let made = remote.world.changes_since(&changes).await;
    if fault == Fault::AnswerLost {
        assert_eq!(titles, ["after", "wait", "after", "after", "after"]);
        assert_eq!(made, 2);
    } else {
        // What is answered as failed does not take effect later.
        assert_eq!(titles, ["before"; 5]);
        assert_eq!(made, 1, "the one in front");
    }
    for (number, id) in ids.iter().enumerate() {
        let updated = store
            .update_task(&owner(number), *id, &titled("again"))
            .await;
        assert_eq!(updated.unwrap().unwrap().title, "again");
    }
}

/// Contract 10.36: a statement for several requests that arrives late is refused for all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_arrive_late() {
    let remote = Remote::new().await;
    let store = &remote.world.store;
    let ids = remote.tasks(&["before"; 5]).await;
    let changes = remote.world.count_changes().await;
    // The first waits for the lock, and the others for its connection.
    let blocker = Blocker::of(&remote.world.database).await;
    let in_front = of("in front", 0);
    let requests = ids.iter().enumerate().map(async |(number, id)| {
        store
            .update_task(&owner(number), *id, &titled("late"))
            .await
    });
    let holding = async {
        let at_the_lock = "SELECT count(*) FROM pg_locks WHERE locktype = 'relation'
             AND NOT granted AND relation = 'tasks'::regclass
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        eventually("all wait", async || {
            remote.world.waiting() == ids.len()
                && remote.world.database.column::<i64>(at_the_lock).await == [1]
        })
        .await;
        remote.network.hold_all();
        blocker.let_go().await;
    };
    let (first, updated, ()) = tokio::join!(
        store.create_task(&in_front),
        remote.world.behind(requests),
        Box::pin(holding)
    );
    assert!(first.is_ok(), "its answer was not held up: {first:?}");
    for updated in updated {
        assert!(
            matches!(updated, Err(StoreError::Undecided(_))),
            "{updated:?}"
        );
    }
    remote.network.open();
    remote.network.delivered().await;
    remote.until_waiting(0).await;
    let again = store.update_task(&owner(0), ids[0], &titled("again")).await;
    assert!(again.is_ok());
    let titles = remote.world.titles().await;
    assert_eq!(titles, ["again", "before", "before", "before", "before"]);
    assert_eq!(remote.world.changes_since(&changes).await, 2);
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletes_whose_connection_is_lost(
    #[values(Fault::AnswerLost, Fault::Broken, Fault::Unreachable)] fault: Fault,
    #[values(false, true)] as_list: bool,
) {
    let remote = Remote::new().await;
    let store = &remote.world.store;
    let titles = ["one", "wait", "three", "four", "five"];
    let ids = remote.tasks(&titles).await;
    let deletes = ids.iter().enumerate().map(async |(number, id)| {
        if as_list {
            store.delete_tasks(&owner(number), &[*id]).await.map(drop)
        } else {
            store.delete_task(&owner(number), *id).await.map(drop)
        }
    });
    for deleted in remote.together(fault, deletes).await {
        match fault {
            Fault::AnswerLost | Fault::Broken => assert!(
                matches!(deleted, Err(StoreError::ConnectionLost(_))),
                "{deleted:?}"
            ),
            Fault::Unreachable => assert!(
                matches!(deleted, Err(StoreError::Undecided(_))),
                "{deleted:?}"
            ),
        }
    }
    // What is answered as failed does not take effect later.
    let left: &[&str] = if fault == Fault::AnswerLost {
        &[]
    } else {
        &titles
    };
    assert_eq!(remote.world.titles().await, left);
    assert_eq!(remote.world.batched(), titles.len());
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Task,
    List,
    Session,
}

/// Reads whose connection is lost are run again.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_whose_connection_is_lost(
    #[values(Read::Task, Read::List, Read::Session)] kind: Read,
) {
    let world = World::new(Engine::Postgres).await;
    let store = &world.store;
    let secrets = RotatingSecret {
        current: Secret::new("current"),
        previous: Vec::new(),
    };
    let all = TaskFilter::default();
    let mut tasks = Vec::new();
    for number in 0..5 {
        tasks.push(store.create_task(&of("kept", number)).await.unwrap());
        // From now on its list is known to be short.
        store.tasks(&owner(number), &all, 20, 0).await.unwrap();
        let session = NewSession {
            hash: SessionHash::new(&secrets.current, &format!("token {number}")),
            user: owner(number),
            label: None,
            expires_at: Timestamp::MAX,
        };
        store.create_session(&session).await.unwrap();
    }
    let read = async |number: usize| match kind {
        Read::Task => {
            let read = store.task(&owner(number), tasks[number].id).await;
            assert_eq!(read.unwrap().as_ref(), Some(&tasks[number]));
        }
        Read::List => {
            let read = store.tasks(&owner(number), &all, 20, 0).await;
            assert_eq!(read.unwrap().tasks, [tasks[number].clone()]);
        }
        Read::Session => {
            let token = format!("token {number}");
            let read = store.session_user(&secrets, &token).await;
            assert_eq!(read.unwrap(), Some(owner(number)));
        }
    };
    let table = match kind {
        Read::Task | Read::List => "tasks",
        Read::Session => "todoctl_sessions",
    };
    let until_waiting = async |count: i64| {
        let waiting = format!(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        );
        eventually("statements wait for the table", async || {
            world.database.column::<i64>(&waiting).await == [count]
        })
        .await;
    };
    let first = Blocker::of_table(&world.database, table).await;
    let breaking = async {
        until_waiting(1).await;
        eventually("the others wait", async || world.waiting() == 4).await;
        // It gets the table after the statement in front, and before the shared one.
        let second = async {
            let second = Blocker::of_table(&world.database, table).await;
            until_waiting(1).await;
            world
                .database
                .execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE application_name = 'todoctl' AND datname = current_database()",
                )
                .await;
            second.let_go().await;
        };
        let passing = async {
            until_waiting(2).await;
            first.let_go().await;
        };
        tokio::join!(second, passing);
    };
    tokio::join!(read(0), world.behind((1..5).map(read)), breaking);
    assert_eq!(world.batched(), 4);
}
