//! What changes that run together share, and what they do not.

use std::collections::BTreeSet;
use std::sync::Mutex;

use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, join_all};
use rstest::rstest;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use todoctl::domain::{Description, Patch, Priority, Task, TaskChanges, Title, UserId};
use todoctl::store::StoreError;

use super::{SHARING, World, is_of, numbered, of, owner, titled};
use crate::store::connect;
use crate::support::Database;
use crate::support::Engine::{self, Postgres, Sqlite};

#[rstest]
#[tokio::test]
async fn creates_share_a_commit(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::new(engine).await;
    let changes = world.count_changes().await;
    let tasks = numbered();
    let created = world
        .together(tasks.iter().map(|task| world.store.create_task(task)))
        .await;
    for (created, new) in created.iter().zip(&tasks) {
        let created = created.as_ref().unwrap();
        assert!(is_of(created, new), "{created:?} for {new:?}");
        let read = world.store.task(&new.user_id, created.id).await.unwrap();
        assert_eq!(read.as_ref(), Some(created));
    }
    let ids: BTreeSet<_> = created
        .iter()
        .map(|task| task.as_ref().unwrap().id)
        .collect();
    assert_eq!(ids.len(), SHARING);
    assert_eq!(world.changes_since(&changes).await, 2, "one was in front");
}

/// A statement for several requests sets what a statement for one does.
#[rstest]
#[tokio::test]
async fn changes_share_a_commit(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::new(engine).await;
    let store = &world.store;
    let mut tasks = Vec::new();
    for new in numbered() {
        tasks.push(store.create_task(&new).await.unwrap());
    }
    let everything = TaskChanges {
        title: Some(Title::new("new title").unwrap()),
        description: Patch::Set(Description::new("new words").unwrap()),
        completed: Some(true),
        priority: Some(Priority::Low),
        due_date: Patch::Set(Some("2032-01-02T03:04:05Z".parse().unwrap())),
    };
    let cleared = TaskChanges {
        description: Patch::Set(None),
        due_date: Patch::Set(None),
        ..TaskChanges::default()
    };
    let wanted = |index: usize| match index % 3 {
        0 => everything.clone(),
        1 => cleared.clone(),
        _ => titled("renamed"),
    };
    let expected = |index: usize| {
        let mut task = tasks[index].clone();
        match index % 3 {
            0 => {
                "new title".clone_into(&mut task.title);
                task.description = Some("new words".to_owned());
                task.completed = true;
                task.priority = Priority::Low;
                task.due_date = everything.due_date.value().copied();
            }
            1 => (task.description, task.due_date) = (None, None),
            _ => "renamed".clone_into(&mut task.title),
        }
        task
    };
    let changes = world.count_changes().await;
    let updated = world
        .together(tasks.iter().enumerate().map(async |(index, task)| {
            let owner = UserId::new(task.user_id.clone()).unwrap();
            store.update_task(&owner, task.id, &wanted(index)).await
        }))
        .await;
    assert_eq!(world.changes_since(&changes).await, 2, "one was in front");
    for (index, updated) in updated.into_iter().enumerate() {
        let updated = updated.unwrap().unwrap();
        let mut expected = expected(index);
        assert!(updated.updated_at > expected.updated_at);
        expected.updated_at = updated.updated_at;
        assert_eq!(updated, expected);
        let owner = UserId::new(updated.user_id.clone()).unwrap();
        let read = store.task(&owner, updated.id).await.unwrap();
        assert_eq!(read, Some(updated));
    }

    let changes = world.count_changes().await;
    let deleted = world
        .together(tasks.iter().map(async |task| {
            let owner = UserId::new(task.user_id.clone()).unwrap();
            store.delete_task(&owner, task.id).await
        }))
        .await;
    assert!(deleted.into_iter().all(|deleted| deleted.unwrap()));
    assert_eq!(world.changes_since(&changes).await, 2, "one was in front");
    assert_eq!(world.titles().await, [""; 0]);
}

/// A task of another user, or of nobody, is not found, and those beside it are.
#[rstest]
#[tokio::test]
async fn what_is_not_found_stays(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::new(engine).await;
    let store = &world.store;
    let task = store.create_task(&of("mine", 1)).await.unwrap();
    let other = store.create_task(&of("other", 2)).await.unwrap();
    let wanted = [
        (owner(2), task.id),
        (owner(1), task.id),
        (owner(1), 987_654),
    ];
    let changes = titled("changed");
    let updated = world
        .together(
            wanted
                .iter()
                .map(|(owner, id)| store.update_task(owner, *id, &changes)),
        )
        .await;
    let found: Vec<_> = updated
        .into_iter()
        .map(|task| task.unwrap().is_some())
        .collect();
    assert_eq!(found, [false, true, false]);
    let wanted = [
        (owner(1), other.id),
        (owner(1), task.id),
        (owner(1), 987_654),
    ];
    let deleted = world
        .together(
            wanted
                .iter()
                .map(|(owner, id)| store.delete_task(owner, *id)),
        )
        .await;
    let found: Vec<_> = deleted.into_iter().map(Result::unwrap).collect();
    assert_eq!(found, [false, true, false]);
    assert_eq!(world.titles().await, ["other"]);
}

/// Changes of one task that arrive together all happen, in their order, whichever way each of them
/// takes: with others, alone after what it shared has failed, or in a transaction of its own.
#[rstest]
#[tokio::test]
async fn changes_of_one_task_keep_their_order(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::new(engine).await;
    let store = &world.store;
    world
        .database
        .execute(if engine == Sqlite {
            "CREATE TRIGGER refuse BEFORE UPDATE ON tasks WHEN NEW.title = 'bad'
                 BEGIN SELECT RAISE(ABORT, 'refused'); END;"
        } else {
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE 'refused'; END $$;
             CREATE TRIGGER refuse BEFORE UPDATE ON tasks FOR EACH ROW
                 WHEN (NEW.title = 'bad') EXECUTE FUNCTION refuse();"
        })
        .await;
    let task = store.create_task(&of("first", 1)).await.unwrap();
    let other = store.create_task(&of("other", 2)).await.unwrap();
    let titles: Vec<_> = (0..6).map(|number| format!("title {number}")).collect();
    let seen = Mutex::new(Vec::new());
    let update = async |number: usize| {
        let title = &titles[number];
        let changes = TaskChanges {
            completed: (number == 1).then_some(true),
            ..titled(title)
        };
        if number % 3 == 2 {
            let condition = |before: &Task| {
                seen.lock().unwrap().push(before.title.clone());
                true
            };
            store
                .update_task_if(&owner(1), task.id, &changes, condition)
                .await
                .unwrap();
        } else {
            let updated = store.update_task(&owner(1), task.id, &changes).await;
            let updated = updated.unwrap().unwrap();
            assert_eq!((&updated.title, updated.completed), (title, number > 0));
        }
    };
    let refused = async {
        let updated = store.update_task(&owner(2), other.id, &titled("bad")).await;
        assert!(updated.is_err());
    };
    let mut requests: Vec<LocalBoxFuture<'_, ()>> = vec![refused.boxed_local()];
    requests.extend((0..titles.len()).map(|number| update(number).boxed_local()));
    // The first change waits for the connection, and the others wait for it.
    world.blocked(requests, 2, async {}).await;
    assert_eq!(*seen.lock().unwrap(), ["title 1", "title 4"]);
    assert_eq!(world.titles().await, ["title 5", "other"]);
    let delete = async |_| store.delete_task(&owner(1), task.id).await.unwrap();
    let deleted = world
        .blocked((0..3).map(delete).collect(), 1, async {})
        .await;
    assert_eq!(deleted, [true, false, false]);
}

/// A statement that fails for one request fails for no other.
#[rstest]
#[case::constraint(
    "CREATE UNIQUE INDEX one_title ON tasks (title);",
    "CREATE UNIQUE INDEX one_title ON tasks (title);"
)]
#[case::error(
    "CREATE TRIGGER refuse BEFORE INSERT ON tasks WHEN NEW.title = 'bad' AND
         EXISTS (SELECT 1 FROM tasks WHERE title = 'in front')
         BEGIN SELECT RAISE(ABORT, 'refused'); END;",
    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE 'refused'; END $$;
     CREATE TRIGGER refuse BEFORE INSERT ON tasks FOR EACH ROW WHEN (NEW.title = 'bad')
         EXECUTE FUNCTION refuse();"
)]
#[case::rollback(
    "CREATE TRIGGER refuse BEFORE INSERT ON tasks WHEN NEW.title = 'bad' AND
         EXISTS (SELECT 1 FROM tasks WHERE title = 'in front')
         BEGIN SELECT RAISE(ROLLBACK, 'refused'); END;",
    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE 'refused'; END $$;
     CREATE TRIGGER refuse AFTER INSERT ON tasks FOR EACH ROW WHEN (NEW.title = 'bad')
         EXECUTE FUNCTION refuse();"
)]
#[case::commit(
    "CREATE TABLE parent (id INTEGER PRIMARY KEY);
     CREATE TABLE child (parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
     CREATE TRIGGER violate AFTER INSERT ON tasks WHEN NEW.title = 'bad'
         BEGIN INSERT INTO child VALUES (1); END;",
    "CREATE TABLE parent (id bigint PRIMARY KEY);
     CREATE TABLE child (parent bigint REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
     CREATE FUNCTION violate() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO child VALUES (1); RETURN NEW; END $$;
     CREATE TRIGGER violate AFTER INSERT ON tasks FOR EACH ROW WHEN (NEW.title = 'bad')
         EXECUTE FUNCTION violate();"
)]
#[tokio::test]
async fn one_fails_alone(
    #[values(Sqlite, Postgres)] engine: Engine,
    #[case] sqlite: &str,
    #[case] postgres: &str,
) {
    let world = World::new(engine).await;
    let store = &world.store;
    world
        .database
        .execute(if engine == Sqlite { sqlite } else { postgres })
        .await;
    let mut tasks = numbered();
    // The unique index refuses the second one.
    let bad = ["bad", "bad"].map(|title| of(title, 1));
    tasks.splice(4..4, bad);
    let created = world
        .together(tasks.iter().map(|task| store.create_task(task)))
        .await;
    let mut refused = 0;
    for (created, new) in created.iter().zip(&tasks) {
        match created {
            Ok(created) => assert!(is_of(created, new), "{created:?} for {new:?}"),
            Err(error) => {
                assert_eq!(new.title.as_str(), "bad", "{error}");
                assert!(
                    matches!(error, StoreError::Constraint { .. } | StoreError::Query(_)),
                    "{error:?}"
                );
                refused += 1;
            }
        }
    }
    let stored: Vec<_> = created
        .iter()
        .flatten()
        .map(|task| task.title.clone())
        .collect();
    assert_eq!(
        BTreeSet::from_iter(world.titles().await),
        BTreeSet::from_iter(stored.clone())
    );
    assert_eq!(world.titles().await.len(), stored.len());
    assert!(refused > 0);
}

/// A row that somebody else has locked keeps only those waiting that want it.
#[tokio::test]
async fn a_locked_row_holds_up_nobody_else() {
    let database = Database::migrated(Postgres).await;
    let store = connect(database.target(), 3).await;
    let mut tasks = Vec::new();
    for new in numbered() {
        tasks.push(store.create_task(&new).await.unwrap());
    }
    let mut other = PgConnection::connect(&database.url()).await.unwrap();
    let lock = format!(
        "BEGIN; UPDATE tasks SET completed = true WHERE id = {}",
        tasks[2].id
    );
    sqlx::raw_sql(AssertSqlSafe(lock))
        .execute(&mut other)
        .await
        .unwrap();
    let world = World { database, store };
    let update = async |task: &Task| {
        let owner = UserId::new(task.user_id.clone()).unwrap();
        let updated = world
            .store
            .update_task(&owner, task.id, &titled("changed"))
            .await;
        updated.unwrap().unwrap()
    };
    let mut locked = std::pin::pin!(update(&tasks[2]));
    let rest = tasks.iter().filter(|task| task.id != tasks[2].id);
    tokio::select! {
        _ = &mut locked => panic!("it is locked"),
        updated = join_all(rest.map(update)) => assert_eq!(updated.len(), SHARING - 1),
    }
    other.close().await.unwrap();
    assert_eq!(locked.await.title, "changed");
}

/// A request whose caller is gone before its statement was sent is not run.
#[rstest]
#[tokio::test]
async fn nobody_waits_for_it(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::new(engine).await;
    let store = &world.store;
    let tasks = numbered();
    let created = world
        .together(tasks.iter().enumerate().map(async |(index, task)| {
            let create = store.create_task(task);
            if index % 2 == 0 {
                create.await.map(Some)
            } else {
                // Dropped once all wait, before the statement is sent.
                tokio::select! {
                    created = create => created.map(Some),
                    () = async {
                        while world.waiting() < SHARING {
                            tokio::task::yield_now().await;
                        }
                    } => Ok(None),
                }
            }
        }))
        .await;
    let kept: Vec<_> = created
        .into_iter()
        .filter_map(Result::unwrap)
        .map(|task| task.title)
        .collect();
    assert_eq!(kept.len(), SHARING / 2);
    assert_eq!(world.titles().await, kept);
}
