//! A loss of power on SQLite: what was answered is there afterwards, and nothing that was refused.
//!
//! `recorder.c` records every write, sync, truncation and deletion of the database's files by a
//! daemon, and in the same order its answers. At random moments the files are put together as a
//! disk may have them then: what was synced, and any part of the rest. They have to open, pass
//! SQLite's check, and hold the tasks of each client as they were after its last answered request,
//! or after the one that was being answered.
//!
//! `TODOCTL_POWER_CUTS` is the number of moments (150), `TODOCTL_POWER_SEED` their seed;
//! `cargo nextest run --profile long power::` does not end a test that takes long.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};
use todoctl::clock::Clock;
use todoctl::config::{DatabaseTarget, SqliteTarget};
use todoctl::store::migrate;

use disk::{Disk, Loss, Random};
use recording::{Event, Recording, Tasks, record};

mod disk;
mod recording;

/// How many moments there are to one at which a daemon also migrates the database again.
const RESTARTS: usize = 20;

impl Recording {
    /// Tries `cuts` moments; what is wrong at the first one where something is.
    async fn check(&self, events: &[Event], cuts: usize, seed: u64) -> Result<(), String> {
        let mut random = Random(seed);
        let mut moments: Vec<usize> = (0..cuts).map(|_| random.below(events.len() + 1)).collect();
        moments.sort_unstable();
        let mut disk = Disk::default();
        let mut answered = vec![0; self.states.len()];
        let mut done = 0;
        for (number, moment) in moments.into_iter().enumerate() {
            for event in &events[done..moment] {
                disk.apply(event);
                if let Event::Answer { client, number } = event {
                    answered[*client] = number + 1;
                }
            }
            done = moment;
            let loss =
                [Loss::All, Loss::Nothing, Loss::Rest, Loss::Any, Loss::Any][random.below(5)];
            let directory = memory_dir();
            disk.rebuild(directory.path(), loss, &mut random);
            let restarts = number % RESTARTS == 0;
            let outcome = self
                .check_files(directory.path(), &answered, restarts)
                .await;
            outcome.map_err(|problem| {
                format!(
                    "seed {seed}, event {moment} of {}, {loss:?}: {problem}",
                    events.len()
                )
            })?;
        }
        Ok(())
    }

    async fn check_files(
        &self,
        directory: &Path,
        answered: &[usize],
        restarts: bool,
    ) -> Result<(), String> {
        let path = directory.join("todo.db");
        let mut tasks: Vec<Tasks> = vec![Vec::new(); self.states.len()];
        if path.exists() {
            let rows = read(&path).await.map_err(|error| error.to_string())?;
            for (user, title, completed) in rows {
                tasks[user.parse::<usize>().unwrap()].push((title, completed));
            }
        }
        for (client, found) in tasks.iter().enumerate() {
            let states = &self.states[client];
            let done = answered[client];
            if *found != states[done] && Some(found) != states.get(done + 1) {
                return Err(format!(
                    "client {client}, {done} requests answered: {found:?} is not {:?}",
                    states[done]
                ));
            }
        }
        if restarts {
            let target = DatabaseTarget::Sqlite(SqliteTarget { path });
            let outcome = migrate::up(&target, &Clock::system()).await;
            outcome.map_err(|error| format!("a daemon does not start: {error}"))?;
        }
        Ok(())
    }
}

/// A folder whose syncs cost nothing, where there is one.
fn memory_dir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        crate::support::sqlite_dir()
    }
}

/// User, title and completion of all tasks, in the order in which they were created.
async fn read(path: &Path) -> Result<Vec<(String, String, bool)>, sqlx::Error> {
    let mut connection =
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await?;
    let problems: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check")
        .fetch_all(&mut connection)
        .await?;
    if problems != ["ok"] {
        return Err(sqlx::Error::Protocol(problems.join("; ")));
    }
    let exists: bool =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'tasks'")
            .fetch_one(&mut connection)
            .await?;
    let mut rows = Vec::new();
    if exists {
        let tasks = "SELECT user_id, title, completed FROM tasks ORDER BY id";
        rows = sqlx::query_as(tasks).fetch_all(&mut connection).await?;
    }
    connection.close().await?;
    Ok(rows)
}

/// The same without the syncs of some files, as `synchronous = NORMAL` or `OFF` leaves them out.
fn without_syncs(events: &[Event], of: impl Fn(&str) -> bool) -> Vec<Event> {
    let is_kept = |event: &&Event| match event {
        Event::SyncBegins { path, .. } | Event::SyncEnds { path, .. } => !of(path),
        _ => true,
    };
    events.iter().filter(is_kept).cloned().collect()
}

/// The same where each answer was sent before the last sync of the log.
fn answered_before_syncs(events: &[Event]) -> Vec<Event> {
    let mut early: Vec<Event> = Vec::new();
    for event in events {
        let is_sync =
            |one: &Event| matches!(one, Event::SyncBegins { path, .. } if path.ends_with("-wal"));
        match early.iter().rposition(is_sync) {
            Some(sync) if matches!(event, Event::Answer { .. }) => {
                early.insert(sync, event.clone());
            }
            _ => early.push(event.clone()),
        }
    }
    early
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_loss_of_power() {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap())
    };
    let cuts = usize::try_from(number("TODOCTL_POWER_CUTS").unwrap_or(150)).unwrap();
    let seed = number("TODOCTL_POWER_SEED").unwrap_or_else(|| getrandom::u64().unwrap());
    println!("TODOCTL_POWER_SEED={seed}");
    let recording = record().await;
    let events = &recording.events;
    let is_log = |path: &str| path.ends_with("-wal");
    let written = |of: fn(&str) -> bool| {
        let is_write = |event: &&Event| matches!(event, Event::Write { path, .. } if of(path));
        events.iter().filter(is_write).count()
    };
    println!(
        "events: {}, writes to the log: {}, to the database: {}",
        events.len(),
        written(|path| path.ends_with("-wal")),
        written(|path| path.ends_with("/todo.db"))
    );
    recording.check(events, cuts, seed).await.unwrap();
    // The check finds what it has to find.
    for (name, faulty) in [
        ("synchronous = OFF", without_syncs(events, |_| true)),
        ("synchronous = NORMAL", without_syncs(events, is_log)),
        ("answers before the sync", answered_before_syncs(events)),
    ] {
        let outcome = recording.check(&faulty, 400, seed).await;
        println!("{name}: {outcome:?}");
        assert!(outcome.is_err(), "{name}");
    }
}
