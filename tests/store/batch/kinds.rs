//! Every kind of change that shares a statement or a transaction.

use rstest::rstest;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use todoctl::domain::{TaskChanges, TaskId};
use todoctl::store::StoreError;

use super::{World, of, owner, titled};
use crate::store::connect;
use crate::support::Database;
use crate::support::Engine::{self, Postgres, Sqlite};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Rename,
    Complete,
    Delete,
    DeleteList,
}

impl Change {
    /// Makes the change; whether there was a task.
    async fn make(self, world: &World, number: usize, id: TaskId) -> Result<bool, StoreError> {
        let (store, owner) = (&world.store, owner(number));
        let changes = match self {
            Self::Rename => titled("renamed"),
            _ => TaskChanges {
                completed: Some(true),
                ..TaskChanges::default()
            },
        };
        match self {
            Self::Rename | Self::Complete => {
                let updated = store.update_task(&owner, id, &changes).await?;
                Ok(updated.is_some())
            }
            Self::Delete => store.delete_task(&owner, id).await,
            Self::DeleteList => Ok(store.delete_tasks(&owner, &[id]).await? == [id]),
        }
    }

    /// The titles of tasks that were not changed.
    fn unchanged(self) -> &'static str {
        match self {
            Self::Rename => {
                "SELECT title FROM tasks WHERE title NOT IN ('renamed', 'in front') ORDER BY id"
            }
            Self::Complete => {
                "SELECT title FROM tasks WHERE NOT completed AND title <> 'in front' ORDER BY id"
            }
            Self::Delete | Self::DeleteList => {
                "SELECT title FROM tasks WHERE title <> 'in front' ORDER BY id"
            }
        }
    }
}

const TITLES: [&str; 5] = ["one", "late", "three", "four", "five"];

async fn create(world: &World) -> Vec<TaskId> {
    let mut ids = Vec::new();
    for (number, title) in TITLES.iter().enumerate() {
        let created = world.store.create_task(&of(title, number)).await;
        ids.push(created.unwrap().id);
    }
    ids
}

/// A change that is refused at the commit fails alone, and the others take place.
#[rstest]
#[tokio::test]
async fn a_commit_that_fails(
    #[values(Sqlite, Postgres)] engine: Engine,
    #[values(Change::Rename, Change::Complete, Change::Delete, Change::DeleteList)] change: Change,
) {
    let world = World::new(engine).await;
    world
        .database
        .execute(if engine == Sqlite {
            "CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER late AFTER UPDATE ON tasks WHEN OLD.title = 'late'
                 BEGIN INSERT INTO child VALUES (1); END;
             CREATE TRIGGER late_to_delete AFTER DELETE ON tasks WHEN OLD.title = 'late'
                 BEGIN INSERT INTO child VALUES (1); END;"
        } else {
            "CREATE TABLE parent (id bigint PRIMARY KEY);
             CREATE TABLE child (parent bigint REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN INSERT INTO child VALUES (1); RETURN NULL; END $$;
             CREATE TRIGGER late AFTER UPDATE OR DELETE ON tasks FOR EACH ROW
                 WHEN (OLD.title = 'late') EXECUTE FUNCTION late();"
        })
        .await;
    let ids = create(&world).await;
    let changes = ids.iter().enumerate();
    let outcomes = world
        .together(changes.map(|(number, id)| change.make(&world, number, *id)))
        .await;
    for (outcome, title) in outcomes.into_iter().zip(TITLES) {
        if title == "late" {
            assert!(
                matches!(outcome, Err(StoreError::Constraint { .. })),
                "{outcome:?}"
            );
        } else {
            assert!(outcome.unwrap(), "{title}");
        }
    }
    let unchanged = world.database.column::<String>(change.unchanged()).await;
    assert_eq!(unchanged, ["late"]);
    assert_eq!(world.batched(), TITLES.len());
}

/// Lists of several users are deleted together. One with a task that somebody else has locked, or
/// that has a notification, runs alone, and so does one without any task.
#[tokio::test]
async fn lists_share_a_statement() {
    let database = Database::migrated(Postgres).await;
    let store = connect(database.target(), 1).await;
    let world = World { database, store };
    let store = &world.store;
    let mut ids = Vec::new();
    for number in [1, 1, 1, 2, 2, 3, 3, 4] {
        ids.push(store.create_task(&of("task", number)).await.unwrap().id);
    }
    world
        .database
        .execute(&format!(
            "INSERT INTO notifications (user_id, task_id, type, message)
             VALUES ('usr_3', {}, 'reminder', 'due')",
            ids[5]
        ))
        .await;
    let changes = world.count_changes().await;
    let wanted: [(usize, &[TaskId]); 5] = [
        // A task twice, and one of another user.
        (1, &[ids[0], ids[1], ids[0], ids[7]]),
        (2, &[ids[3], ids[4]]),
        (3, &[ids[5], ids[6]]),
        (4, &[ids[7], 987_654]),
        (5, &[ids[2]]),
    ];
    let deleted = world
        .together(wanted.iter().map(async |(number, ids)| {
            let mut deleted = store.delete_tasks(&owner(*number), ids).await.unwrap();
            deleted.sort_unstable();
            deleted
        }))
        .await;
    let expected = [
        vec![ids[0], ids[1]],
        vec![ids[3], ids[4]],
        vec![ids[5], ids[6]],
        vec![ids[7]],
        vec![],
    ];
    assert_eq!(deleted, expected);
    assert_eq!(world.titles().await, ["task"], "the one of nobody's list");
    // One in front, one for three lists, and two alone.
    assert_eq!(world.changes_since(&changes).await, 4);
}

/// Nobody waits for a task of somebody else's list that is locked.
#[tokio::test]
async fn a_locked_task_of_a_list() {
    let database = Database::migrated(Postgres).await;
    let store = connect(database.target(), 3).await;
    let world = World { database, store };
    let store = &world.store;
    let mut ids = Vec::new();
    for number in 0..12 {
        ids.push(store.create_task(&of("task", number / 2)).await.unwrap().id);
    }
    let mut other = PgConnection::connect(&world.database.url()).await.unwrap();
    let lock = format!("BEGIN; SELECT FROM tasks WHERE id = {} FOR UPDATE", ids[1]);
    sqlx::raw_sql(AssertSqlSafe(lock))
        .execute(&mut other)
        .await
        .unwrap();
    let delete = async |number: usize| {
        let list = &ids[2 * number..2 * number + 2];
        store
            .delete_tasks(&owner(number), list)
            .await
            .unwrap()
            .len()
    };
    let mut locked = std::pin::pin!(delete(0));
    tokio::select! {
        _ = &mut locked => panic!("it is locked"),
        deleted = futures_util::future::join_all((1..6).map(delete)) => assert_eq!(deleted, [2; 5]),
    }
    other.close().await.unwrap();
    assert_eq!(locked.await, 2);
}
