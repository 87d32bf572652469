//! A disk that is really full: what was acknowledged is there, and what is not was refused.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use todoctl::clock::Clock;
use todoctl::config::{DatabaseTarget, Secret, SqliteTarget};
use todoctl::domain::{
    Description, EncryptedKey, IdempotencyKey, Task, TaskChanges, Timestamp, Title, UserId,
};
use todoctl::store::{NewSession, SessionHash, StoreError, TaskFilter, migrate};

use super::{connect, task, user};
use crate::support::not_tried;

/// A small file system in memory; gone with its value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where it cannot be mounted: it needs root.
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
            .arg(directory.path())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Self(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// A write that failed must say that the disk is full, or that the file cannot be written.
fn is_refused(error: &StoreError) -> bool {
    matches!(error, StoreError::Transient(_) | StoreError::Query(_))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there() {
    let Some(disk) = SmallDisk::mount() else {
        return not_tried("a small file system cannot be mounted here");
    };
    let target = DatabaseTarget::Sqlite(SqliteTarget {
        path: disk.path().join("todo.db"),
    });
    migrate::up(&target, &Clock::system()).await.unwrap();
    let store = connect(target.clone(), 2).await;
    let first = store.create_task(&task("first")).await.unwrap();
    fill(&disk, 600).await;
    let user_of = |number: i32| UserId::new(format!("user-{number}")).unwrap();

    let mut large = task("large");
    large.description = Description::new(&"x".repeat(900)).unwrap();
    let (mut tasks, mut keys, mut sessions) = (vec![first.clone()], Vec::new(), 0);
    let mut title = first.title.clone();
    let (mut read, mut once, mut revoked) = (Vec::new(), Vec::new(), Vec::new());
    let mut refused = [0; 7];
    // Long after the disk is full, so that each kind of write meets it.
    let mut number = 0;
    while refused.iter().any(|count| *count < 15) {
        number += 1;
        assert!(number < 600, "the disk does not fill: {refused:?}");
        match store.create_task(&large).await {
            Ok(task) => tasks.push(task),
            Err(error) if is_refused(&error) => refused[0] += 1,
            Err(error) => panic!("{error:?}"),
        }
        let changes = TaskChanges {
            title: Some(Title::new(&format!("title {number}")).unwrap()),
            ..TaskChanges::default()
        };
        match store.update_task(&user(), first.id, &changes).await {
            Ok(task) => title = task.unwrap().title,
            Err(error) if is_refused(&error) => refused[1] += 1,
            Err(error) => panic!("{error:?}"),
        }
        let key = EncryptedKey::new(format!("key-{number}-{}", "k".repeat(500)));
        match store.save_api_key(&user_of(number), &key).await {
            Ok(()) => keys.push((number, key)),
            Err(error) if is_refused(&error) => refused[2] += 1,
            Err(error) => panic!("{error:?}"),
        }
        let session = NewSession {
            hash: SessionHash::new(&Secret::new("secret"), &number.to_string()),
            user: user(),
            label: Some("l".repeat(200)),
            expires_at: Timestamp::MAX,
        };
        match store.create_session(&session).await {
            Ok(_) => sessions += 1,
            Err(error) if is_refused(&error) => refused[3] += 1,
            Err(error) => panic!("{error:?}"),
        }
        let id = i64::from(number);
        match store.mark_notification_read(&user(), id).await {
            Ok(notification) => read.push(notification.unwrap().id),
            Err(error) if is_refused(&error) => refused[4] += 1,
            Err(error) => panic!("{error:?}"),
        }
        // A transaction.
        let key = IdempotencyKey::new(format!("key-{number}").as_bytes()).unwrap();
        let answer = |task: &Task| task.id.to_string();
        match store.create_task_once(&large, &key, "f", answer).await {
            Ok(_) => once.push(key),
            Err(error) if is_refused(&error) => refused[5] += 1,
            Err(error) => panic!("{error:?}"),
        }
        match store.revoke_session(id).await {
            Ok(done) => revoked.extend(done.then_some(id)),
            Err(error) if is_refused(&error) => refused[6] += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    drop(store);

    // After a restart.
    let store = connect(target, 2).await;
    let stored = store
        .tasks(&user(), &TaskFilter::default(), 10_000, 0)
        .await;
    let stored: BTreeSet<i64> = stored.unwrap().tasks.iter().map(|task| task.id).collect();
    let acknowledged = tasks.iter().map(|task| task.id);
    assert!(acknowledged.clone().all(|id| stored.contains(&id)));
    assert_eq!(stored.len(), tasks.len() + once.len());
    let kept = store.task(&user(), first.id).await.unwrap().unwrap();
    assert_eq!(kept.title, title);
    for (number, key) in keys {
        let kept = store.api_key(&user_of(number)).await.unwrap().unwrap();
        assert_eq!(kept.encrypted, key);
    }
    assert_eq!(store.sessions(Some(&user())).await.unwrap().len(), sessions);
    let all = store.sessions(None).await.unwrap();
    let ended = all.iter().filter(|session| session.revoked_at.is_some());
    assert_eq!(ended.map(|session| session.id).collect::<Vec<_>>(), revoked);
    let list = store.notifications(&user(), 1000).await.unwrap();
    let kept = list.notifications.iter().filter(|one| one.is_read);
    assert_eq!(
        kept.map(|one| one.id).collect::<BTreeSet<_>>(),
        BTreeSet::from_iter(read)
    );
}

/// So many unread notifications and sessions, both with the ids from 1.
async fn fill(disk: &SmallDisk, number: usize) {
    let url = format!("sqlite://{}", disk.path().join("todo.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let statement = format!(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {number})
         INSERT INTO notifications (id, user_id, type, message, is_read, sent_email, created_at)
         SELECT n, 'usr_1', 'due_soon', 'm', FALSE, FALSE, n FROM n;
         INSERT INTO todoctl_sessions (id, token_hash, user_id, created_at, expires_at)
         SELECT id, id, 'usr_2', 1, 1 FROM notifications"
    );
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}
