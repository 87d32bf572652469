//! Write-ahead logs that are of another state of their SQLite file.

use std::path::Path;
use std::time::Duration;

use crate::config::{Remedy, SqliteTarget, index_path, move_away, wal_path};
use crate::diagnostics::probe::{Connection as _, FileConnection, daemons_of};
use crate::diagnostics::verdict::Verdict;
use crate::store::messages::KnownMessage;
use crate::store::{ConnectFault, has_unused_log, known_message};

/// What a line says before those about damaged pages.
pub(super) const OF_PAGES: &str = "*** in database ";

/// As [`log_of_another`] for a log that no process has open, before anything opens the file for writing
/// and so copies the log into it.
pub(super) async fn unused_log_of_another(file: &SqliteTarget) -> Option<Verdict> {
    if !has_unused_log(&file.path) {
        return None;
    }
    let read = async {
        let mut connection = match FileConnection::open(file, UNUSED_LOG).await {
            Ok(connection) => connection,
            Err(error) => return error.fault == ConnectFault::Corrupt,
        };
        let read = connection.integrity().await;
        connection.close().await;
        // Whatever else is wrong, such as a schema that needs another program, the log is the file's own.
        match read {
            Ok(lines) => lines != ["ok"],
            Err(error) => known_message(&error).is_some_and(KnownMessage::is_of_pages),
        }
    };
    // A large file is read later, by the check of its integrity.
    let is_damaged = tokio::time::timeout(UNUSED_LOG, read).await.ok()?;
    if is_damaged {
        log_of_another(file, UNUSED_LOG).await
    } else {
        None
    }
}

/// The same for a start: what is wrong, and what to do.
pub(crate) async fn refuse_log_of_another(file: &SqliteTarget) -> Option<(String, Remedy)> {
    let verdict = unused_log_of_another(file).await?;
    Some((verdict.detail, verdict.remedy?))
}

/// How long reading a file may take before anything else is asked.
const UNUSED_LOG: Duration = Duration::from_secs(2);

/// Where a backup takes the place of a file after a crash, and the log stays, SQLite applies it to
/// the backup, and finds damaged pages. `None` where the file is damaged without the log too, and
/// where the log has only a change of the schema that cannot be read.
pub(super) async fn log_of_another(file: &SqliteTarget, limit: Duration) -> Option<Verdict> {
    let log = wal_path(&file.path);
    // A log that this user may not read says nothing, and has what the file lacks.
    let may_read = rustix::fs::access(&log, rustix::fs::Access::READ_OK).is_ok();
    if !may_read || std::fs::metadata(&log).ok()?.len() == 0 {
        return None;
    }
    let read = async {
        let mut connection = FileConnection::open_without_log(file).await.ok()?;
        let lines = connection.integrity().await.ok();
        connection.close().await;
        let is_of_schema = has_unreadable_schema(file).await && has_sound_pages(file).await;
        Some(lines? == ["ok"] && !is_of_schema)
    };
    let is_of_another = tokio::time::timeout(limit, read).await.ok()??;
    if !is_of_another {
        return None;
    }
    let index = index_path(&file.path);
    let moved = [&log, &index].into_iter().filter(|one| one.exists());
    let moved = moved.fold(Remedy::default(), |all, one| all.then(move_away(one)));
    Some(Verdict::fail(
        format!(
            "{} is sound, but not with {}: that log is of another state of the file, as when a backup took its place and the log stayed",
            file.path.display(),
            log.display()
        ),
        killed(&file.path)
            .then(Remedy::note(
                "this keeps the log under another name; then start the daemon:",
            ))
            .then(moved),
    ))
}

/// Whether SQLite names an entry of the schema, and not a page, as what it cannot read.
async fn has_unreadable_schema(file: &SqliteTarget) -> bool {
    let error = match FileConnection::open(file, UNUSED_LOG).await {
        Err(error) => error.to_string(),
        Ok(mut connection) => {
            let lines = connection.integrity().await;
            connection.close().await;
            lines.map_or_else(|error| error.to_string(), |_| String::new())
        }
    };
    error.contains("malformed database schema")
}

/// Whether the pages that the schema leads to are sound in the file with its log, as far as the schema
/// can be read. The pages of an entry that cannot be read are not reached.
async fn has_sound_pages(file: &SqliteTarget) -> bool {
    const NOT_REACHED: &str = "never used";
    let Ok(mut connection) = FileConnection::open_with_unread_schema(file).await else {
        return false;
    };
    let lines = connection.integrity().await;
    connection.close().await;
    let is_sound =
        |line: &String| line == "ok" || line.contains(OF_PAGES) || line.contains(NOT_REACHED);
    lines.is_ok_and(|lines| lines.iter().all(is_sound))
}

/// Ends the daemons that have the file open so that they do not copy the log into it.
pub(super) fn killed(file: &Path) -> Remedy {
    let daemons = daemons_of(file);
    if daemons.is_empty() {
        return Remedy::default();
    }
    let note =
        Remedy::note("ends the daemon at once, so that it does not copy the log into the file:");
    daemons.iter().fold(note, |all, one| {
        let pid = one.pid;
        all.then(Remedy::command(format!(
            "grep -qxF todoctl /proc/{pid}/comm && kill -9 {pid}"
        )))
    })
}
