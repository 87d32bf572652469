//! A SQLite file at work: who has locked it, and what of it is empty.

use std::time::Duration;

use crate::config::{Remedy, SqliteTarget, as_root};
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::probe::{Holder, Pages, Use, daemons_of, lasting_holders};
use crate::diagnostics::verdict::Verdict;

use super::bytes::in_bytes;

/// A smaller part is filled again soon.
const FREE_BYTES: i64 = 64 << 20;
const FREE_PERCENT: i64 = 50;

/// Whether a process other than a daemon has held the lock for writing for two seconds, or any
/// process the one for migrations.
pub(super) async fn locks(file: &SqliteTarget) -> Verdict {
    let holders = tokio::try_join!(
        lasting_holders(&file.path, Use::Writes),
        lasting_holders(&file.path, Use::Migrates)
    );
    let (writers, migrating) = match holders {
        Ok(holders) => holders,
        Err(error) => {
            return Verdict::skip(format!(
                "this system does not list who holds locks: {error}"
            ));
        }
    };
    let mut collected = Collected::default();
    for holder in &migrating {
        collected.warn(
            format!(
                "{} holds the lock for migrations: the start of a daemon waits for it, and so does a migration",
                named(holder)
            ),
            Remedy::note("if it does not migrate any more:").then(end(holder)),
        );
    }
    for holder in &writers {
        if holder.is_todoctl() {
            collected.note(format!("{} writes", named(holder)));
        } else {
            collected.fail(
                format!(
                    "{} has locked the database for writing: every change waits 5 s and fails",
                    named(holder)
                ),
                end(holder),
            );
        }
    }
    let daemons = daemons_of(&file.path);
    if daemons.len() > 1 {
        collected.warn(
            format!(
                "{} daemons have the file open, pid {}: they wait for each other's changes, and each counts requests for itself",
                daemons.len(),
                listed(&daemons, " and ")
            ),
            Remedy::note("unless one takes the place of the other now: end the one that is not wanted; this shows when each was started, and by whom:")
                .then(Remedy::command(format!(
                    "ps -o pid,user,lstart,args -p {}",
                    listed(&daemons, ",")
                ))),
        );
    }
    collected.verdict("no process keeps it locked for writing")
}

fn listed(pids: &[u32], separator: &str) -> String {
    let texts: Vec<String> = pids.iter().map(u32::to_string).collect();
    texts.join(separator)
}

pub(in crate::diagnostics::database) fn named(holder: &Holder) -> String {
    match &holder.name {
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
    Remedy::note(note).then(may).then(Remedy::command(format!(
        "{same} /proc/{pid}/comm && kill {pid}"
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
