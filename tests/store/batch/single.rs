//! Requests that run together are answered as if each had run by itself.

use std::sync::Mutex;

use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rstest::rstest;
use todoctl::domain::{IdempotencyKey, Task, TaskChanges, TaskId};
use todoctl::store::{Store, TaskFilter};

use super::{Blocker, of, owner, titled};
use crate::store::connect;
use crate::support::Database;
use crate::support::Engine::{self, Postgres, Sqlite};

/// Tasks at the start of each history; their owners are two users in turns.
const TASKS: usize = 4;

/// A request; its user is the owner of the task, or another one.
#[derive(Debug, Clone)]
enum Request {
    Create {
        user: usize,
        title: u8,
    },
    CreateOnce {
        user: usize,
        key: u8,
    },
    Rename {
        task: usize,
        is_own: bool,
        title: u8,
    },
    RenameIf {
        task: usize,
        expected: u8,
        title: u8,
    },
    Complete {
        task: usize,
    },
    Delete {
        task: usize,
    },
    DeleteList {
        user: usize,
        tasks: Vec<usize>,
    },
}

fn request() -> impl Strategy<Value = Request> {
    let (user, task, title) = (0..2_usize, 0..TASKS, 0..4_u8);
    prop_oneof![
        3 => (user.clone(), title.clone())
            .prop_map(|(user, title)| Request::Create { user, title }),
        2 => (user.clone(), 0..2_u8).prop_map(|(user, key)| Request::CreateOnce { user, key }),
        6 => (task.clone(), prop::bool::weighted(0.9), title.clone())
            .prop_map(|(task, is_own, title)| Request::Rename { task, is_own, title }),
        3 => (task.clone(), title.clone(), title)
            .prop_map(|(task, expected, title)| Request::RenameIf { task, expected, title }),
        2 => task.clone().prop_map(|task| Request::Complete { task }),
        1 => task.clone().prop_map(|task| Request::Delete { task }),
        1 => (user, prop::collection::vec(task, 0..3))
            .prop_map(|(user, tasks)| Request::DeleteList { user, tasks }),
    ]
}

/// A title by its number; the database refuses the first one.
fn title(number: u8) -> String {
    if number == 0 {
        "bad".to_owned()
    } else {
        format!("title {number}")
    }
}

/// One of two databases in which the same happens.
struct Side {
    database: Database,
    store: Store,
    tasks: Mutex<Vec<TaskId>>,
}

impl Side {
    async fn new(engine: Engine) -> Self {
        let database = Database::migrated(engine).await;
        database
            .execute(if engine == Sqlite {
                "CREATE TRIGGER bad BEFORE INSERT ON tasks WHEN NEW.title = 'bad'
                     BEGIN SELECT RAISE(ABORT, 'refused'); END;
                 CREATE TRIGGER worse BEFORE UPDATE ON tasks WHEN NEW.title = 'bad'
                     BEGIN SELECT RAISE(ABORT, 'refused'); END;"
            } else {
                "CREATE FUNCTION bad() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN RAISE 'refused'; END $$;
                 CREATE TRIGGER bad BEFORE INSERT OR UPDATE ON tasks FOR EACH ROW
                     WHEN (NEW.title = 'bad') EXECUTE FUNCTION bad();"
            })
            .await;
        let store = connect(database.target(), 1).await;
        Self {
            database,
            store,
            tasks: Mutex::default(),
        }
    }

    async fn begin(&self) {
        self.database
            .execute("DELETE FROM tasks; DELETE FROM todoctl_idempotency_keys")
            .await;
        self.tasks.lock().unwrap().clear();
        for number in 0..TASKS {
            let created = self.store.create_task(&of("title 1", number % 2)).await;
            self.tasks.lock().unwrap().push(created.unwrap().id);
        }
    }

    fn id(&self, task: usize) -> TaskId {
        self.tasks.lock().unwrap()[task]
    }

    /// A task without what differs between the two.
    fn show(&self, task: &Task) -> String {
        let number = self
            .tasks
            .lock()
            .unwrap()
            .iter()
            .position(|id| *id == task.id);
        let Task {
            user_id,
            title,
            completed,
            ..
        } = task;
        format!("{number:?} of {user_id}: {title} {completed}")
    }

    /// The answer to a request.
    async fn answer(&self, request: &Request) -> String {
        let user = |task: usize, is_own: bool| owner(if is_own { task % 2 } else { 7 });
        let shown = |task: Option<Task>| task.map(|task| self.show(&task));
        let store = &self.store;
        match *request {
            Request::Create {
                user,
                title: number,
            } => {
                let created = store.create_task(&of(&title(number), user)).await;
                format!("{:?}", created.ok().map(|task| self.show(&task)))
            }
            Request::CreateOnce { user, key } => {
                let key_text = IdempotencyKey::new(&[b'k', b'0' + key]).unwrap();
                let new = of(&title(key), user);
                let answer = |task: &Task| self.show(task);
                let created = store.create_task_once(&new, &key_text, "f", answer).await;
                format!("{:?}", created.ok())
            }
            Request::Rename {
                task,
                is_own,
                title: number,
            } => {
                let changes = titled(&title(number));
                let (user, id) = (user(task, is_own), self.id(task));
                let updated = store.update_task(&user, id, &changes).await;
                format!("{:?}", updated.ok().map(shown))
            }
            Request::RenameIf {
                task,
                expected,
                title: number,
            } => {
                let (changes, expected) = (titled(&title(number)), title(expected));
                let condition = |task: &Task| task.title == expected;
                let (owner, id) = (user(task, true), self.id(task));
                let updated = store.update_task_if(&owner, id, &changes, condition).await;
                format!("{:?}", updated.ok().as_ref().map(std::mem::discriminant))
            }
            Request::Complete { task } => {
                let changes = TaskChanges {
                    completed: Some(true),
                    ..TaskChanges::default()
                };
                let (user, id) = (user(task, true), self.id(task));
                let updated = store.update_task(&user, id, &changes).await;
                format!("{:?}", shown(updated.unwrap()))
            }
            Request::Delete { task } => {
                let deleted = store.delete_task(&user(task, true), self.id(task)).await;
                format!("{:?}", deleted.unwrap())
            }
            Request::DeleteList { user, ref tasks } => {
                let ids: Vec<_> = tasks.iter().map(|task| self.id(*task)).collect();
                let deleted = store.delete_tasks(&owner(user), &ids).await.unwrap();
                let mut deleted: Vec<_> = tasks
                    .iter()
                    .filter(|task| deleted.contains(&self.id(**task)))
                    .collect();
                deleted.sort_unstable();
                format!("{deleted:?}")
            }
        }
    }

    /// What a user reads: a task that may be another user's, or a list.
    async fn read(&self, task: usize, user: usize) -> String {
        let all = TaskFilter::default();
        if task < TASKS {
            let read = self.store.task(&owner(user), self.id(task)).await;
            format!("{:?}", read.unwrap().map(|task| self.show(&task)))
        } else {
            let page = self.store.tasks(&owner(user), &all, 20, 0).await.unwrap();
            let mut tasks: Vec<_> = page.tasks.iter().map(|task| self.show(task)).collect();
            // Those that were created together may be in any order.
            tasks.sort_unstable();
            format!("{} {tasks:?}", page.total)
        }
    }

    /// All of them at once, while the only connection is in use.
    async fn together(&self, requests: Vec<impl Future<Output = String>>) -> Vec<String> {
        let blocker = Blocker::of(&self.database).await;
        let in_front = of("in front", 9);
        let (_, answers, ()) = tokio::join!(
            self.store.create_task(&in_front),
            join_all(requests),
            // All have arrived by now.
            blocker.let_go()
        );
        answers
    }
}

/// Everything that can be read: each task and the list of each user.
fn everything() -> impl Iterator<Item = (usize, usize)> {
    (0..=TASKS).flat_map(|task| [(task, 0), (task, 1)])
}

/// Random histories: each round of requests runs at once on one side, and one after another on the
/// other. Requests for one task, and creates with one key, take place in the order of arrival, so
/// the answers are the same, and so is everything that can be read afterwards.
#[rstest]
fn batched_and_single_execution_agree(#[values(Sqlite, Postgres)] engine: Engine) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (batched, single) =
        runtime.block_on(async { (Side::new(engine).await, Side::new(engine).await) });
    let mut runner = TestRunner::new(Config {
        cases: 24,
        failure_persistence: None,
        ..Config::default()
    });
    let rounds = prop::collection::vec(prop::collection::vec(request(), 2..14), 1..4);
    let outcome = runner.run(&rounds, |rounds| {
        runtime.block_on(async {
            batched.begin().await;
            single.begin().await;
            for requests in &rounds {
                let answers = requests.iter().map(|request| batched.answer(request));
                let together = batched.together(answers.collect()).await;
                let mut one_by_one = Vec::new();
                for request in requests {
                    one_by_one.push(single.answer(request).await);
                }
                prop_assert_eq!(together, one_by_one);
                let reads = everything().map(|(task, user)| batched.read(task, user));
                let together = batched.together(reads.collect()).await;
                let mut one_by_one = Vec::new();
                for (task, user) in everything() {
                    one_by_one.push(single.read(task, user).await);
                }
                prop_assert_eq!(together, one_by_one);
            }
            Ok(())
        })
    });
    outcome.unwrap();
}
