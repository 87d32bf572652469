//! A SQLite file that a running daemon has open, while its path leads to another file or to none,
//! or while its log was deleted.
//!
//! The file lives on until the daemon closes it, and can be read through `/proc/PID/fd`
//! (`proc_pid_fd(5)`).

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use procfs::process::{FDTarget, Process, all_processes};

use crate::config::{Account, DEFAULT_ENV_FILE, index_path, is_database, wal_path, with_suffix};

use super::program::is_todoctl;

/// What the kernel appends to the name of a file that has none any more.
const DELETED: &str = " (deleted)";

/// A daemon's database that is not at its path any more.
#[derive(Debug)]
pub(crate) struct KeptOpen {
    pub(crate) pid: i32,
    /// The user that runs the daemon.
    pub(crate) user: u32,
    pub(crate) place: Place,
    /// The write-ahead log, where it is at its path.
    own_log: Option<(u64, u64)>,
}

#[derive(Debug)]
pub(crate) enum Place {
    /// It was moved.
    Moved(PathBuf),
    /// It has no name. It can be read at this path, and its log at the other unless that is empty.
    Nameless(PathBuf, Option<PathBuf>),
    /// It is at its path, but its log was deleted, or the index of it. The log can be read here
    /// unless it is empty.
    WithoutLog(Option<PathBuf>),
}

impl KeptOpen {
    /// Whether the file at `path` is the daemon's log.
    pub(crate) fn has_as_log(&self, path: &Path) -> bool {
        self.own_log.is_some() && self.own_log == id(path)
    }
}

/// A daemon that has a SQLite file open.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) pid: i32,
    /// The other name by which it has opened the file. SQLite names its log after it, so that each
    /// name has a log of its own.
    pub(crate) other_name: Option<PathBuf>,
}

/// The daemons that have the file at `path` open, as far as their files can be seen.
pub(crate) fn daemons_of(path: &Path) -> Vec<User> {
    let Some(file) = id(path) else {
        return Vec::new();
    };
    let log = id(&wal_path(path));
    let daemon = |process: Process| {
        let files = open_files(&process);
        let (_, name) = files.iter().find(|(at, _)| id(at) == Some(file))?;
        // In a container the same file may have another path, with the same log beside it.
        let log_of_name = wal_path(name);
        let their_log = files.iter().find(|(_, target)| *target == log_of_name);
        let is_other = their_log.is_some_and(|(at, _)| id(at) != log);
        Some(User {
            pid: process.pid,
            other_name: is_other.then(|| name.clone()),
        })
    };
    daemons().filter_map(daemon).collect()
}

/// The daemons of this machine, as far as they can be seen.
pub(crate) fn daemons() -> impl Iterator<Item = Process> {
    programs().filter(|process| {
        let words = process.cmdline().unwrap_or_default();
        words.iter().any(|word| word == "serve")
    })
}

/// The `.env` file that the command line of a daemon names.
pub(crate) fn named_env_file(process: &Process) -> Option<String> {
    let words = process.cmdline().unwrap_or_default();
    let mut pairs = words.iter().zip(words.iter().skip(1));
    let named = pairs
        .find_map(|(option, name)| (option == "--env-file").then_some(name.as_str()))
        .or_else(|| {
            let mut words = words.iter();
            words.find_map(|word| word.strip_prefix("--env-file="))
        });
    named.map(str::to_owned)
}

/// A daemon that was started in the working directory of this command with a `.env` file of another
/// name, and that name.
pub(crate) fn daemon_with_other_file() -> Option<(i32, String)> {
    daemons_here().find_map(|process| Some((process.pid, named_env_file(&process)?)))
}

/// A daemon that was started in the working directory of this command, and reads the `.env` file
/// there, whether it exists or not.
pub(crate) fn daemon_without_env_file() -> Option<i32> {
    daemons_here()
        .find(|process| named_env_file(process).is_none())
        .map(|process| process.pid)
}

/// The daemons that were started in the working directory of this command.
fn daemons_here() -> impl Iterator<Item = Process> {
    let here = id(Path::new("."));
    daemons().filter(move |process| {
        let there = id(&PathBuf::from(format!("/proc/{}/cwd", process.pid)));
        here.is_some() && there == here
    })
}

/// The daemon that reads this `.env` file, as far as its working directory can be seen.
pub(crate) fn daemon_with(env_file: &Path) -> Option<i32> {
    let file = id(env_file)?;
    let reads_it = |process: &Process| {
        let named = named_env_file(process);
        let own = PathBuf::from(format!("/proc/{}", process.pid));
        let name = Path::new(named.as_deref().unwrap_or(DEFAULT_ENV_FILE));
        // In a container the same path leads to another file.
        let place = match name.strip_prefix("/") {
            Ok(below_root) => own.join("root").join(below_root),
            Err(_) => own.join("cwd").join(name),
        };
        id(&place) == Some(file)
    };
    daemons().find(reads_it).map(|process| process.pid)
}

/// The user that runs a process, with its groups.
pub(crate) fn account_of(pid: i32) -> Option<Account> {
    let status = Process::new(pid)
        .and_then(|process| process.status())
        .ok()?;
    let others = status.groups.iter().map(|group| group.cast_unsigned());
    Some(Account {
        user: status.euid,
        groups: Some(others.chain([status.egid]).collect()),
    })
}

/// A file of a secret that a daemon has open, and that is not at its path any more.
#[derive(Debug)]
pub(crate) struct KeptSecret {
    pub(crate) pid: i32,
    /// The user that runs the daemon, and its group.
    pub(crate) owner: (u32, u32),
    /// Where it can be read.
    pub(crate) file: PathBuf,
}

/// The file of this name that a daemon which serves the database has open, where `path`, its own, does
/// not exist.
pub(crate) fn kept_secret(database: &Path, path: &Path) -> Option<KeptSecret> {
    let name = path.file_name()?.to_str()?;
    if path.exists() {
        return None;
    }
    let is_it = |target: &Path| {
        let target = target.to_str().unwrap_or_default();
        let target = target.strip_suffix(DELETED).unwrap_or(target);
        Path::new(target).file_name().is_some_and(|one| one == name)
    };
    let kept = |pid: i32| {
        let process = Process::new(pid).ok()?;
        let (file, _) = open_files(&process)
            .into_iter()
            .find(|(at, target)| is_it(target) && has_content(at))?;
        let status = process.status().ok()?;
        Some(KeptSecret {
            pid,
            owner: (status.euid, status.egid),
            file,
        })
    };
    let of_deleted = kept_open(database).map(|one| one.pid);
    let pids = daemons_of(database).into_iter().map(|user| user.pid);
    pids.chain(of_deleted).find_map(kept)
}

/// The SQLite file that a process has open, by a name that still leads to it.
pub(crate) fn open_database(pid: i32) -> Option<PathBuf> {
    let files = open_files(&Process::new(pid).ok()?);
    let is_there = |(at, path): &(PathBuf, PathBuf)| is_database(at) && id(at) == id(path);
    files.into_iter().find(is_there).map(|(_, path)| path)
}

/// A database that was deleted, and that a process has open.
pub(crate) fn nameless_database(pid: i32) -> Option<KeptOpen> {
    let process = Process::new(pid).ok()?;
    let files = open_files(&process);
    let (file, name) = files.iter().find_map(|(at, to)| {
        let name = to.to_str()?.strip_suffix(DELETED)?;
        is_database(at).then_some((at, name))
    })?;
    let log_name = with_suffix(&wal_path(Path::new(name)), DELETED);
    let log = files.iter().find(|(_, to)| *to == log_name);
    let log = log.map(|(at, _)| at.clone()).filter(has_content);
    Some(KeptOpen {
        pid,
        user: process.uid().ok()?,
        place: Place::Nameless(file.clone(), log),
        own_log: None,
    })
}

fn has_content(log: &PathBuf) -> bool {
    fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// The other processes of this program.
fn programs() -> impl Iterator<Item = Process> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let is_other = move |process: &Process| {
        let name = process.stat().map(|found| found.comm);
        process.pid != own && name.is_ok_and(|name| is_todoctl(&name))
    };
    all_processes()
        .into_iter()
        .flatten()
        .flatten()
        .filter(is_other)
}

/// The files that a process has open: where they can be read, and their paths.
pub(super) fn open_files(process: &Process) -> Vec<(PathBuf, PathBuf)> {
    let files = process.fd().into_iter().flatten().flatten();
    files
        .filter_map(|file| match file.target {
            FDTarget::Path(path) => {
                Some((format!("/proc/{}/fd/{}", process.pid, file.fd).into(), path))
            }
            _ => None,
        })
        .collect()
}

/// The database that a daemon opened at `path`, if another file or none is there now, or if its log
/// was deleted. `None` also where the files of the daemon cannot be seen.
pub(crate) fn kept_open(path: &Path) -> Option<KeptOpen> {
    let name = whole_name(path)?;
    programs().find_map(|process| of_process(&process, &name))
}

/// The path by which SQLite opens a file: a resolved one, as far as it exists.
pub(super) fn whole_name(path: &Path) -> Option<PathBuf> {
    let mut missing = PathBuf::new();
    let whole = std::path::absolute(path).ok()?;
    for existing in whole.ancestors() {
        if let Ok(found) = fs::canonicalize(existing) {
            // Joining an empty path would add a slash.
            return Some(found.components().chain(missing.components()).collect());
        }
        missing = Path::new(existing.file_name()?).join(missing);
    }
    None
}

fn of_process(process: &Process, name: &Path) -> Option<KeptOpen> {
    let files = open_files(process);
    let with_target = |target: &Path| files.iter().find(|(_, to)| to == target);
    let log_name = wal_path(name);
    let own_log = with_target(&log_name).and_then(|_| id(&log_name));
    let nameless_log = with_target(&with_suffix(&log_name, DELETED));
    let nameless_index = with_target(&with_suffix(&index_path(name), DELETED));
    let place = if with_target(name).is_some() {
        let log = nameless_log.map(|(file, _)| file.clone());
        (log.is_some() || nameless_index.is_some())
            .then(|| Place::WithoutLog(log.filter(has_content)))?
    } else if let Some((file, _)) = with_target(&with_suffix(name, DELETED)) {
        // The log may still be there.
        let own = own_log.map(|_| log_name.clone());
        let log = own.or_else(|| nameless_log.map(|(file, _)| file.clone()));
        Place::Nameless(file.clone(), log.filter(has_content))
    } else if own_log.is_some() || nameless_log.is_some() {
        let is_moved = |(file, to): &&(PathBuf, PathBuf)| to.is_file() && is_database(file);
        Place::Moved(files.iter().find(is_moved)?.1.clone())
    } else {
        return None;
    };
    Some(KeptOpen {
        pid: process.pid,
        user: process.uid().ok()?,
        place,
        own_log,
    })
}

pub(super) fn id(path: &Path) -> Option<(u64, u64)> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}
