//! Connections that are out of date: nothing was done on them, so the work is done on others.

use todoctl::clock::Clock;
use todoctl::domain::{EncryptedKey, IdempotencyKey, NotificationKind, TaskChanges, Timestamp};
use todoctl::store::{NewSession, ReminderWindow, SessionHash, Store, StoreError, TaskFilter};

use super::{connect, task, user};
use crate::support::{TestDatabase, on_server};

/// Changes of every kind: single statements and transactions, on every table.
async fn change_everything(store: &Store, round: &str) {
    let created = store.create_task(&task(round)).await.unwrap();
    let changes = TaskChanges {
        completed: Some(false),
        ..TaskChanges::default()
    };
    let updated = store.update_task(&user(), created.id, &changes).await;
    assert!(updated.unwrap().is_some());
    let key = IdempotencyKey::new(round.as_bytes()).unwrap();
    let answer = |_: &todoctl::domain::Task| "{}".to_owned();
    store
        .create_task_once(&task(round), &key, "fingerprint", answer)
        .await
        .unwrap();
    let condition = |_: &todoctl::domain::Task| true;
    store
        .update_task_if(&user(), created.id, &changes, condition)
        .await
        .unwrap();
    let key = EncryptedKey::new("gAAAAA".to_owned());
    store.save_api_key(&user(), &key).await.unwrap();
    store.count_attempt(&user()).await.unwrap();
    store
        .create_session(&NewSession {
            hash: SessionHash::new(&todoctl::config::Secret::new("secret"), round),
            user: user(),
            label: None,
            expires_at: Timestamp::MAX,
        })
        .await
        .unwrap();
    let now = Clock::system().now();
    let window = ReminderWindow {
        now,
        soon: now,
        today: now,
    };
    store
        .remind(NotificationKind::Overdue, &window, &[created.id], None)
        .await
        .unwrap();
    store.mark_all_notifications_read(&user()).await.unwrap();
}

async fn read_everything(store: &Store) {
    let page = store.tasks(&user(), &TaskFilter::default(), 10, 0).await;
    for task in page.unwrap().tasks {
        assert!(store.task(&user(), task.id).await.unwrap().is_some());
    }
    store.notifications(&user(), 10).await.unwrap();
    store.api_key(&user()).await.unwrap();
    store.sessions(Some(&user())).await.unwrap();
}

/// A prepared statement fails after its table was altered, until it is prepared again.
#[tokio::test]
async fn a_changed_schema_goes_unnoticed() {
    let database = TestDatabase::migrated().await;
    let store = connect(database.target(), 3).await;
    change_everything(&store, "before").await;
    read_everything(&store).await;
    for (round, alter) in [
        (
            "first",
            "ALTER TABLE tasks ALTER description TYPE varchar(2000)",
        ),
        (
            "second",
            "ALTER TABLE todoctl_sessions ALTER label TYPE varchar(2000)",
        ),
        (
            "third",
            "ALTER TABLE tasks ALTER description TYPE text; ALTER TABLE user_api_keys ALTER encrypted_key TYPE varchar(2000)",
        ),
    ] {
        database.execute(alter).await;
        change_everything(&store, round).await;
        database.execute("ALTER TABLE notifications ALTER message TYPE varchar(2000); ALTER TABLE notifications ALTER message TYPE text").await;
        read_everything(&store).await;
    }
}

/// The server became a standby, and the same address leads to the new primary.
#[tokio::test]
async fn a_read_only_server_is_left() {
    let database = TestDatabase::migrated().await;
    let name = &database.name;
    let read_only = |on| format!("ALTER DATABASE {name} SET default_transaction_read_only = {on}");
    on_server(&read_only("on")).await;
    let store = connect(database.target(), 3).await;
    assert!(!store.is_writable().await.unwrap());
    let error = store.create_task(&task("refused")).await.unwrap_err();
    assert!(matches!(error, StoreError::Stale(_)), "{error:?}");
    assert!(error.is_unavailable());

    on_server(&read_only("off")).await;
    store.create_task(&task("a statement")).await.unwrap();
    on_server(&read_only("on")).await;
    store.ping().await.unwrap();
    assert!(
        store.is_writable().await.unwrap(),
        "older connections may write"
    );
    let store = connect(database.target(), 3).await;
    store.ping().await.unwrap();
    on_server(&read_only("off")).await;
    change_everything(&store, "transactions").await;

    on_server(&read_only("on")).await;
    let store = connect(database.target(), 3).await;
    store.ping().await.unwrap();
    on_server(&read_only("off")).await;
    assert!(store.is_writable().await.unwrap());
}

/// A primary key that exists already is no conflict of the client's: it chose none.
#[tokio::test]
async fn a_sequence_that_lags_behind() {
    let database = TestDatabase::migrated().await;
    let store = connect(database.target(), 3).await;
    change_everything(&store, "before").await;
    database
        .execute(
            "SELECT setval('tasks_id_seq', 1, false);
             SELECT setval(pg_get_serial_sequence('todoctl_sessions', 'id'), 1, false);",
        )
        .await;
    let error = store.create_task(&task("again")).await.unwrap_err();
    assert!(matches!(error, StoreError::Query(_)), "{error:?}");
    assert!(error.to_string().contains("tasks_pkey"), "{error}");
    let error = store
        .create_session(&NewSession {
            hash: SessionHash::new(&todoctl::config::Secret::new("secret"), "again"),
            user: user(),
            label: None,
            expires_at: Timestamp::MAX,
        })
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Query(_)), "{error:?}");
    // What the catalogue says to type.
    database
        .execute("SELECT setval(pg_get_serial_sequence('tasks', 'id'), max(id)) FROM tasks")
        .await;
    store.create_task(&task("again")).await.unwrap();
}
