//! A SQLite file that was deleted, replaced or moved while the daemon has it open.

use std::path::Path;

use crate::config::{
    Remedy, SecretName, SqliteTarget, generated_secret_path, here, install_for, unused_name,
    wal_path, with_suffix,
};
use crate::diagnostics::probe::{KeptOpen, Place, daemons_of, kept_secret};
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
            "the daemon refuses changes until it is restarted; the file has all that the daemon wrote, but what another program wrote since then may be lost",
        ),
        (Place::Nameless(..), false) => (format!("{place} was deleted"), NOT_IN_FILE),
        (Place::Moved(to), false) => (
            format!("{place} was moved to {}", to.display()),
            NOT_IN_FILE,
        ),
        (_, true) => (format!("{place} was replaced by another file"), NOT_IN_FILE),
    };
    if !matches!(kept.place, Place::WithoutLog(None))
        && let Some(user) = daemons_of(path).iter().find(|user| user.pid != kept.pid)
    {
        return beside_another(kept, path, &what, user.pid);
    }
    let detail = format!(
        "{what} while the daemon (pid {}) has it open: {meaning}",
        kept.pid
    );
    Verdict::fail(detail, remedy(kept, path))
}

/// The file at the path is served by the daemon `other`, and may not be moved.
fn beside_another(kept: &KeptOpen, path: &Path, what: &str, other: i32) -> Verdict {
    let pid = kept.pid;
    let place = path.display();
    let (file, log) = match &kept.place {
        Place::Moved(to) => {
            return Verdict::warn(
                format!(
                    "{what} while another daemon (pid {pid}) has it open, which goes on with that file; the daemon with pid {other} serves {place}"
                ),
                compared(to, pid),
            );
        }
        Place::WithoutLog(log) => {
            let detail = format!(
                "{what} while the daemon (pid {pid}) has it open, and another one (pid {other}) has the file open with a log of its own: they overwrite each other's changes"
            );
            let copied = saved(kept, path, path, log.as_deref());
            let remedy = copied.then(Remedy::note(format!(
                "then stop both daemons, look at {place} and at the copy (PRAGMA integrity_check), put the better one in its place, and start one daemon"
            )));
            return Verdict::fail(detail, remedy);
        }
        Place::Nameless(file, log) => (file, log.as_deref()),
    };
    let rescued = unused_name(path, ".rescued");
    Verdict::warn(
        format!(
            "{what} while an older daemon (pid {pid}) has it open: its changes are refused; the daemon with pid {other} serves the file that is there now"
        ),
        saved(kept, path, file, log).then(compared(&rescued, pid)),
    )
}

/// The older daemon ends; what it had is for a person to compare.
fn compared(file: &Path, pid: i32) -> Remedy {
    Remedy::note(format!(
        "what the older daemon has is in {}: compare it with the database that is served now",
        file.display()
    ))
    .then(Remedy::command(format!(
        "grep -qxF todoctl /proc/{pid}/comm && kill {pid}"
    )))
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
    Remedy::note(
        "do not stop the daemon before this has copied what it has; the copy then takes the place of the file",
    )
    .then(saved(kept, path, file, log))
    .then(out_of_the_way(kept, path))
    .then(Remedy::command("mv -n").arg(&rescued).arg(path))
    .then(Remedy::note(if has_deleted_secrets(path) {
        "then look at todoctl doctor --only config.secret_files: the generated secrets were deleted too, and end with the daemon; after that, restart the daemon"
    } else {
        "then restart the daemon"
    }))
}

/// Whether a daemon has generated secrets open that were deleted.
fn has_deleted_secrets(path: &Path) -> bool {
    let database = SqliteTarget {
        path: path.to_owned(),
    };
    let mut names = SecretName::ALL.iter();
    names.any(|name| kept_secret(path, &generated_secret_path(&database, name.as_str())).is_some())
}

/// Copies `file` and its log to a file beside `path`.
fn saved(kept: &KeptOpen, path: &Path, file: &Path, log: Option<&Path>) -> Remedy {
    let rescued = unused_name(path, ".rescued");
    // The log first: the daemon may copy it into the file meanwhile, and then its pages are in both
    // copies.
    let copy_log = log.map(|log| copy(kept, log, &wal_path(&rescued)));
    let merge = log.map(|_| {
        Remedy::command("sqlite3")
            .arg(&rescued)
            .arg("PRAGMA wal_checkpoint(TRUNCATE)")
    });
    let directory = here(path.parent().unwrap_or(path));
    let missing = (!directory.exists()).then(|| owned(kept, "-d -m 700").arg(directory));
    Remedy::default()
        .then(missing)
        .then(copy_log)
        .then(copy(kept, file, &rescued))
        .then(merge)
}

/// A copy that belongs to the user of the daemon, and that nobody else can read.
fn copy(kept: &KeptOpen, from: &Path, to: &Path) -> Remedy {
    owned(kept, "-m 600").arg(from).arg(to)
}

/// Creates something for the user of the daemon.
fn owned(kept: &KeptOpen, options: &str) -> Remedy {
    Remedy::command(install_for(kept.user, options))
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
