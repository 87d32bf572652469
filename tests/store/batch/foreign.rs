//! What others add to the tables does not mix the answers of requests that run together.

use todoctl::domain::Task;
use todoctl::store::{StoreError, TaskFilter};

use super::{SHARING, World, is_of, numbered, of, owner};
use crate::support::Engine::Postgres;

/// A column with the name of something in a statement for several requests.
#[tokio::test]
async fn a_column_of_another_program() {
    let world = World::new(Postgres).await;
    for new in numbered() {
        world.store.create_task(&new).await.unwrap();
    }
    world
        .database
        .execute(
            "ALTER TABLE tasks ADD owner text, ADD number bigint, ADD most bigint;
             UPDATE tasks SET owner = user_id, number = 1, most = 50",
        )
        .await;
    let all = TaskFilter::default();
    let owners = [1, 2, 3].map(owner);
    for owner in &owners {
        // Users whose lists are not known to be short do not share a statement.
        world.store.tasks(owner, &all, 1, 0).await.unwrap();
    }
    let pages = world
        .together(
            owners
                .iter()
                .map(|owner| world.store.tasks(owner, &all, 20, 0)),
        )
        .await;
    for (page, owner) in pages.into_iter().zip(&owners) {
        let page = page.unwrap();
        assert!(!page.tasks.is_empty());
        assert!(page.tasks.iter().all(|task| task.user_id == owner.as_str()));
        assert_eq!(page.total, i64::try_from(page.tasks.len()).unwrap());
    }
    let tasks: Vec<Task> = {
        let page = world.store.tasks(&owners[0], &all, 20, 0).await;
        page.unwrap().tasks
    };
    let read = world
        .together(
            owners
                .iter()
                .map(|owner| world.store.task(owner, tasks[0].id)),
        )
        .await;
    let read: Vec<_> = read.into_iter().map(Result::unwrap).collect();
    assert_eq!(read, [Some(tasks[0].clone()), None, None]);
}

#[tokio::test]
async fn ids_that_do_not_ascend() {
    let world = World::new(Postgres).await;
    world
        .database
        .execute(
            "CREATE FUNCTION other_id() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN NEW.id := 1000000 - NEW.id; RETURN NEW; END $$;
             CREATE TRIGGER other_id BEFORE INSERT ON tasks FOR EACH ROW
                 EXECUTE FUNCTION other_id();",
        )
        .await;
    let tasks = numbered();
    let created = world
        .together(tasks.iter().map(|task| world.store.create_task(task)))
        .await;
    for (created, new) in created.into_iter().zip(&tasks) {
        let created = created.unwrap();
        assert!(is_of(&created, new), "{created:?} for {new:?}");
    }
    assert_eq!(world.titles().await.len(), SHARING);
}

/// The rows of the others are stored, and each gets its own.
#[tokio::test]
async fn a_row_that_a_trigger_suppresses() {
    let world = World::new(Postgres).await;
    world
        .database
        .execute(
            "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RETURN NULL; END $$;
             CREATE TRIGGER swallow BEFORE INSERT ON tasks FOR EACH ROW
                 WHEN (NEW.title = 'bad') EXECUTE FUNCTION swallow();",
        )
        .await;
    let mut tasks = numbered();
    tasks[4] = of("bad", 1);
    let created = world
        .together(tasks.iter().map(|task| world.store.create_task(task)))
        .await;
    for (created, new) in created.into_iter().zip(&tasks) {
        match created {
            Ok(created) => assert!(is_of(&created, new), "{created:?} for {new:?}"),
            Err(error) => {
                assert_eq!(new.title.as_str(), "bad", "{error}");
                assert!(matches!(error, StoreError::OutcomeUnknown(_)), "{error:?}");
            }
        }
    }
    assert_eq!(world.titles().await.len(), SHARING - 1);
}
