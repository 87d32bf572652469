//! The write-ahead log of a SQLite file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Remedy, SqliteTarget, index_path, shell_word, wal_path};
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::fix::Fix;
use crate::diagnostics::probe::{Holder, LASTING, Use, lasting_holders, size_with_log};
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
            let free = context.facts(file).as_ref().map(|facts| facts.free);
            let lacking = free.ok().and_then(|free| lacking(free, file));
            large_log(bytes, lacking, &readers, file)
        }
    }
}

/// What the file grows by when its log is copied into it, beyond what is free; `None` where it is
/// enough.
fn lacking(free: u64, file: &SqliteTarget) -> Option<u64> {
    let now = file.path.metadata().ok()?.len();
    let growth = size_with_log(&file.path)?.saturating_sub(now);
    growth.checked_sub(free).filter(|lacking| *lacking > 0)
}

/// Where the disk has no room for that.
fn emptied_elsewhere(lacking: u64, log: u64, file: &SqliteTarget) -> Remedy {
    let path = &file.path;
    let size = path.metadata().map_or(0, |found| found.len());
    let (all, lacking) = ((size + 2 * log).div_ceil(MIB), lacking.div_ceil(MIB));
    let database = shell_word(path);
    let (wal, index) = (shell_word(&wal_path(path)), shell_word(&index_path(path)));
    let name = shell_word(Path::new(path.file_name().unwrap_or_default()));
    Remedy::note(format!(
        "then free {lacking} MiB on this disk, and the daemon's next change empties the log; where nothing can be deleted, stop the daemon, and do it in a directory DIR of another disk with {all} MiB free, one step after the other:
cp -p {database} {wal} DIR
sqlite3 DIR/{name} 'PRAGMA wal_checkpoint(TRUNCATE); PRAGMA quick_check' (it says 0|0|0 and ok; otherwise go no further)
rm {wal} {index}
cp -p DIR/{name} {database}
then start the daemon; delete what is in DIR when it has all tasks"
    ))
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

/// `lacking` is what has to be freed on the disk before the log can be copied into the file.
fn large_log(bytes: u64, lacking: Option<u64>, readers: &[Holder], file: &SqliteTarget) -> Verdict {
    let mut detail = format!(
        "{} MiB: it is not emptied, which slows every read",
        bytes / MIB
    );
    let mut remedy = Remedy::default();
    for reader in readers {
        detail += &format!("; {} reads from it all the time", work::named(reader));
        remedy = remedy.then(work::end(reader));
    }
    if let Some(lacking) = lacking {
        detail += &format!(
            "; emptying it makes the file larger, for which {} MiB are missing on the disk",
            lacking.div_ceil(MIB)
        );
        return Verdict::warn(detail, remedy.then(emptied_elsewhere(lacking, bytes, file)));
    }
    let emptied = Remedy::note("then the daemon's next change empties it, or:").then(
        Remedy::command("sqlite3")
            .arg(&file.path)
            .arg("PRAGMA wal_checkpoint(TRUNCATE)"),
    );
    Verdict::warn(detail, remedy.then(emptied))
        .with_fixes([Fix::Statements(vec![EMPTY_WAL.to_owned()])])
}
