//! Whether a SQLite file is sound: its pages, its indexes, and the constraints of its rows.

use std::time::Duration;

use crate::config::{Remedy, SqliteTarget, index_path, move_away, sql_name, wal_path};
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{Connection as _, FileConnection};
use crate::diagnostics::verdict::Verdict;
use crate::store::inspect::Violation;
use crate::store::known_message;
use crate::store::messages::KnownMessage;

use super::fault::{known_remedy, query_failed};
use super::schema::{damaged_index, is_of_search_index};

/// What SQLite finds in the file. A file too large for the time limit is no fault.
pub(super) async fn integrity(context: &Context, file: &SqliteTarget, limit: Duration) -> Verdict {
    let question = context.file.ask(file, limit, async |connection| {
        let lines = connection.integrity().await?;
        let violations = if lines == ["ok"] {
            Violation::of_file(connection.session()).await?
        } else {
            Vec::new()
        };
        Ok((lines, violations))
    });
    match tokio::time::timeout(limit, question).await {
        Ok(Ok((_, violations))) if !violations.is_empty() => check_rows(&violations, file),
        Ok(Ok((lines, _))) if lines == ["ok"] => Verdict::pass("ok"),
        Ok(Ok((lines, _))) => check_lines(&lines, file, limit).await,
        Ok(Err(error)) if is_of_search_index(&error.to_string()) => {
            damaged_index(&[error.to_string()], file).await
        }
        Ok(Err(error)) => {
            let is_damaged = known_message(&error).is_some_and(KnownMessage::is_of_pages);
            let of_log = if is_damaged {
                log_of_another(file, limit).await
            } else {
                None
            };
            of_log.unwrap_or_else(|| query_failed(context, &error))
        }
        Err(_) => Verdict::warn(
            format!(
                "not read completely within {} s; no fault so far",
                limit.as_secs()
            ),
            Remedy::note("at a quiet time, this reads all of it:").then(
                Remedy::command("sqlite3")
                    .arg(&file.path)
                    .arg("PRAGMA integrity_check"),
            ),
        ),
    }
}

/// Where a backup takes the place of a file after a crash, and the log stays, SQLite applies it to
/// the backup, and finds damaged pages. `None` where the file is damaged without the log too.
pub(super) async fn log_of_another(file: &SqliteTarget, limit: Duration) -> Option<Verdict> {
    let log = wal_path(&file.path);
    if std::fs::metadata(&log).ok()?.len() == 0 {
        return None;
    }
    let read = async {
        let mut connection = FileConnection::open_without_log(file).await.ok()?;
        let lines = connection.integrity().await.ok();
        connection.close().await;
        lines
    };
    let lines = tokio::time::timeout(limit, read).await.ok()??;
    if lines != ["ok"] {
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
        Remedy::note("kill the daemon (kill -9) if it runs, so that it does not copy the log into the file; this keeps the log under another name:")
            .then(moved),
    ))
}

/// What SQLite calls wrong. An index can be made again from its table, unless it is unique.
async fn check_lines(lines: &[String], file: &SqliteTarget, limit: Duration) -> Verdict {
    const OF_PAGES: &str = "*** in database ";
    const OF_INDEX: [&str; 2] = [" missing from index ", "wrong # of entries in index "];
    let is_of_index = |line: &String| OF_INDEX.iter().any(|text| line.contains(text));
    if lines.iter().all(|line| is_of_search_index(line)) {
        return damaged_index(lines, file).await;
    }
    let detail = lines.join("; ");
    if lines.iter().all(is_of_index) {
        let again = Remedy::note("the rows are sound, and this makes the indexes again from them:")
            .then(Remedy::command("sqlite3").arg(&file.path).arg("REINDEX"));
        return Verdict::fail(detail, again);
    }
    let of_log = if lines.iter().any(|line| line.contains(OF_PAGES)) {
        log_of_another(file, limit).await
    } else {
        None
    };
    of_log.unwrap_or_else(|| Verdict::fail(detail, known_remedy("sqlite.malformed", file)))
}

fn check_rows(violations: &[Violation], file: &SqliteTarget) -> Verdict {
    let mut collected = Collected::default();
    for Violation {
        table,
        condition,
        rows,
    } in violations
    {
        let select = format!("SELECT * FROM {} WHERE NOT ({condition})", sql_name(table));
        collected.fail(
            format!("rows of {table} that violate CHECK ({condition}): {rows}; they cannot be changed, and may be misread"),
            Remedy::note("another program stored them with ignore_check_constraints; this shows them; give them values that are allowed, with UPDATE:")
                .then(Remedy::command("sqlite3").arg(&file.path).arg(select)),
        );
    }
    collected.verdict("")
}
