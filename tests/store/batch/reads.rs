//! Reads that share a statement, and those that do not.

use todoctl::config::{RotatingSecret, Secret};
use todoctl::domain::{Timestamp, UserId};
use todoctl::store::{NewSession, SessionHash, TaskFilter};

use super::{World, numbered, owner};
use crate::support::Engine::Postgres;

/// What a request reads belongs to it and to its user.
#[tokio::test]
async fn reads_share_a_statement() {
    let world = World::new(Postgres).await;
    let mut tasks = Vec::new();
    for new in numbered() {
        tasks.push(world.store.create_task(&new).await.unwrap());
    }
    let users: Vec<_> = tasks
        .iter()
        .enumerate()
        // Some ask for a task that another user has.
        .map(|(index, task)| match index % 4 {
            3 => UserId::new("usr_another").unwrap(),
            _ => UserId::new(task.user_id.clone()).unwrap(),
        })
        .collect();
    // The last two ask for the same task.
    let wanted: Vec<_> = tasks
        .iter()
        .zip(&users)
        .chain([(&tasks[0], &users[0])])
        .collect();
    let read = world
        .together(
            wanted
                .iter()
                .map(|(task, user)| world.store.task(user, task.id)),
        )
        .await;
    for (read, (task, user)) in read.into_iter().zip(wanted) {
        let expected = (user.as_str() == task.user_id).then(|| task.clone());
        assert_eq!(read.unwrap(), expected);
    }
    assert!(has_shared(&world).await);
}

/// Whether the latest statement was one for several requests.
async fn has_shared(world: &World) -> bool {
    let latest = "SELECT query FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'todoctl'";
    world.database.column::<String>(latest).await[0].contains("unnest")
}

/// Each page has the tasks and the total of its user, newest first.
#[tokio::test]
async fn pages_share_a_statement() {
    let world = World::new(Postgres).await;
    for new in numbered() {
        world.store.create_task(&new).await.unwrap();
    }
    let all = TaskFilter::default();
    let wanted = [(1, 50, 0), (2, 2, 1), (3, 5, 40), (4, 1, 0), (9, 5, 0)];
    let expected = async |(user, limit, offset): (usize, i64, i64)| {
        // A filter that excludes nothing: such pages are not shared.
        let filter = TaskFilter {
            completed: Some(false),
            ..TaskFilter::default()
        };
        let page = world
            .store
            .tasks(&owner(user), &filter, limit, offset)
            .await;
        page.unwrap()
    };
    let mut pages = Vec::new();
    for page in wanted {
        pages.push(expected(page).await);
    }
    let owners = wanted.map(|(user, ..)| owner(user));
    for owner in &owners {
        // Users whose lists are not known to be short do not share a statement.
        world.store.tasks(owner, &all, 1, 0).await.unwrap();
    }
    let shared = world
        .together(
            wanted
                .iter()
                .zip(&owners)
                .map(|((_, limit, offset), owner)| world.store.tasks(owner, &all, *limit, *offset)),
        )
        .await;
    for (shared, expected) in shared.into_iter().zip(pages) {
        assert_eq!(shared.unwrap(), expected);
    }
    assert_eq!(world.batched(), 5);
}

/// A user with many tasks does not keep those waiting who have few.
#[tokio::test]
async fn a_long_list_runs_alone() {
    let world = World::new(Postgres).await;
    world
        .database
        .execute(
            "INSERT INTO tasks (user_id, title, completed, priority)
             SELECT 'usr_1', 'many', FALSE, 'Medium' FROM generate_series(1, 1001)",
        )
        .await;
    let all = TaskFilter::default();
    let users = [owner(1), owner(2), owner(3)];
    let totals = async || {
        let lists = users
            .each_ref()
            .map(|user| world.store.tasks(user, &all, 20, 0));
        let pages = world.together(lists).await;
        let totals: Vec<_> = pages.into_iter().map(|page| page.unwrap().total).collect();
        assert_eq!(totals, [1001, 0, 0]);
    };
    // None is known yet.
    totals().await;
    assert_eq!(world.batched(), 0);
    totals().await;
    assert_eq!(world.batched(), 2, "those with few tasks");
}

/// Each session identifies its own user, under the present secret or the one before.
#[tokio::test]
async fn sessions_share_a_statement() {
    let world = World::new(Postgres).await;
    let [current, previous] = ["current", "previous"].map(Secret::new);
    for (number, secret) in [(1, &current), (2, &previous), (3, &current)] {
        let session = NewSession {
            hash: SessionHash::new(secret, &format!("token {number}")),
            user: owner(number),
            label: None,
            expires_at: Timestamp::MAX,
        };
        let id = world.store.create_session(&session).await.unwrap();
        if number == 3 {
            assert!(world.store.revoke_session(id).await.unwrap());
        }
    }
    let secrets = RotatingSecret {
        current,
        previous: vec![previous],
    };
    let tokens = ["token 1", "token 2", "token 3", "token 4"];
    let users = world
        .together(
            tokens
                .iter()
                .map(|token| world.store.session_user(&secrets, token)),
        )
        .await;
    let users: Vec<_> = users.into_iter().map(Result::unwrap).collect();
    assert_eq!(users, [Some(owner(1)), Some(owner(2)), None, None]);
    assert!(has_shared(&world).await);
}
