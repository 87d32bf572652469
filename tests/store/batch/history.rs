//! Histories of concurrent requests: each task behaves as if its requests ran one after another.
//!
//! Random requests of several clients share statements while some of them fail and connections
//! are lost. For each task there must be an order of its requests that explains every answer, in
//! which a request that ended before another one began comes first (linearizability).

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use rstest::rstest;
use todoctl::domain::{Task, TaskChanges, TaskId};
use todoctl::store::{Store, StoreError};

use super::{of, owner, titled};
use crate::store::connect;
use crate::support::Database;
use crate::support::Engine::{self, Postgres, Sqlite};

const CLIENTS: u64 = 12;
const REQUESTS: u64 = 25;
const TASKS: usize = 4;

/// What is known of a task: title and whether it is completed.
type Fields = (String, bool);

#[derive(Debug, Clone)]
enum Request {
    Read,
    Rename(String),
    Complete(bool),
    Delete,
}

/// The task as the answer shows it; whether there was one, for a delete.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Task(Option<Fields>),
    Deleted(bool),
    /// It was done, or not, and it is unknown which.
    Unknown,
    /// The same, but it may also be done later.
    Undecided,
}

#[derive(Debug, Clone)]
struct Event {
    request: Request,
    answer: Answer,
    began: u64,
    ended: u64,
}

impl Event {
    fn is_certain(&self) -> bool {
        !matches!(self.answer, Answer::Unknown | Answer::Undecided)
    }
}

impl Request {
    /// The fields after the request, and its answer.
    fn apply(&self, before: Option<&Fields>) -> (Option<Fields>, Answer) {
        let Some((title, completed)) = before.cloned() else {
            let answer = match self {
                Self::Delete => Answer::Deleted(false),
                _ => Answer::Task(None),
            };
            return (None, answer);
        };
        let after = match self {
            Self::Read => (title, completed),
            Self::Rename(title) => (title.clone(), completed),
            Self::Complete(completed) => (title, *completed),
            Self::Delete => return (None, Answer::Deleted(true)),
        };
        (Some(after.clone()), Answer::Task(Some(after)))
    }
}

/// Whether an order of the events explains all answers.
fn is_linearizable(events: &[Event], before: Option<Fields>) -> bool {
    assert!(events.len() <= 128, "too many for a bit set");
    let mut seen = HashSet::new();
    let mut open = vec![(0_u128, before)];
    while let Some((done, fields)) = open.pop() {
        if !seen.insert((done, fields.clone())) {
            continue;
        }
        let left = || {
            let is_left = move |index: &usize| done & (1 << index) == 0;
            (0..events.len()).filter(is_left)
        };
        if !left().any(|index| events[index].is_certain()) {
            return true;
        }
        // Nothing that is left ended before the next one began.
        let first_end = left()
            .filter(|index| events[*index].answer != Answer::Undecided)
            .map(|index| events[index].ended)
            .min();
        for index in left() {
            let event = &events[index];
            if first_end.is_some_and(|end| event.began > end) {
                continue;
            }
            let (after, answer) = event.request.apply(fields.as_ref());
            let done = done | (1 << index);
            if !event.is_certain() {
                open.push((done, fields.clone()));
                open.push((done, after));
            } else if event.answer == answer {
                open.push((done, after));
            }
        }
    }
    false
}

/// A sequence of numbers that a seed determines (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Titles with "bad" are refused at once, those with "late" when they are committed.
fn refusals(engine: Engine) -> &'static str {
    match engine {
        Sqlite => {
            "CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER bad BEFORE UPDATE ON tasks WHEN NEW.title LIKE '%bad%'
                 BEGIN SELECT RAISE(ABORT, 'refused'); END;
             CREATE TRIGGER late AFTER UPDATE ON tasks WHEN NEW.title LIKE '%late%'
                 BEGIN INSERT INTO child VALUES (1); END;"
        }
        Postgres => {
            "CREATE TABLE parent (id bigint PRIMARY KEY);
             CREATE TABLE child (parent bigint REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE FUNCTION bad() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
             CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN INSERT INTO child VALUES (1); RETURN NEW; END $$;
             CREATE TRIGGER bad BEFORE UPDATE ON tasks FOR EACH ROW WHEN (NEW.title LIKE '%bad%')
                 EXECUTE FUNCTION bad();
             CREATE TRIGGER late AFTER UPDATE ON tasks FOR EACH ROW WHEN (NEW.title LIKE '%late%')
                 EXECUTE FUNCTION late();"
        }
    }
}

fn fields(task: Option<Task>) -> Answer {
    Answer::Task(task.map(|task| (task.title, task.completed)))
}

/// `None` if nothing was done.
async fn answer(store: &Store, task: TaskId, request: &Request) -> Option<Answer> {
    let changes = match request {
        Request::Rename(title) => titled(title),
        Request::Complete(completed) => TaskChanges {
            completed: Some(*completed),
            ..TaskChanges::default()
        },
        Request::Read | Request::Delete => TaskChanges::default(),
    };
    let outcome = match request {
        Request::Read => store.task(&owner(1), task).await.map(fields),
        Request::Rename(_) | Request::Complete(_) => {
            let updated = store.update_task(&owner(1), task, &changes).await;
            updated.map(fields)
        }
        Request::Delete => store
            .delete_task(&owner(1), task)
            .await
            .map(Answer::Deleted),
    };
    match outcome {
        Ok(answer) => Some(answer),
        Err(StoreError::ConnectionLost(_)) => Some(Answer::Unknown),
        Err(StoreError::Undecided(_)) => Some(Answer::Undecided),
        Err(
            StoreError::Constraint { .. }
            | StoreError::Query(_)
            | StoreError::Connect(_)
            // On a busy machine.
            | StoreError::PoolTimeout { .. }
            | StoreError::TaskTimeout { .. },
        ) => None,
        Err(error) => panic!("{request:?}: {error:?}"),
    }
}

/// Ends the store's sessions again and again (PostgreSQL).
async fn lose_connections(database: &Database) {
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if database.engine() == Postgres {
            database
                .execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE application_name = 'todoctl' AND datname = current_database()",
                )
                .await;
        }
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_history_has_an_order(
    #[values(Sqlite, Postgres)] engine: Engine,
    #[values(1, 3)] connections: usize,
) {
    let database = Database::migrated(engine).await;
    database.execute(refusals(engine)).await;
    let store = connect(database.target(), connections).await;
    for seed in 0..6 {
        let mut tasks = Vec::new();
        while tasks.len() < TASKS {
            // The connection may be the one that was ended last.
            if let Ok(created) = store.create_task(&of("first", 1)).await {
                tasks.push(created.id);
            }
        }
        let clock = AtomicU64::new(0);
        let clients = join_all((0..CLIENTS).map(|client| {
            let (store, tasks, clock) = (&store, &tasks, &clock);
            async move {
                let mut random = Random(seed * CLIENTS + client);
                let mut events = Vec::new();
                for number in 0..REQUESTS {
                    // Few deletes: a task that is gone tells little.
                    let title = match random.below(10) {
                        0 => "bad",
                        1 => "late",
                        _ => "title",
                    };
                    let request = match random.below(40) {
                        0 => Request::Delete,
                        1..15 => Request::Read,
                        15..32 => Request::Rename(format!("{title} {client} {number}")),
                        _ => Request::Complete(random.below(2) == 0),
                    };
                    let task = usize::try_from(random.below(TASKS as u64)).unwrap();
                    let began = clock.fetch_add(1, Ordering::SeqCst);
                    let answer = answer(store, tasks[task], &request).await;
                    let ended = clock.fetch_add(1, Ordering::SeqCst);
                    if let Some(answer) = answer {
                        let event = Event {
                            request,
                            answer,
                            began,
                            ended,
                        };
                        events.push((task, event));
                    }
                }
                events
            }
        }));
        let breaking = lose_connections(&database);
        let events = tokio::select! {
            events = clients => events,
            () = breaking => unreachable!("it does not end"),
        };
        let events: Vec<_> = events.into_iter().flatten().collect();
        for number in 0..TASKS {
            let history: Vec<_> = events
                .iter()
                .filter(|(task, _)| *task == number)
                .map(|(_, event)| event.clone())
                .collect();
            assert!(
                is_linearizable(&history, Some(("first".to_owned(), false))),
                "seed {seed}: {history:#?}"
            );
        }
    }
}

/// Creates of several clients, some of which fail, while connections are lost: what was
/// acknowledged is there once, and what failed for certain is not.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_create_is_there_once(
    #[values(Sqlite, Postgres)] engine: Engine,
    #[values(1, 3)] connections: usize,
) {
    let database = Database::migrated(engine).await;
    let insert = refusals(engine).replace("UPDATE ON", "INSERT ON");
    database.execute(&insert).await;
    let store = connect(database.target(), connections).await;
    let clients = join_all((0..CLIENTS).map(async |client| {
        let mut created = Vec::new();
        for number in 0..REQUESTS {
            let kind = match number % 9 {
                4 => "bad",
                7 => "late",
                _ => "title",
            };
            let title = format!("{kind} {client} {number}");
            let outcome = store.create_task(&of(&title, 1)).await;
            created.push((title, outcome));
        }
        created
    }));
    let breaking = lose_connections(&database);
    let created = tokio::select! {
        created = clients => created,
        () = breaking => unreachable!("it does not end"),
    };
    let stored: Vec<String> = database.column("SELECT title FROM tasks").await;
    for (title, outcome) in created.into_iter().flatten() {
        let count = stored.iter().filter(|one| **one == title).count();
        match outcome {
            Ok(task) => assert_eq!((task.title, count), (title, 1)),
            Err(StoreError::OutcomeUnknown(_)) => assert!(count <= 1, "{title}"),
            Err(error) => assert_eq!(count, 0, "{title}: {error:?}"),
        }
    }
}

/// The check itself finds what no order explains.
#[test]
fn impossible_histories() {
    let before = || Some(("first".to_owned(), false));
    let event = |request, answer, began, ended| Event {
        request,
        answer,
        began,
        ended,
    };
    let rename = Request::Rename("second".to_owned());
    let shown = |title: &str| Answer::Task(Some((title.to_owned(), false)));
    let renamed = event(rename.clone(), shown("second"), 0, 1);
    let stale = event(Request::Read, shown("first"), 2, 3);
    assert!(!is_linearizable(&[renamed.clone(), stale], before()));
    let concurrent = event(Request::Read, shown("first"), 0, 3);
    assert!(is_linearizable(&[renamed.clone(), concurrent], before()));
    let unknown = event(rename, Answer::Unknown, 0, 1);
    let fresh = |title, began| event(Request::Read, shown(title), began, began + 1);
    assert!(is_linearizable(
        &[unknown.clone(), fresh("first", 2)],
        before()
    ));
    assert!(is_linearizable(
        &[unknown.clone(), fresh("second", 2)],
        before()
    ));
    let back = [unknown, fresh("second", 2), fresh("first", 4)];
    assert!(!is_linearizable(&back, before()));
    let twice = |began| event(Request::Delete, Answer::Deleted(true), began, began + 1);
    assert!(!is_linearizable(&[twice(0), twice(2)], before()));
}
