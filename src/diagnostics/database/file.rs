//! What a SQLite database needs of its file, its directory and its disk.

use std::path::Path;
use std::time::Duration;

use crate::config::SqliteTarget;
use crate::diagnostics::check::{Budget, Check, Verdict};
use crate::diagnostics::directory::{give, move_away, nearest, of_file};
use crate::store::messages::Known;
use crate::store::{FileFacts, FileSystem, ProbeConnection, is_writable};

use super::names::{CONNECTION, DIRECTORY, DISK, FILE_SYSTEM, INTEGRITY, JOURNAL, MODES, WAL};
use super::query_failed;

const LIMIT: Duration = Duration::from_secs(5);
/// A large file takes long to read through.
const INTEGRITY_LIMIT: Duration = Duration::from_secs(10);

const MIB: u64 = 1024 * 1024;
const FREE_FAIL: u64 = 16 * MIB;
const FREE_WARN: u64 = 256 * MIB;
/// Four times what the daemon lets it grow to before it empties it.
const WAL_WARN: u64 = 64 * MIB;

/// Whether the file is there and can be read.
pub(super) async fn connection(file: &SqliteTarget, budget: Budget) -> Check {
    let work = async { (readable(file).await, None::<()>) };
    CONNECTION.check(budget.limit(LIMIT), work).await.0
}

async fn readable(file: &SqliteTarget) -> Verdict {
    let place = file.path.display();
    // The kind first: opening a named pipe would wait for its other end.
    let opened = match tokio::fs::metadata(&file.path).await {
        Ok(found) if !found.is_file() => {
            return Verdict::fail(format!("{place} is not a file"), move_away(&file.path));
        }
        Ok(found) => tokio::fs::File::open(&file.path).await.map(|_| found.len()),
        Err(error) => Err(error),
    };
    match opened {
        Ok(bytes) => Verdict::pass(format!("{place} is readable, {bytes} bytes")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Verdict::fail(
            format!("{place} does not exist yet"),
            "todoctl migrate up".to_owned(),
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            judge_missing(&file.path)
        }
        Err(error) => Verdict::fail(
            format!("{place} cannot be read: {error}"),
            give(of_file(&file.path)),
        ),
    }
}

/// Whether the directory of a file that is not there could take it.
pub(super) fn directory(file: &SqliteTarget) -> Check {
    DIRECTORY.done(judge_missing(&file.path), Duration::ZERO)
}

fn judge_missing(path: &Path) -> Verdict {
    let directory = of_file(path);
    match nearest(directory) {
        Some(found) if !found.is_dir() => Verdict::fail(
            format!("{} is not a directory", found.display()),
            move_away(found),
        ),
        Some(found) if is_writable(found) => {
            Verdict::pass(format!("{} may be written", found.display()))
        }
        Some(found) => unwritable(found, directory),
        None => Verdict::pass("not looked at"),
    }
}

/// `wanted` is what the file is to be in; `existing` what there is of it.
fn unwritable(existing: &Path, wanted: &Path) -> Verdict {
    let place = existing.display();
    let user = rustix::process::geteuid().as_raw();
    Verdict::fail(
        format!("{place} may not be written by this user ({user}), and SQLite makes its log there"),
        give(wanted),
    )
}

/// What the system says about the file: directory, kind of file system, modes, free disk.
pub(super) fn facts(file: &SqliteTarget) -> Vec<Check> {
    let facts = match FileFacts::of(file) {
        Ok(facts) => facts,
        Err(error) => {
            let verdict = Verdict::fail(
                format!("{} cannot be looked at: {error}", file.path.display()),
                format!(
                    "let this user enter the directory of {}",
                    file.path.display()
                ),
            );
            return vec![DIRECTORY.done(verdict, Duration::ZERO)];
        }
    };
    let place = file.path.display().to_string();
    let done = |name: super::Name, verdict| name.done(verdict, Duration::ZERO);
    vec![
        done(DIRECTORY, judge_directory(&facts, &place)),
        done(
            FILE_SYSTEM,
            judge_file_system(facts.file_system, &facts.directory),
        ),
        done(MODES, judge_modes(&facts, &place)),
        done(DISK, judge_disk(facts.free, &place)),
        done(JOURNAL, judge_journal(facts.wal_mode)),
        done(WAL, judge_wal(facts.wal)),
    ]
}

fn judge_directory(facts: &FileFacts, place: &str) -> Verdict {
    if !facts.directory_writable {
        return unwritable(&facts.directory, &facts.directory);
    }
    if !facts.file_writable {
        let user = rustix::process::geteuid().as_raw();
        return Verdict::fail(
            format!(
                "{place} belongs to user {} and may not be written by this one ({user})",
                facts.owner
            ),
            format!("sudo chown {user} {place}*"),
        );
    }
    Verdict::pass(format!(
        "{} and the file may be written",
        facts.directory.display()
    ))
}

/// What a database risks on such a file system.
pub fn judge_file_system(kind: FileSystem, directory: &Path) -> Verdict {
    let place = directory.display();
    let elsewhere = "put the database on a disk of this machine: DATABASE_URL=sqlite:///var/lib/todoctl/todo.db; or use PostgreSQL, which is made for several machines";
    match kind {
        FileSystem::Local => Verdict::pass("a disk of this machine"),
        FileSystem::Network(name) => Verdict::fail(
            format!(
                "{place} is on a network file system ({name}), whose locks do not keep a SQLite database whole"
            ),
            elsewhere.to_owned(),
        ),
        FileSystem::Shared(name) => Verdict::warn(
            format!("{place} is on {name}, which may not keep locks as SQLite needs them"),
            elsewhere.to_owned(),
        ),
        FileSystem::Fleeting("overlay") => Verdict::warn(
            format!(
                "{place} is inside a container's own layer: every task is lost with the container"
            ),
            format!("mount a volume there: docker run -v todo-data:{place} …"),
        ),
        FileSystem::Fleeting(name) => Verdict::warn(
            format!("{place} is in memory ({name}): every task is lost at the next restart"),
            elsewhere.to_owned(),
        ),
    }
}

fn judge_modes(facts: &FileFacts, place: &str) -> Verdict {
    let shown = format!("mode {:04o}, owner {}", facts.mode, facts.owner);
    if facts.mode & 0o002 != 0 {
        return Verdict::warn(
            format!("{shown}: every user of this machine may change the tasks"),
            format!("chmod o-rwx {place}*"),
        );
    }
    Verdict::pass(shown)
}

fn judge_disk(free: u64, place: &str) -> Verdict {
    let detail = format!("{} MiB free", free / MIB);
    let remedy = Known::find("no space left on device").map(|known| known.remedy(place));
    match free {
        _ if free < FREE_FAIL => {
            Verdict::fail(format!("{detail}: the next write may fail"), remedy)
        }
        _ if free < FREE_WARN => Verdict::warn(detail, remedy),
        _ => Verdict::pass(detail),
    }
}

fn judge_wal(bytes: Option<u64>) -> Verdict {
    match bytes {
        None => Verdict::pass("there is none: nobody has the database open"),
        Some(bytes) if bytes <= WAL_WARN => Verdict::pass(format!("{bytes} bytes")),
        Some(bytes) => Verdict::warn(
            format!("{} MiB: it is not emptied, which slows every read down", bytes / MIB),
            "end the process that reads for hours, or restart the daemon: it empties the log when it stops".to_owned(),
        ),
    }
}

fn judge_journal(wal_mode: Option<bool>) -> Verdict {
    if wal_mode == Some(true) {
        return Verdict::pass("wal");
    }
    Verdict::warn(
        "not in WAL mode: readers and the writer wait for each other",
        "restart the daemon: it sets WAL when it opens the file".to_owned(),
    )
}

/// What SQLite finds in the file; one that is too large for the time is no fault.
pub(super) async fn integrity(mut open: ProbeConnection, budget: Budget) -> Check {
    let limit = budget.limit(INTEGRITY_LIMIT);
    let work = async {
        let asked = tokio::time::timeout(limit, open.integrity()).await;
        let verdict = match asked {
            Ok(Ok(lines)) => {
                open.close().await;
                judge_integrity(&lines)
            }
            Ok(Err(error)) => query_failed(&error),
            Err(_) => Verdict::warn(
                format!(
                    "not read through within {} s; so far nothing is wrong",
                    limit.as_secs()
                ),
                "at a quiet hour: sqlite3 FILE 'PRAGMA integrity_check'".to_owned(),
            ),
        };
        (verdict, None::<()>)
    };
    INTEGRITY
        .check(limit + Duration::from_secs(1), work)
        .await
        .0
}

fn judge_integrity(lines: &[String]) -> Verdict {
    if lines == ["ok"] {
        return Verdict::pass("ok");
    }
    let remedy = Known::find("database disk image is malformed");
    Verdict::fail(
        lines.join("; "),
        remedy.map(|known| known.remedy("todo.db")),
    )
}
