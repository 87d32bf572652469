//! The clock of this machine where the database is a file, and has none of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Remedy, SqliteTarget, sql_name};
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::domain::Timestamp;
use crate::store::inspect::FutureRows;

use super::fault::query_failed;
use super::server::{in_words, set_right};

/// Rows may be from another machine, whose clock is a little ahead.
const TOLERANCE: Duration = Duration::from_mins(1);

/// Files may come from any machine.
const OF_FILES: Duration = Duration::from_mins(10);

pub(super) async fn clock(context: &Context, file: &SqliteTarget, limit: Duration) -> Verdict {
    let now = context.request.clock.now();
    let question = context.file.ask(file, limit, async |connection| {
        let later = now.saturating_add(TOLERANCE).micros();
        FutureRows::of_file(connection.session(), later).await
    });
    let rows = match tokio::time::timeout(limit, question).await {
        Ok(Ok(rows)) => rows,
        Ok(Err(error)) if error.needs_migration() => {
            return Verdict::skip("there are no tables yet");
        }
        Ok(Err(error)) => return query_failed(context, &error),
        Err(_) => {
            return Verdict::skip(format!("not read completely within {} s", limit.as_secs()));
        }
    };
    check(
        now,
        changed_later(context.request.source.file(), now),
        &rows,
        file,
    )
}

/// A file that was last changed later than now: the program, or the configuration. What the daemon
/// writes says no more than its rows.
fn changed_later(env_file: Option<&Path>, now: Timestamp) -> Option<(PathBuf, Timestamp)> {
    let program = std::env::current_exe().ok();
    let files = program.into_iter().chain(env_file.map(Path::to_owned));
    let mut changed = files.filter_map(|file| {
        let at = file.metadata().ok()?.modified().ok()?;
        Some((
            file,
            Timestamp::from(chrono::DateTime::<chrono::Utc>::from(at)),
        ))
    });
    changed.find(|(_, at)| *at > now.saturating_add(OF_FILES))
}

fn check(
    now: Timestamp,
    changed: Option<(PathBuf, Timestamp)>,
    rows: &[FutureRows],
    file: &SqliteTarget,
) -> Verdict {
    let ahead = |at: Timestamp| in_words(at.since(now));
    let mut texts = Vec::new();
    for one in rows {
        let latest = Timestamp::from_micros_clamped(one.latest);
        texts.push(format!(
            "{} rows of {} were written later than now, up to {} ({} from now)",
            one.rows,
            one.table,
            latest.to_seconds_string(),
            ahead(latest)
        ));
    }
    match changed {
        Some((path, at)) => {
            texts.insert(
                0,
                format!(
                    "this machine's clock is probably {} behind: {} was changed at {}, later than now",
                    ahead(at),
                    path.display(),
                    at.to_seconds_string()
                ),
            );
            Verdict::warn(texts.join("; "), set_right())
        }
        None if rows.is_empty() => Verdict::pass("no row is from the future"),
        None => {
            texts.push(
                "this machine's clock is behind, or it was ahead when they were written; reminders, sessions and the order of lists depend on it".to_owned(),
            );
            let again = Remedy::note(
                "if that time is right, this gives the rows the time of those before them:",
            )
            .then(Remedy::sql_in_file(&file.path, &in_the_past(rows)));
            Verdict::warn(texts.join("; "), set_right().or(again))
        }
    }
}

/// Statements that give rows of the future the time of the row with the id before, or now.
fn in_the_past(rows: &[FutureRows]) -> String {
    const NOW: &str = "CAST(strftime('%s', 'now') AS INTEGER) * 1000000";
    let update = |table: &str, column: &str| {
        let (table, column) = (sql_name(table), sql_name(column));
        let before = format!(
            "(SELECT o.{column} FROM {table} o WHERE o.id < {table}.id AND o.{column} <= {NOW} ORDER BY o.id DESC LIMIT 1)"
        );
        format!(
            "UPDATE {table} SET {column} = coalesce({before}, {NOW}) WHERE typeof({column}) = 'integer' AND {column} > {NOW}"
        )
    };
    let updates = rows
        .iter()
        .flat_map(|one| one.columns.iter().map(|column| update(one.table, column)));
    let updates: Vec<String> = updates.collect();
    format!("BEGIN IMMEDIATE; {}; COMMIT", updates.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Outcome;

    #[test]
    fn what_is_later_than_now() {
        let at = |seconds: i64| Timestamp::from_micros_clamped(seconds * 1_000_000);
        let file = SqliteTarget {
            path: "todo.db".into(),
        };
        let rows = [FutureRows {
            table: "tasks",
            columns: &["created_at"],
            rows: 2,
            latest: 1_000_000_000,
        }];
        let of = |changed, rows: &[FutureRows]| check(at(100), changed, rows, &file);
        assert_eq!(of(None, &[]).outcome, Outcome::Pass);
        let program = || Some((PathBuf::from("/bin/todoctl"), at(2_000_000)));
        for (changed, rows, is_decided) in [
            (None, &rows[..], false),
            (program(), &rows[..], true),
            (program(), &[], true),
        ] {
            let verdict = of(changed, rows);
            assert_eq!(verdict.outcome, Outcome::Warn);
            let remedy = verdict.remedy.unwrap().to_string();
            assert_eq!(remedy.contains("# or: sqlite3"), !is_decided, "{remedy}");
        }
    }
}
