//! A disk that is really full: what was acknowledged is there, and what is not was refused.

use std::path::Path;
use std::process::Command;

use todoctl::clock::Clock;
use todoctl::config::{DatabaseTarget, Secret, SqliteTarget};
use todoctl::domain::{Description, EncryptedKey, TaskChanges, Timestamp, Title, UserId};
use todoctl::store::{NewSession, SessionHash, StoreError, TaskFilter, migrate};

use super::{connect, task, user};

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
        println!("SKIPPED: a small file system cannot be mounted here (it needs root)");
        return;
    };
    let target = DatabaseTarget::Sqlite(SqliteTarget {
        path: disk.path().join("todo.db"),
    });
    migrate::up(&target, &Clock::system()).await.unwrap();
    let store = connect(target.clone(), 2).await;
    let first = store.create_task(&task("first")).await.unwrap();
    let user_of = |number: usize| UserId::new(format!("user-{number}")).unwrap();

    let mut large = task("large");
    large.description = Description::new(&"x".repeat(900)).unwrap();
    let (mut tasks, mut keys, mut sessions) = (vec![first.clone()], Vec::new(), 0);
    let mut title = first.title.clone();
    let mut refused = [0; 4];
    // Long after the disk is full, so that each kind of write meets it.
    let mut number = 0;
    while refused.iter().any(|count| *count < 15) {
        number += 1;
        assert!(number < 5000, "the disk does not fill: {refused:?}");
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
    }
    drop(store);

    // After a restart.
    let store = connect(target, 2).await;
    let stored = store
        .tasks(&user(), &TaskFilter::default(), 10_000, 0)
        .await;
    let mut stored: Vec<i64> = stored.unwrap().tasks.iter().map(|task| task.id).collect();
    stored.sort_unstable();
    let mut acknowledged: Vec<i64> = tasks.iter().map(|task| task.id).collect();
    acknowledged.sort_unstable();
    assert_eq!(stored, acknowledged);
    let read = store.task(&user(), first.id).await.unwrap().unwrap();
    assert_eq!(read.title, title);
    for (number, key) in keys {
        let kept = store.api_key(&user_of(number)).await.unwrap().unwrap();
        assert_eq!(kept.encrypted, key);
    }
    assert_eq!(store.sessions(Some(&user())).await.unwrap().len(), sessions);
}
