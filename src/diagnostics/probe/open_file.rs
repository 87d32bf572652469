//! A SQLite file that a running daemon has open, while its path leads to another file or to none,
//! or while its log was deleted.
//!
//! The file lives on until the daemon closes it, and can be read through `/proc/PID/fd`
//! (`proc_pid_fd(5)`).

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::{index_path, is_database, wal_path, with_suffix};

use super::program::is_todoctl;

/// What the kernel appends to the name of a file that has none any more.
const DELETED: &str = " (deleted)";

/// A daemon's database that is not at its path any more.
#[derive(Debug)]
pub(crate) struct KeptOpen {
    pub(crate) pid: u32,
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

/// The daemons that have the file at `path` open, as far as their files can be seen.
pub(crate) fn daemons_of(path: &Path) -> Vec<u32> {
    let Ok(name) = fs::canonicalize(path) else {
        return Vec::new();
    };
    let has_open = |process: &Path| {
        let files = fs::read_dir(process.join("fd")).into_iter().flatten();
        let mut targets = files.flatten().map(|file| fs::read_link(file.path()));
        targets.any(|target| target.is_ok_and(|target| target == name))
    };
    let is_serving = |process: &Path| {
        let words = fs::read(process.join("cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == b"serve")
    };
    programs()
        .filter(|(_, process)| is_serving(process) && has_open(process))
        .map(|(pid, _)| pid)
        .collect()
}

/// The other processes of this program, and their directories.
fn programs() -> impl Iterator<Item = (u32, PathBuf)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let program = fs::read_to_string(process.path().join("comm")).ok()?;
        let is_own = is_todoctl(&program) && pid != std::process::id();
        is_own.then(|| (pid, process.path()))
    })
}

/// The database that a daemon opened at `path`, if another file or none is there now, or if its log
/// was deleted. `None` also
/// where the files of the daemon cannot be seen.
pub(crate) fn kept_open(path: &Path) -> Option<KeptOpen> {
    // SQLite opens files by their resolved paths.
    let name = match fs::canonicalize(path) {
        Ok(found) => found,
        Err(_) => fs::canonicalize(directory(path)?)
            .ok()?
            .join(path.file_name()?),
    };
    programs().find_map(|(pid, process)| of_process(pid, &process, &name))
}

fn of_process(pid: u32, process: &Path, name: &Path) -> Option<KeptOpen> {
    let files: Vec<(PathBuf, PathBuf)> = fs::read_dir(process.join("fd"))
        .ok()?
        .flatten()
        .filter_map(|file| Some((file.path(), fs::read_link(file.path()).ok()?)))
        .collect();
    let with_target = |target: &Path| files.iter().find(|(_, to)| to == target);
    let log_name = wal_path(name);
    let own_log = with_target(&log_name).and_then(|_| id(&log_name));
    let nameless_log = with_target(&with_suffix(&log_name, DELETED));
    let nameless_index = with_target(&with_suffix(&index_path(name), DELETED));
    let has_content = |log: &PathBuf| fs::metadata(log).is_ok_and(|log| log.len() > 0);
    let place = if with_target(name).is_some() {
        let log = nameless_log.map(|(file, _)| file.clone());
        (log.is_some() || nameless_index.is_some())
            .then(|| Place::WithoutLog(log.filter(has_content)))?
    } else if let Some((file, _)) = with_target(&with_suffix(name, DELETED)) {
        let log = nameless_log.map(|(file, _)| file.clone());
        Place::Nameless(file.clone(), log.filter(has_content))
    } else if own_log.is_some() || nameless_log.is_some() {
        let is_moved = |(file, to): &&(PathBuf, PathBuf)| to.is_file() && is_database(file);
        Place::Moved(files.iter().find(is_moved)?.1.clone())
    } else {
        return None;
    };
    Some(KeptOpen {
        pid,
        user: fs::metadata(process).ok()?.uid(),
        place,
        own_log,
    })
}

/// The parent of a relative path is empty: the working directory.
fn directory(path: &Path) -> Option<&Path> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    })
}

fn id(path: &Path) -> Option<(u64, u64)> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}
