//! The store without HTTP around it.

use todoctl::clock::Clock;
use todoctl::config::DatabaseTarget;
use todoctl::domain::{NewTask, Priority, Title, UserId};
use todoctl::store::Store;

use crate::support::database_config;

mod batch;
mod connections;
mod full_disk;
mod limits;
mod rows;
mod search;
mod stale;

async fn connect(target: DatabaseTarget, connections: usize) -> Store {
    let config = database_config(target, connections);
    Store::connect(&config, Clock::system()).await.unwrap()
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
