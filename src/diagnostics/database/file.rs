//! What a SQLite database needs of its file, its directory and its disk.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::config::{
    Barrier, Closed, DatabaseConfig, MissingMount, NoFile, OtherJournal, Remedy, SqliteTarget,
    as_root, away, files_beside, files_of_others, find_loss, generated_secret_path, hand_over,
    has_hot_journal, in_place_of_directory, resolved, undo_interrupted, writable,
};
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::directory::{
    file_system_verdict, nearest_existing, not_writable, of_file, stuck_verdict, this_user,
};
use crate::diagnostics::fix::Fix;
use crate::diagnostics::probe::{
    FileFacts, KeptOpen, Use, User, account_of, daemons_of, holders, is_writable, kept_open,
    listener, nameless_database, out_of_sight,
};
use crate::diagnostics::verdict::{Outcome, Verdict};
use crate::services::missing_file::MissingFile;
use crate::store::{ConnectFault, DamagedLog};

use super::fault::known_remedy;
use super::integrity::not_opened;
use super::other_log::{log_of_another, unused_log_of_another};
use super::{daemon_rights, kept_file, other_names, unmounted, work};

const MIB: u64 = 1024 * 1024;
const FREE_FAIL: u64 = 16 * MIB;
const FREE_WARN: u64 = 256 * MIB;
/// Logs, rotated logs and locks are created all the time.
const FREE_INODES: u64 = 64;

/// Whether the file exists and can be read.
pub(super) async fn connection(
    context: &Context,
    config: &DatabaseConfig,
    file: &SqliteTarget,
) -> Verdict {
    if let Some(stuck) = context.stuck() {
        return stuck_verdict(stuck, &file.path);
    }
    let place = file.path.display();
    if let Some(kept) = kept_open(&file.path).or(nameless(context, file).await) {
        return kept_file::verdict(&kept, &file.path);
    }
    if !file.path.exists() {
        let daemon = listener(context.audit.http.port).await;
        if let Some(found) = out_of_sight(&file.path, daemon.map(|one| one.pid)) {
            return unmounted::verdict(&found, &file.path);
        }
    }
    if let Some(missing) = MissingFile::find(&context.request.source, file) {
        let (text, remedy) = (missing.to_string(), missing.remedy());
        let blocks = missing.blocks(context.audit.environment);
        return if blocks || context.request.file_must_exist {
            Verdict::fail(text, remedy)
        } else {
            Verdict::warn_of_all(text, remedy)
        };
    }
    if let Some(lost) = find_loss(file) {
        return Verdict::fail(lost.to_string(), lost.remedy());
    }
    if let Some(other) = OtherJournal::beside(&file.path) {
        return Verdict::fail(other.to_string(), other.remedy());
    }
    if has_hot_journal(&file.path) && !is_written(file) {
        return interrupted(file);
    }
    if let Some(damaged) = DamagedLog::of(&file.path) {
        return Verdict::fail(damaged.to_string(), damaged.remedy());
    }
    if let Some(verdict) = unused_log_of_another(file).await {
        return verdict;
    }
    // The kind first: opening a named pipe would wait for its other end.
    let opened = match tokio::fs::metadata(&file.path).await {
        Ok(found) if !found.is_file() => {
            return Verdict::fail(
                format!("{place} is not a file"),
                known_remedy("sqlite.not-a-database", file),
            );
        }
        Ok(found) => tokio::fs::File::open(&file.path).await.map(|_| found.len()),
        Err(error) => Err(error),
    };
    match opened {
        Ok(bytes) => Verdict::pass(format!("{place} is readable, {bytes} bytes")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => missing(context, config, file),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => without_file(&file.path),
        Err(error) => match Closed::to_this_process(of_file(&file.path)) {
            Some(closed) => Verdict::fail(closed.to_string(), closed.remedy()),
            None => Verdict::fail(
                format!("{place} cannot be read: {error}"),
                known_remedy("sqlite.cannot-open", file),
            ),
        },
    }
}

/// What the daemon at PORT has open where there is no file: it was deleted with its directory, and
/// the path leads to another one now, as after a deployment.
async fn nameless(context: &Context, file: &SqliteTarget) -> Option<KeptOpen> {
    if file.path.exists() {
        return None;
    }
    let daemon = listener(context.audit.http.port).await?;
    daemon.is_todoctl().then(|| nameless_database(daemon.pid))?
}

/// Whether a process has locked the file for writing.
fn is_written(file: &SqliteTarget) -> bool {
    holders(&file.path, Use::Writes).is_ok_and(|found| !found.is_empty())
}

/// What the file has is not whole, and this command may not change it.
fn interrupted(file: &SqliteTarget) -> Verdict {
    Verdict::fail(
        format!(
            "a change of {} was interrupted, as by a crash, and is not undone yet; nothing else can be said about the file before",
            file.path.display()
        ),
        Remedy::note("SQLite undoes it when the daemon starts, or when anything else opens the file to write; this keeps a copy of both files, and undoes it:")
            .then(undo_interrupted(&file.path)),
    )
}

fn missing(context: &Context, config: &DatabaseConfig, file: &SqliteTarget) -> Verdict {
    let place = file.path.display();
    if context.request.file_must_exist || !config.auto_migrate {
        return Verdict::fail(
            format!("{place} does not exist yet"),
            context.request.source.create_database(),
        );
    }
    let mut text = format!("{place} does not exist yet: todoctl serve creates it");
    if let Some(first) = context.audit.missing_secrets().first() {
        let secret = generated_secret_path(file, first.as_str());
        text += &format!(
            ", and {} secrets in {}",
            context.audit.missing_secrets().len(),
            of_file(&secret).display()
        );
    }
    Verdict::skip_all(text)
}

/// Whether the directory, and the file if there is one, can be written.
pub(super) async fn directory(context: &Context, file: &SqliteTarget, _limit: Duration) -> Verdict {
    if !file.path.exists() {
        return without_file(&file.path);
    }
    let place = file.path.display();
    match context.facts(file) {
        Ok(facts) => check_directory(context, facts, &file.path),
        Err(error) => Verdict::fail(
            format!("{place} cannot be inspected: {error}"),
            writable(of_file(&file.path)),
        ),
    }
}

/// Whether the directory could hold the file.
fn without_file(path: &Path) -> Verdict {
    if let Some(away) = away(path) {
        return Verdict::fail(away.to_string(), away.remedy());
    }
    let directory = of_file(path);
    let existing = nearest_existing(directory);
    let place = existing.display();
    if !existing.is_dir() {
        return Verdict::fail(
            format!("{place} is not a directory"),
            in_place_of_directory(existing, path),
        );
    }
    if !is_writable(existing) || Barrier::of(existing).is_some() {
        return not_writable(existing, path);
    }
    Verdict::pass(format!("{place} is writable"))
}

/// What root may not change either.
fn check_barriers(directory: &Path, file: &Path) -> Option<Verdict> {
    let mut collected = Collected::default();
    let mut seen = Vec::new();
    let paths = [directory.to_owned(), file.to_owned()].into_iter();
    for path in paths.chain(files_beside(file)) {
        if let Some(barrier) = Barrier::of(&path).filter(|one| !seen.contains(one)) {
            collected.fail(format!("{} {barrier}", path.display()), barrier.remedy());
            seen.push(barrier);
        }
    }
    (!seen.is_empty()).then(|| collected.verdict(""))
}

fn check_directory(context: &Context, facts: &FileFacts, file: &Path) -> Verdict {
    if let Some(odd) = NoFile::beside(file) {
        return Verdict::fail(odd.to_string(), odd.remedy());
    }
    if let Some(verdict) = check_barriers(&facts.directory, file) {
        return verdict;
    }
    if !facts.directory_writable {
        return not_writable(&facts.directory, &resolved(file));
    }
    if let Some(verdict) = daemon_rights::missing(file, context.request.source.file()) {
        return verdict;
    }
    let daemons = daemons_of(file);
    let restart = (!daemons.is_empty()).then(|| Remedy::note(daemon_rights::RESTART));
    if !facts.file_writable {
        let user = rustix::process::geteuid().as_raw();
        let chmod = own_files(file, "chmod u+rw");
        let remedy = if facts.owner == user {
            chmod
        } else {
            as_root()
                .then(own_files(file, &format!("chown {user}")))
                .then(chmod)
        };
        return Verdict::fail(
            format!(
                "{} belongs to user {} and is not writable for {}",
                file.display(),
                facts.owner,
                this_user()
            ),
            remedy.then(restart),
        );
    }
    let others = files_of_others(file, &context.audit.secret_files);
    // Root may use the files of all users.
    let is_of_root = |user: &User| account_of(user.pid).is_some_and(|found| found.user == 0);
    if let Some(other) = others.first()
        && !daemons.iter().any(is_of_root)
    {
        return Verdict::fail(
            format!(
                "{} belongs to user {}, and {} to another, who may be root: the daemon cannot use it",
                file.display(),
                facts.owner,
                other.display()
            ),
            hand_over(&others, file).then(restart),
        );
    }
    other_names::hard_links(file).unwrap_or_else(|| {
        Verdict::pass(format!(
            "{} and the file are writable",
            facts.directory.display()
        ))
    })
}

/// The verdict on the file's facts. A failure to get them is reported by `database.directory`.
pub(super) fn of_facts(
    context: &Context,
    file: &SqliteTarget,
    verdict: impl FnOnce(&FileFacts) -> Verdict,
) -> Verdict {
    match context.facts(file) {
        Ok(facts) => verdict(facts),
        Err(_) => Verdict::skip_because_failed("database.directory"),
    }
}

pub(super) async fn file_system(
    context: &Context,
    file: &SqliteTarget,
    _limit: Duration,
) -> Verdict {
    of_facts(context, file, |facts| {
        if facts.is_mount {
            return mounted_alone(&file.path, &facts.directory);
        }
        let missing = MissingMount::above(&file.path).filter(MissingMount::is_automatic);
        if let Some(mount) = missing {
            return beneath(&mount, &file.path);
        }
        file_system_verdict(facts.file_system, &facts.directory)
    })
}

/// A file where something else is to be mounted, as after a start of the daemon before its volume was
/// there.
fn beneath(mount: &MissingMount, file: &Path) -> Verdict {
    let place = file.display();
    Verdict::warn(
        format!(
            "{mount}: {place} is on the disk beneath it, and the service's tasks may be on the one that is missing"
        ),
        Remedy::note(format!(
            "stop the daemon first; once it is mounted, {place} is the file there, and the one that is used now is hidden beneath: copy what was stored in it since to another directory before (sqlite3 {place} .dump)"
        ))
        .then(mount.remedy())
        .then(Remedy::note(format!(
            "then start the daemon; if nothing is to be mounted there any more: {}",
            mount.forgotten()
        ))),
    )
}

/// As with `docker run -v ./todo.db:/data/todo.db`. The log is beside the file, on another file
/// system.
fn mounted_alone(file: &Path, directory: &Path) -> Verdict {
    let (file, directory) = (file.display(), directory.display());
    Verdict::fail(
        format!(
            "{file} is mounted by itself: its write-ahead log, which has the newest changes, is in {directory}, and not where the file comes from; what is in it is lost with the container, and a program that opens the file where it comes from damages it"
        ),
        Remedy::note(format!(
            "stop the daemon, so that the log is copied into the file; then mount the directory that the file is in at {directory}, not the file"
        )),
    )
}

pub(super) async fn disk(context: &Context, file: &SqliteTarget, _limit: Duration) -> Verdict {
    of_facts(context, file, |facts| {
        let detail = format!("{} MiB free", facts.free / MIB);
        if let Some(left) = facts.free_inodes.filter(|left| *left < FREE_INODES) {
            return Verdict::fail(
                format!("{detail}, but no more than {left} files can be created: SQLite needs three for its logs"),
                Remedy::note("remove files that are not needed from its file system; this counts them by directory:")
                    .then(Remedy::command("du --inodes -xd1").arg(&facts.directory)),
            );
        }
        match facts.free {
            free if free < FREE_WARN => {
                let log = facts.wal.filter(|log| *log > free.max(FREE_WARN));
                let (text, remedy) = match log {
                    Some(log) => (
                        format!("; its write-ahead log has {} MiB", log / MIB),
                        Some(Remedy::note("as for database.wal")),
                    ),
                    None => (String::new(), known_remedy("sqlite.disk-full", file)),
                };
                if free < FREE_FAIL {
                    Verdict::fail(format!("{detail}: the next write may fail{text}"), remedy)
                } else {
                    Verdict::warn(format!("{detail}{text}"), remedy)
                }
            }
            _ => Verdict::pass(detail),
        }
    })
}

/// As the daemon does when it opens the file. Not possible while another process uses it.
const SET_WAL: &str = "PRAGMA journal_mode = WAL";

pub(super) async fn journal(context: &Context, file: &SqliteTarget, _limit: Duration) -> Verdict {
    of_facts(context, file, |facts| {
        if facts.wal_mode == Some(true) {
            return Verdict::pass("wal");
        }
        Verdict::warn(
            "not in WAL mode: readers and the writer wait for each other",
            Remedy::note("another program has changed it; the daemon sets it again when it starts, and this does so now:").then(
                Remedy::command("sqlite3").arg(&file.path).arg(SET_WAL),
            ),
        )
        .with_fixes([Fix::Statements(vec![SET_WAL.to_owned()])])
    })
}

pub(super) async fn login(context: &Context, file: &SqliteTarget, limit: Duration) -> Verdict {
    match context.file.login(file, limit).await {
        Ok(_) => Verdict::pass("opened; a file needs no password"),
        Err(error) => {
            let cause = match error.fault {
                ConnectFault::Corrupt => log_of_another(file, limit).await,
                ConnectFault::Busy => Some(work::file_locks(file).await),
                _ => None,
            };
            let cause = cause.filter(|verdict| verdict.outcome == Outcome::Fail);
            cause.unwrap_or_else(|| not_opened(file, error))
        }
    }
}

/// A command for the file and those beside it.
fn own_files(file: &Path, command: &str) -> Remedy {
    files_beside(file).fold(Remedy::command(command).arg(file), Remedy::arg)
}
