//! The store without HTTP around it.

use std::collections::BTreeSet;
use std::time::Duration;

use todoctl::clock::Clock;
use todoctl::config::DatabaseTarget;
use todoctl::domain::{NewTask, Priority, Title, UserId};
use todoctl::store::Store;

use crate::support::{Database, Engine, TestDatabase, database_config};

mod connections;
mod rows;

async fn connect(target: DatabaseTarget, connections: usize) -> Store {
    let mut config = database_config(target, connections);
    config.pool.timeout = Duration::from_secs(2);
    Store::connect(&config, Clock::system()).await.unwrap()
}

async fn on(engine: Engine, connections: usize) -> (Database, Store) {
    let database = Database::migrated(engine).await;
    let store = connect(database.target(), connections).await;
    (database, store)
}

async fn on_postgres(connections: usize) -> (TestDatabase, Store) {
    let database = TestDatabase::migrated().await;
    let store = connect(database.target(), connections).await;
    (database, store)
}

fn user() -> UserId {
    UserId::new("usr_1").unwrap()
}

fn task(title: &str) -> NewTask {
    NewTask {
        user_id: user(),
        title: Title::new(title).unwrap(),
        description: None,
        priority: Priority::Medium,
        due_date: None,
    }
}

/// The names of a table's columns.
async fn columns(database: &Database, table: &str) -> BTreeSet<String> {
    let names = database
        .column::<String>(&match database.engine() {
            Engine::Sqlite => format!("SELECT name FROM pragma_table_info('{table}')"),
            Engine::Postgres => format!(
                "SELECT column_name::text FROM information_schema.columns WHERE table_name = '{table}'"
            ),
        })
        .await;
    names.into_iter().collect()
}
