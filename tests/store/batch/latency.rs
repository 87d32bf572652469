//! How many connections are in use, by the distance of the database, and through a pooler.

use std::time::Duration;

use futures_util::future::join_all;
use todoctl::clock::Clock;
use todoctl::config::{DatabaseTarget, PoolerMode, database_url};
use todoctl::store::Store;

use super::{World, is_of, numbered, of, owner};
use crate::store::connect;
use crate::support::{Database, Network, PgBouncer, TestDatabase, database_config};

/// 5 ms away, the connections are enough to hide the distance, and no more than are allowed.
#[tokio::test]
async fn as_many_connections_as_the_distance_needs() {
    const REQUESTS: usize = 1_600;
    let database = TestDatabase::migrated().await;
    let DatabaseTarget::Postgres(mut server) = database.target() else {
        unreachable!("it is PostgreSQL");
    };
    let network = Network::to(server.host.clone(), server.port).await;
    "127.0.0.1".clone_into(&mut server.host);
    server.port = network.port;
    let store = connect(DatabaseTarget::Postgres(server), 15).await;
    let task = store.create_task(&of("far", 1)).await.unwrap();
    network.delay(Duration::from_millis(5));
    join_all((0..64).map(async |number| {
        for _ in 0..REQUESTS / 64 {
            // Those that arrive at once share a statement, so one connection would do for them.
            tokio::time::sleep(Duration::from_millis(number % 7)).await;
            let read = store.task(&owner(1), task.id).await;
            assert!(read.unwrap().is_some());
        }
    }))
    .await;
    let size = store.pools()[0].1.size;
    assert!((4..=15).contains(&size), "{size} connections");
}

/// PgBouncer 1.18 keeps no prepared statements.
#[tokio::test]
async fn statements_are_shared_through_a_pooler() {
    let database = TestDatabase::migrated().await;
    let pooler = PgBouncer::start(&database.url);
    let target = database_url::parse(&pooler.url).unwrap().value;
    let mut config = database_config(target, 1);
    config.pooler = PoolerMode::Transaction;
    let store = Store::connect(&config, Clock::system()).await.unwrap();
    let world = World {
        database: Database::Postgres(database),
        store,
    };
    let store = &world.store;
    let changes = world.count_changes().await;
    let tasks = numbered();
    let created = world
        .together(tasks.iter().map(|task| store.create_task(task)))
        .await;
    for (created, new) in created.iter().zip(&tasks) {
        assert!(is_of(created.as_ref().unwrap(), new), "{created:?}");
    }
    assert_eq!(world.changes_since(&changes).await, 2, "one was in front");
    let read = world
        .together(
            created
                .iter()
                .flatten()
                .zip(&tasks)
                .map(|(created, new)| store.task(&new.user_id, created.id)),
        )
        .await;
    for (read, created) in read.into_iter().zip(created) {
        assert_eq!(read.unwrap(), created.ok());
    }
}
