//! The running daemon that a command is about.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use procfs::process::Process;

use crate::config::{Container, Origin, Remedy, Source};
use crate::diagnostics::{all_started_with, daemons, is_todoctl, named_env_file};

use super::hint::Hint;
use super::output;

/// A daemon as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Daemon {
    Pid(i32),
    /// The only one that runs.
    Auto,
}

impl FromStr for Daemon {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => match text.parse() {
                Ok(pid) if pid > 0 => Ok(Self::Pid(pid)),
                _ => Err("neither the id of a process nor auto"),
            },
        }
    }
}

impl Daemon {
    pub(super) fn find(self) -> Result<Process, Hint> {
        match self {
            Self::Pid(pid) => {
                let found = Process::new(pid).ok();
                let is_daemon = |process: &Process| {
                    let stat = process.stat();
                    stat.is_ok_and(|stat| is_todoctl(&stat.comm))
                };
                found.filter(is_daemon).ok_or_else(|| {
                    let what = format!("process {pid} is no todoctl serve");
                    Hint::new(what, Remedy::command("pgrep -af 'todoctl.* serve'"))
                })
            }
            Self::Auto => {
                let mut found: Vec<Process> = daemons().collect();
                if found.len() > 1 {
                    found.sort_unstable_by_key(|one| one.pid);
                    let remedy = Remedy::note("name the one that is meant:");
                    return Err(Hint::new(
                        format!("{} daemons run here", found.len()),
                        found
                            .iter()
                            .fold(remedy, |all, one| all.then(Remedy::note(choice(one)))),
                    ));
                }
                found.pop().ok_or_else(|| {
                    Hint::new(
                        "no todoctl serve runs here, as far as this user can see",
                        Remedy::note("start it, or run this command as root"),
                    )
                })
            }
        }
    }
}

/// A daemon as an operator tells it from others.
fn choice(process: &Process) -> String {
    let pid = process.pid;
    let directory = std::fs::read_link(format!("/proc/{pid}/cwd"));
    let directory =
        directory.map_or_else(|_| String::new(), |one| format!(", in {}", one.display()));
    let container = Container::of(process).filter(|_| has_other_root(process));
    let container = container.map_or_else(String::new, |one| format!(", container {}", one.name()));
    let file = named_env_file(process).map_or_else(String::new, |file| format!(", with {file}"));
    let user = process.uid().unwrap_or_default();
    format!("--pid {pid} (user {user}{directory}{file}{container})")
}

/// The daemon in a container that has got the variables of this configuration, where this process may
/// take its place: its addresses and files are not those of its host.
pub(super) fn daemon_in_container(source: &Source) -> Option<Daemon> {
    // Services that share a secret have a database each.
    let url = |value: Option<&str>| value.unwrap_or_default().trim().to_owned();
    let own = url(source.get("DATABASE_URL"));
    let mut found = all_started_with(source);
    found.retain(|one| url(one.value("DATABASE_URL")) == own);
    let first = found.iter().min_by_key(|one| one.pid)?;
    let is_in_container = |pid| Process::new(pid).is_ok_and(|process| has_other_root(&process));
    let process = Process::new(first.pid).ok()?;
    let is_possible = rustix::process::geteuid().is_root()
        && found.iter().all(|one| is_in_container(one.pid))
        && !has_own_users(&process);
    if !is_possible {
        return None;
    }
    let is_changed = |name: &&str| {
        let value = first.value(name).map(str::trim);
        source.origin(name) == Some(Origin::File) && value.is_some() && value != source.get(name)
    };
    let changed: Vec<&str> = source.names().filter(is_changed).collect();
    if !changed.is_empty() {
        output::note(&format!(
            "the .env file has other values of {} than the daemon's container, which has to be created again for them",
            changed.join(", ")
        ));
    }
    Some(Daemon::Pid(first.pid))
}

pub(super) fn has_other_root(process: &Process) -> bool {
    let id = |root: &Path| root.metadata().map(|found| (found.dev(), found.ino())).ok();
    let theirs = id(&PathBuf::from(format!("/proc/{}/root", process.pid)));
    theirs.is_some() && theirs != id(Path::new("/"))
}

/// Whether it has users of its own (`user_namespaces(7)`).
pub(super) fn has_own_users(process: &Process) -> bool {
    let users = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/user")).ok();
    users("self") != users(&process.pid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemons_as_they_are_named() {
        assert_eq!("7".parse(), Ok(Daemon::Pid(7)));
        for text in ["-1", "0", "todoctl", ""] {
            assert!(text.parse::<Daemon>().is_err(), "{text}");
        }
    }
}
