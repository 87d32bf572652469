//! The write-ahead log of a SQLite file.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Remedy, SqliteTarget};
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::fix::Fix;
use crate::diagnostics::probe::{Holder, LASTING, Use, lasting_holders};
use crate::diagnostics::verdict::Verdict;
use crate::store::kept_logs;

use super::work;

const MIB: u64 = 1024 * 1024;

/// Four times the size at which the daemon empties it.
const WAL_WARN: u64 = 64 * MIB;

/// Empties the log as far as no process reads from it.
const EMPTY_WAL: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

pub(super) async fn wal(context: &Context, file: &SqliteTarget, _limit: Duration) -> Verdict {
    let bytes = match context.facts(file) {
        Ok(facts) => facts.wal,
        Err(_) => return Verdict::skip_because_failed("database.directory"),
    };
    let kept = kept_logs(&file.path);
    match bytes {
        _ if !kept.is_empty() => not_taken(&kept),
        None => Verdict::pass("none: no process has the database open"),
        Some(bytes) if bytes <= WAL_WARN => Verdict::pass(format!("{bytes} bytes")),
        Some(bytes) => {
            // Where locks are not listed, nobody is named.
            let readers = lasting_holders(&file.path, Use::Reads, LASTING).await;
            let mut readers = readers.unwrap_or_default();
            readers.retain(|reader| !reader.is_todoctl());
            large_log(bytes, &readers, file)
        }
    }
}

/// Damaged logs that were kept at a start of the daemon, or by hand.
fn not_taken(logs: &[PathBuf]) -> Verdict {
    let mut collected = Collected::default();
    for log in logs {
        let log = log.display();
        collected.warn(
            format!(
                "{log} was kept because it was damaged: what it has behind its damaged frame is lost in the database"
            ),
            Remedy::note(format!(
                "it has the pages of these changes, so that their texts can be read (strings -n 8 {log}): enter again what is missing; then delete the file: rm {log}"
            )),
        );
    }
    collected.verdict("")
}

fn large_log(bytes: u64, readers: &[Holder], file: &SqliteTarget) -> Verdict {
    let mut detail = format!(
        "{} MiB: it is not emptied, which slows every read",
        bytes / MIB
    );
    let mut remedy = Remedy::default();
    for reader in readers {
        detail += &format!("; {} reads from it all the time", work::named(reader));
        remedy = remedy.then(work::end(reader));
    }
    let emptied = Remedy::note("then the daemon's next change empties it, or:").then(
        Remedy::command("sqlite3")
            .arg(&file.path)
            .arg("PRAGMA wal_checkpoint(TRUNCATE)"),
    );
    Verdict::warn(detail, remedy.then(emptied))
        .with_fixes([Fix::Statements(vec![EMPTY_WAL.to_owned()])])
}
