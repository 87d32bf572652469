//! PostgreSQL's plans of the statements that requests share, and of lists.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use todoctl::config::{RotatingSecret, Secret};
use todoctl::domain::{Priority, TaskChanges, UserId};
use todoctl::store::TaskFilter;

use super::{World, of, owner, titled};
use crate::support::Engine::Postgres;

/// PostgreSQL compares the plan for any arguments with those of the first five executions.
const EXECUTIONS: usize = 6;

/// Planning takes longer than most statements, so their plans have to be kept.
#[tokio::test]
async fn a_shared_statement_is_not_planned_each_time() {
    let world = World::new(Postgres).await;
    let store = &world.store;
    let mut ids = Vec::new();
    for number in 0..8 {
        let created = store.create_task(&of("task", number)).await.unwrap();
        ids.push(created.id);
        // Now the list is known to be short.
        let all = TaskFilter::default();
        store.tasks(&owner(number), &all, 1, 0).await.unwrap();
    }
    world.database.execute("ANALYZE tasks").await;
    let (one, two) = (owner(1), owner(2));
    let mut texts = BTreeSet::new();

    let (new_one, new_two) = (of("new", 1), of("new", 2));
    world
        .together([&new_one, &new_two].map(|task| store.create_task(task)))
        .await;
    texts.insert(latest(&world).await);
    world
        .together([(&one, ids[1]), (&two, ids[2])].map(|(user, id)| store.task(user, id)))
        .await;
    texts.insert(latest(&world).await);
    let all = TaskFilter::default();
    world
        .together([&one, &two].map(|user| store.tasks(user, &all, 5, 0)))
        .await;
    texts.insert(latest(&world).await);
    let changes: TaskChanges = titled("changed");
    world
        .together(
            [(&one, ids[1]), (&two, ids[2])]
                .map(|(user, id)| store.update_task(user, id, &changes)),
        )
        .await;
    texts.insert(latest(&world).await);
    world
        .together([(&one, ids[1]), (&two, ids[2])].map(|(user, id)| store.delete_task(user, id)))
        .await;
    texts.insert(latest(&world).await);
    let (three, four) = (owner(3), owner(4));
    let lists = [(&three, [ids[3]]), (&four, [ids[4]])];
    world
        .together(
            lists
                .iter()
                .map(|(user, ids)| store.delete_tasks(user, ids)),
        )
        .await;
    texts.insert(latest(&world).await);
    let secrets = RotatingSecret {
        current: Secret::new("current"),
        previous: Vec::new(),
    };
    world
        .together(["token 1", "token 2"].map(|token| store.session_user(&secrets, token)))
        .await;
    texts.insert(latest(&world).await);

    assert_eq!(texts.len(), 7);
    for text in texts {
        assert!(text.contains("unnest"), "not for several requests: {text}");
        let is_used = |number: &usize| text.contains(&format!("${number}"));
        let parameters = (1..20).rev().find(is_used).unwrap();
        let mut arguments = vec!["'{}'"; parameters];
        // The time until which a change is accepted.
        if text.contains("in_time") {
            arguments[parameters - 1] = "'infinity'";
        }
        let made = plans_for_arguments(&world, &text, &arguments.join(", ")).await;
        assert_eq!(made, 5, "{text}");
    }
}

/// A plan for a limit that is known looks cheaper, and so does one for a user who is known not to have
/// most of the tasks, but the plan for any limit and user is the same.
#[tokio::test]
async fn a_list_is_not_planned_each_time() {
    let world = World::new(Postgres).await;
    let store = &world.store;
    world
        .database
        .execute(
            "INSERT INTO tasks (user_id, title, priority, due_date)
             SELECT CASE WHEN n % 2 = 0 THEN 'most' ELSE (n % 200)::text END, 'task',
                 CASE WHEN n % 50 = 1 THEN 'High' ELSE 'Low' END::prioritylevel,
                 now() + n * interval '1 hour'
             FROM generate_series(1, 20000) AS n",
        )
        .await;
    world
        .database
        .execute(
            "INSERT INTO notifications (user_id, task_id, type, message)
             SELECT user_id, id, 'reminder', 'due' FROM tasks",
        )
        .await;
    world.database.execute("ANALYZE").await;
    let user = UserId::new("1").unwrap();
    let all = TaskFilter::default();
    let day = NaiveDate::from_ymd_opt(2026, 11, 1).unwrap();
    let some = TaskFilter {
        search: None,
        priority: Some(Priority::High),
        completed: Some(false),
        due_before: Some(day),
        due_after: Some(day),
    };
    store.tasks(&user, &all, 60, 20).await.unwrap();
    let page = latest(&world).await;
    store.tasks(&user, &some, 20, 0).await.unwrap();
    let filtered = latest(&world).await;
    let slice = store.tasks_after(&user, &all, 20, None).await.unwrap();
    let first = latest(&world).await;
    store
        .tasks_after(&user, &all, 20, slice.next)
        .await
        .unwrap();
    let next = latest(&world).await;
    store.notifications(&user, 5).await.unwrap();
    let notifications = latest(&world).await;
    for (text, arguments) in [
        (page, "'1', 60, 20"),
        (filtered, "'1', 'High', FALSE, now(), now(), 20, 0"),
        (first, "'1', 21"),
        (next, "'1', now(), 7, 21"),
        (notifications, "'1', 5"),
    ] {
        let made = plans_for_arguments(&world, &text, arguments).await;
        assert_eq!(made, 5, "{text}");
    }
}

/// The latest statement of the store.
async fn latest(world: &World) -> String {
    let latest = "SELECT query FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'todoctl'";
    world.database.column::<String>(latest).await.remove(0)
}

/// How many of the first executions PostgreSQL makes a plan for.
async fn plans_for_arguments(world: &World, text: &str, arguments: &str) -> i64 {
    let mut connection = PgConnection::connect(&world.database.url()).await.unwrap();
    let mut script = format!("PREPARE shared AS {text};");
    script += &format!("EXECUTE shared ({arguments});").repeat(EXECUTIONS);
    sqlx::raw_sql(AssertSqlSafe(script))
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::query_scalar("SELECT custom_plans FROM pg_prepared_statements WHERE name = 'shared'")
        .fetch_one(&mut connection)
        .await
        .unwrap()
}
