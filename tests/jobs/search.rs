//! The upkeep of searches in a running daemon.

use rstest::rstest;
use todoctl::clock::Clock;
use todoctl::domain::UserId;
use todoctl::jobs::Jobs;
use todoctl::store::TaskFilter;

use super::world::World;
use crate::support::Engine::{self, Postgres, Sqlite};
use crate::support::eventually;

const UNFOLDED: &str = "SELECT count(*) FROM tasks WHERE search_title IS NULL";

async fn insert_plainly(world: &World, title: &str) {
    let postgres = format!("INSERT INTO tasks (user_id, title) VALUES ('ann', '{title}')");
    let sqlite = format!(
        "INSERT INTO tasks (user_id, title, title_folded, created_at, updated_at)
         VALUES ('ann', '{title}', '', 1, 1)"
    );
    world.execute(&postgres, &sqlite).await;
}

/// What another program wrote is folded at start, and later as soon as a search meets it.
#[rstest]
#[tokio::test]
async fn tasks_are_folded(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    insert_plainly(&world, "Straße").await;
    let jobs = Jobs::start(
        world.store.clone(),
        Clock::system(),
        None,
        world.metrics.clone(),
    );
    eventually("the first task is folded", async || {
        world.number(UNFOLDED).await == 0
    })
    .await;
    insert_plainly(&world, "Große Straße").await;
    // It is not among the matches of the search, and the search meets it all the same.
    let filter = TaskFilter {
        search: Some("nothing like it".to_owned()),
        ..TaskFilter::default()
    };
    let ann = UserId::new("ann").unwrap();
    let page = world.store.tasks(&ann, &filter, 10, 0).await.unwrap();
    assert_eq!(page.total, 0);
    eventually("the second task is folded", async || {
        world.number(UNFOLDED).await == 0
    })
    .await;
    let titles = "SELECT search_title FROM tasks ORDER BY id";
    let folded: Vec<String> = world.database.column(titles).await;
    assert_eq!(folded, ["strasse", "grosse strasse"]);
    jobs.stop(std::time::Duration::from_secs(5)).await;
}
