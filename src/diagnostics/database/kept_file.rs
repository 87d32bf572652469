//! A SQLite file that was deleted, replaced or moved while the daemon has it open.

use std::path::Path;

use crate::config::{Remedy, unused_name, wal_path, with_suffix};
use crate::diagnostics::probe::{KeptOpen, Place};
use crate::diagnostics::verdict::Verdict;

/// What the daemon has acknowledged is in the file that it has open, and in the log of that. That
/// file is put back where it was, and what is there now is kept under another name.
pub(super) fn verdict(kept: &KeptOpen, path: &Path) -> Verdict {
    let place = path.display();
    let (what, meaning) = match (&kept.place, path.exists()) {
        (Place::WithoutLog(Some(_)), _) => (
            format!("the write-ahead log of {place} was deleted"),
            "what it wrote last is in no other file",
        ),
        (Place::WithoutLog(None), _) => (
            format!("the write-ahead log of {place}, or its index, was deleted"),
            "the daemon refuses changes until it is restarted; nothing is missing in the file",
        ),
        (Place::Nameless(..), false) => (format!("{place} was deleted"), NOT_IN_FILE),
        (Place::Moved(to), false) => (
            format!("{place} was moved to {}", to.display()),
            NOT_IN_FILE,
        ),
        (_, true) => (format!("{place} was replaced by another file"), NOT_IN_FILE),
    };
    let detail = format!(
        "{what} while the daemon (pid {}) has it open: {meaning}",
        kept.pid
    );
    Verdict::fail(detail, remedy(kept, path))
}

const NOT_IN_FILE: &str =
    "the daemon refuses changes, and what it has is not in the file at that path";

fn remedy(kept: &KeptOpen, path: &Path) -> Remedy {
    match &kept.place {
        Place::Moved(to) => out_of_the_way(kept, path)
            .then(Remedy::command("mv -n").arg(to).arg(path))
            .then(Remedy::note(
                "the daemon goes on with that file, without a restart",
            )),
        Place::Nameless(file, log) => rescue(kept, path, file, log.as_deref()),
        Place::WithoutLog(Some(log)) => rescue(kept, path, path, Some(log)),
        Place::WithoutLog(None) => Remedy::note("restart the daemon"),
    }
}

/// Copies `file` and its log, which end with the daemon, to where the daemon opens them again.
fn rescue(kept: &KeptOpen, path: &Path, file: &Path, log: Option<&Path>) -> Remedy {
    let rescued = unused_name(path, ".rescued");
    let first = Remedy::note(
        "do not stop the daemon before this has copied what it has; the copy then takes the place of the file",
    );
    // The log first: the daemon may copy it into the file meanwhile, and then its pages are in both
    // copies.
    let copy_log = log.map(|log| copy(kept, log, &wal_path(&rescued)));
    let merge = log.map(|_| {
        Remedy::command("sqlite3")
            .arg(&rescued)
            .arg("PRAGMA wal_checkpoint(TRUNCATE)")
    });
    first
        .then(copy_log)
        .then(copy(kept, file, &rescued))
        .then(merge)
        .then(out_of_the_way(kept, path))
        .then(Remedy::command("mv -n").arg(&rescued).arg(path))
        .then(Remedy::note("then restart the daemon"))
}

/// A copy that belongs to the user of the daemon, and that nobody else can read.
fn copy(kept: &KeptOpen, from: &Path, to: &Path) -> Remedy {
    let is_root = rustix::process::geteuid().is_root();
    let install = if is_root && kept.user != 0 {
        format!("install -m 600 -o {}", kept.user)
    } else {
        "install -m 600".to_owned()
    };
    Remedy::command(install).arg(from).arg(to)
}

/// Keeps the database that is there now, with its logs, under another name.
fn out_of_the_way(kept: &KeptOpen, path: &Path) -> Remedy {
    if !path.exists() {
        return Remedy::default();
    }
    let replaced = unused_name(path, ".replaced");
    let first = Remedy::note(format!(
        "the file that is there now is kept as {}",
        replaced.display()
    ));
    let first = first.then(Remedy::command("mv -n").arg(path).arg(&replaced));
    ["-wal", "-journal"].into_iter().fold(first, |all, suffix| {
        let log = with_suffix(path, suffix);
        if !log.exists() || kept.has_as_log(&log) {
            return all;
        }
        let moved = Remedy::command("mv -n").arg(&log);
        all.then(moved.arg(with_suffix(&replaced, suffix)))
    })
}
