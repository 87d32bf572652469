//! Directories that the service writes to, and how to make one writable.

use std::path::Path;

use crate::config::{Barrier, Closed, Remedy, as_root, here, writable_folder};

use super::probe::{FileSystem, Stuck};
use super::verdict::Verdict;

/// The directory that a file is in.
pub(super) fn of_file(file: &Path) -> &Path {
    here(file.parent().unwrap_or(file))
}

/// The directory, or its nearest parent that exists.
pub(super) fn nearest_existing(directory: &Path) -> &Path {
    let mut parents = directory.ancestors().map(here);
    parents.find(|one| one.exists()).unwrap_or(Path::new("."))
}

/// The user of this process, as texts name it.
pub(super) fn this_user() -> String {
    format!("user {}", rustix::process::geteuid().as_raw())
}

/// `directory` is where the file should be; `existing` is what exists of that path.
pub(super) fn not_writable(existing: &Path, file: &Path) -> Verdict {
    let place = existing.display();
    if let Some(closed) = Closed::to_this_process(of_file(file)) {
        return Verdict::fail(closed.to_string(), closed.remedy());
    }
    match Barrier::of(existing) {
        Some(barrier) => Verdict::fail(format!("{place} {barrier}"), barrier.remedy()),
        None => Verdict::fail(
            format!(
                "{place} is not writable for {}, and SQLite creates its log there",
                this_user()
            ),
            writable_folder(file),
        ),
    }
}

/// A file system for which every process waits that writes to it.
pub(super) fn stuck_verdict(stuck: &Stuck, file: &Path) -> Verdict {
    let mount = stuck.mount.as_deref().unwrap_or(of_file(file));
    let place = mount.display();
    let thaw = as_root().then(Remedy::command("fsfreeze -u").arg(mount));
    if stuck.is_frozen {
        return Verdict::fail(
            format!(
                "the file system at {place} is frozen, as for a snapshot: every process that writes to it waits until it is thawed"
            ),
            Remedy::note("unless a snapshot is being made now; a script that ended between fsfreeze -f and fsfreeze -u leaves it so:")
                .then(thaw),
        );
    }
    Verdict::fail(
        format!(
            "the file system at {place} does not answer: its disk or its server is gone, or it is frozen, as for a snapshot; every process that uses it waits"
        ),
        Remedy::note("the kernel's log (dmesg) tells of a disk or a server that does not answer; it goes on when that does")
            .or(Remedy::note("if it was frozen for a snapshot that has ended:").then(thaw)),
    )
}

/// What a database risks on such a file system.
pub(super) fn file_system_verdict(kind: FileSystem, directory: &Path) -> Verdict {
    let place = directory.display();
    let elsewhere = Remedy::note(format!(
        "stop the daemon, move todo.db, todo.db-wal and the folder secrets from {place} to a local disk, then name it: todoctl config set DATABASE_URL=sqlite:///var/lib/todoctl/todo.db"
    ));
    match kind {
        // Where a relative path leads there, somebody tries something out.
        FileSystem::Local if directory.starts_with("/tmp") => Verdict::warn(
            format!(
                "{place} is emptied when the system starts, and a unit with PrivateTmp has another /tmp"
            ),
            elsewhere,
        ),
        FileSystem::Local => Verdict::pass("local disk"),
        FileSystem::Network(name) => Verdict::fail(
            format!(
                "{place} is on a network file system ({name}), where SQLite databases get damaged: its locks are not reliable"
            ),
            elsewhere,
        ),
        FileSystem::Shared(name) => Verdict::warn(
            format!("{place} is on {name}, whose locks may not be reliable enough for SQLite"),
            elsewhere,
        ),
        FileSystem::Temporary("overlay") => Verdict::warn(
            format!("{place} is inside the container: every task is lost when it is removed"),
            out_of_the_container(directory),
        ),
        FileSystem::Temporary(name) => Verdict::warn(
            format!("{place} is in memory ({name}): every task is lost at the next restart"),
            elsewhere,
        ),
    }
}

/// Moves the directory into a volume. Docker knows the containers, so all of it is typed on its host.
fn out_of_the_container(directory: &Path) -> Remedy {
    let place = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let place = place.display();
    Remedy::note(format!(
        "the tasks are in this container alone, so keep it until a volume has them; on its host, with its name for OLD:
docker stop OLD
docker cp OLD:{place}/. ./todo-copy
create the new container with a volume there: docker create --name NEW -v todo-data:{place}, with the other options and the image of OLD
docker cp -a ./todo-copy/. NEW:{place}
docker start NEW
when the new one shows the tasks: docker rm OLD"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::verdict::Outcome;
    use super::*;

    #[test]
    fn what_is_emptied() {
        let of = |path| file_system_verdict(FileSystem::Local, Path::new(path)).outcome;
        assert_eq!(of("/tmp/todo"), Outcome::Warn);
        assert_eq!(of("/tmpfiles"), Outcome::Pass);
        assert_eq!(of("data"), Outcome::Pass);
    }

    #[test]
    fn tasks_leave_a_container_before_it_is_removed() {
        for (directory, place) in [("/srv/todo", "/srv/todo"), ("data", "/data")] {
            let kind = FileSystem::Temporary("overlay");
            let remedy = file_system_verdict(kind, Path::new(directory)).remedy;
            let text = remedy.unwrap().to_string();
            let steps = [
                "docker stop OLD".to_owned(),
                format!("{place}/. ./todo-copy"),
                format!("{place}, with the other options"),
                "./todo-copy/. NEW:/".to_owned(),
                "docker rm OLD".to_owned(),
            ];
            let found: Vec<_> = steps.iter().map(|step| text.find(step)).collect();
            assert!(found.iter().all(Option::is_some), "{text}");
            assert!(found.is_sorted(), "{text}");
            assert!(!text.contains("todo-data:data"), "{text}");
        }
    }

    #[test]
    fn the_nearest_that_exists() {
        let own = tempfile::tempdir().unwrap();
        assert_eq!(nearest_existing(&own.path().join("a/b")), own.path());
        assert_eq!(nearest_existing(Path::new("no-such/one")), Path::new("."));
    }
}
