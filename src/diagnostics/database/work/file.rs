//! A SQLite file at work: who has locked it, and what of it is empty.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::config::{Remedy, SqliteTarget, as_root, sql_literal, unused_name};
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::probe::{
    Holder, LASTING, Pages, Statistics, Use, User, daemons_of, lasting_holders,
};
use crate::diagnostics::verdict::Verdict;
use crate::store::BUSY_TIMEOUT;

use super::bytes::in_bytes;

/// A smaller part is filled again soon.
const FREE_BYTES: i64 = 64 << 20;
const FREE_PERCENT: i64 = 50;

/// With fewer any plan is good enough.
const MANY_ROWS: i64 = 10_000;

/// A lock that is held for so much longer than a change waits has made one fail.
const MARGIN: Duration = Duration::from_secs(1);

/// Whether a process other than a daemon holds the lock for writing for longer than a change waits,
/// or any process the one for migrations, and whether daemons share the file.
pub(in crate::diagnostics::database) async fn locks(file: &SqliteTarget) -> Verdict {
    let found = tokio::try_join!(
        lasting_writers(file),
        lasting_holders(&file.path, Use::Migrates, LASTING)
    );
    let (writers, migrating) = match found {
        Ok(found) => found,
        Err(error) => {
            return Verdict::skip(format!(
                "this system does not list who holds locks: {error}"
            ));
        }
    };
    let mut collected = Collected::default();
    let is_blocked = writers
        .iter()
        .any(|one| !one.has_ended && !one.holder.is_todoctl());
    for holder in &migrating {
        if is_blocked && holder.is_todoctl() {
            collected.note(format!(
                "{} waits for that with the lock for migrations",
                named(holder)
            ));
            continue;
        }
        collected.warn(
            format!(
                "{} holds the lock for migrations: the start of a daemon waits for it, and so does a migration",
                named(holder)
            ),
            Remedy::note("if it does not migrate any more:").then(end(holder)),
        );
    }
    for Writer { holder, has_ended } in &writers {
        if holder.is_todoctl() {
            collected.note(format!("{} writes", named(holder)));
        } else if *has_ended {
            collected.note(format!(
                "{} had locked the database for writing for {} s or longer, and has unlocked it: changes waited, and did not fail",
                named(holder),
                LASTING.as_secs()
            ));
        } else {
            collected.fail(
                format!(
                    "{} has locked the database for writing: changes wait up to {} s and fail",
                    named(holder),
                    BUSY_TIMEOUT.as_secs()
                ),
                end(holder),
            );
        }
    }
    shared(&daemons_of(&file.path), file, &mut collected);
    collected.verdict("no process keeps it locked for writing")
}

/// A process that held the lock for writing all the time it was looked at.
struct Writer {
    holder: Holder,
    /// Whether it has unlocked the file before a change would have given up.
    has_ended: bool,
}

/// Those that hold the lock for [`LASTING`]. A backup or an import is watched for as long as a
/// change waits.
async fn lasting_writers(file: &SqliteTarget) -> io::Result<Vec<Writer>> {
    let writers = lasting_holders(&file.path, Use::Writes, LASTING).await?;
    let still = if writers.iter().all(Holder::is_todoctl) {
        Vec::new()
    } else {
        let rest = (BUSY_TIMEOUT + MARGIN).saturating_sub(LASTING);
        lasting_holders(&file.path, Use::Writes, rest).await?
    };
    let writer = |holder: Holder| Writer {
        has_ended: !still.contains(&holder),
        holder,
    };
    Ok(writers.into_iter().map(writer).collect())
}

/// A copy beside the file, with what its log has.
fn copied(file: &Path) -> Remedy {
    let copy = unused_name(file, ".kept");
    let statement = format!("VACUUM INTO {}", sql_literal(&copy.to_string_lossy()));
    Remedy::command("sqlite3").arg(file).arg(statement)
}

/// Several daemons with one file.
fn shared(daemons: &[User], file: &SqliteTarget, collected: &mut Collected) {
    let mut by_other_names = false;
    for (daemon, name) in daemons
        .iter()
        .filter_map(|one| Some((one, one.other_name.as_ref()?)))
    {
        by_other_names = true;
        collected.fail(
            format!(
                "the daemon with pid {} has the same file open as {}, with a log of its own: what one process writes, those that use the other name do not see, and both damage the file",
                daemon.pid,
                name.display()
            ),
            Remedy::note("each name's log has changes that the other lacks; while the daemons run, this copies what is seen by each name:")
                .then(copied(&file.path))
                .then(copied(name))
                .then(Remedy::note("then stop that daemon and this one, and start them with one name; what its database lacks is in the copy of the other name; this shows whether the file is damaged:"))
                .then(
                    Remedy::command("sqlite3")
                        .arg(&file.path)
                        .arg("PRAGMA integrity_check"),
                ),
        );
    }
    if daemons.len() > 1 && !by_other_names {
        let pids: Vec<i32> = daemons.iter().map(|one| one.pid).collect();
        collected.warn(
            format!(
                "{} daemons have the file open, pid {}: they wait for each other's changes, and each counts requests for itself",
                pids.len(),
                listed(&pids, " and ")
            ),
            Remedy::note("unless one takes the place of the other now: end the one that is not wanted; this shows when each was started, and by whom:")
                .then(Remedy::command(format!(
                    "ps -o pid,user,lstart,args -p {}",
                    listed(&pids, ",")
                ))),
        );
    }
}

fn listed(pids: &[i32], separator: &str) -> String {
    let texts: Vec<String> = pids.iter().map(i32::to_string).collect();
    texts.join(separator)
}

pub(in crate::diagnostics::database) fn named(holder: &Holder) -> String {
    match &holder.name {
        Some(name) if holder.is_suspended() => {
            format!(
                "pid {} ({name}), which is suspended (Ctrl-Z, SIGSTOP),",
                holder.pid
            )
        }
        Some(name) => format!("pid {} ({name})", holder.pid),
        None => format!(
            "a process outside of this container (pid {} there)",
            holder.pid
        ),
    }
}

/// Ends a process, if it is still the same one.
pub(in crate::diagnostics::database) fn end(holder: &Holder) -> Remedy {
    let note = "ends the process; SQLite rolls back what it has not committed";
    let Some(name) = &holder.name else {
        return Remedy::note(
            "end that process on the host: SQLite rolls back what it has not committed",
        );
    };
    let us = rustix::process::geteuid();
    let is_foreign = !us.is_root() && holder.user.is_some_and(|user| user != us.as_raw());
    let may = if is_foreign {
        as_root()
    } else {
        Remedy::default()
    };
    let pid = holder.pid;
    let same = Remedy::command("grep -qxF").arg(name).to_string();
    let goes_on = if holder.is_suspended() {
        format!(" && kill -CONT {pid}")
    } else {
        String::new()
    };
    Remedy::note(note).then(may).then(Remedy::command(format!(
        "{same} /proc/{pid}/comm && kill {pid}{goes_on}"
    )))
}

pub(super) async fn size(context: &Context, file: &SqliteTarget, limit: Duration) -> Verdict {
    let question = context
        .file
        .ask(file, limit, async |connection| connection.pages().await);
    match question.await {
        Ok(pages) => check_pages(&pages, file),
        Err(error) => query_failed(context, &error),
    }
}

fn check_pages(pages: &Pages, file: &SqliteTarget) -> Verdict {
    let whole = pages.size * pages.count;
    let free = pages.size * pages.free;
    let text = format!(
        "{}, {} of it free, in pages of {} bytes",
        in_bytes(whole),
        in_bytes(free),
        pages.size
    );
    if free < FREE_BYTES || free * 100 < whole * FREE_PERCENT {
        return Verdict::pass(text);
    }
    Verdict::warn(
        format!("{text}: deleted rows have left it behind"),
        Remedy::note("at a quiet time: changes wait while SQLite copies the rows")
            .then(Remedy::command("sqlite3").arg(&file.path).arg("VACUUM")),
    )
}

/// SQLite chooses its plans by the number of rows that ANALYZE has counted.
pub(super) async fn statistics(context: &Context, file: &SqliteTarget, limit: Duration) -> Verdict {
    let question = context.file.ask(file, limit, async |connection| {
        connection.statistics().await
    });
    let found = match tokio::time::timeout(limit, question).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return query_failed(context, &error),
        Err(_) => return Verdict::skip(format!("not counted within {} s", limit.as_secs())),
    };
    if found.is_empty() {
        return Verdict::pass("none: SQLite chooses its plans without");
    }
    let old: Vec<String> = found
        .iter()
        .filter(|one| is_outdated(one))
        .map(|one| {
            format!(
                "{} had {} rows when ANALYZE counted them, and has {}",
                one.table, one.counted, one.rows
            )
        })
        .collect();
    let again = Remedy::command("sqlite3").arg(&file.path).arg("ANALYZE");
    Verdict::warn_if_any(&old, again, Verdict::pass("as the tables are"))
}

/// The plans for few rows are bad ones for many, and the other way round.
fn is_outdated(one: &Statistics) -> bool {
    let (less, more) = (one.counted.min(one.rows), one.counted.max(one.rows));
    more >= MANY_ROWS && more / less.max(1) >= 10
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Outcome::{self, Pass, Warn};

    #[test]
    fn free_pages() {
        let file = SqliteTarget {
            path: "todo.db".into(),
        };
        let outcome = |count, free| -> Outcome {
            let pages = Pages {
                size: 4096,
                count,
                free,
            };
            check_pages(&pages, &file).outcome
        };
        assert_eq!(outcome(100, 99), Pass);
        assert_eq!(outcome(100_000, 20_000), Pass);
        assert_eq!(outcome(100_000, 60_000), Warn);
    }

    #[test]
    fn another_process_of_the_same_number_is_not_ended() {
        let holder = |name: Option<&str>| Holder {
            pid: 4711,
            name: name.map(str::to_owned),
            user: Some(rustix::process::geteuid().as_raw()),
        };
        assert!(
            end(&holder(Some("my sqlite")))
                .to_string()
                .ends_with("\ngrep -qxF 'my sqlite' /proc/4711/comm && kill 4711")
        );
        assert!(!end(&holder(None)).to_string().contains("kill"));
    }
}
