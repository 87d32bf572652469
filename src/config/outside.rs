//! What files and processes of a container are called outside of it, where its images need not have a
//! shell (`proc_pid_mountinfo(5)`, `pid_namespaces(7)`).

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use procfs::process::{MountInfo, Process, all_processes};
use serde::{Deserialize, Serialize};

use super::shell::shell_word;

/// The names of a container's files and processes where the operator is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outside {
    pid: i32,
    /// The daemon's working directory in the container.
    directory: PathBuf,
    /// Where the container has a mount, and where that is outside, if it is anywhere.
    mounts: Vec<(PathBuf, Option<PathBuf>)>,
    /// The numbers of processes in the container and outside.
    processes: Vec<(i32, i32)>,
}

/// What works with the network of the container alone.
const OF_NETWORK: [&str; 4] = ["redis-cli", "curl", "openssl", "ss"];

impl Outside {
    /// Of the container of this process, asked from outside.
    pub(crate) fn of(process: &Process) -> Option<Self> {
        let own = Process::myself().and_then(|own| own.mountinfo()).ok()?;
        let theirs = process.mountinfo().ok()?;
        let root = PathBuf::from(format!("/proc/{}/root", process.pid));
        let mounts = theirs.0.iter().map(|mount| {
            let inside = root.join(mount.mount_point.strip_prefix("/").unwrap_or(Path::new("")));
            (mount.mount_point.clone(), place_of(mount, &own.0, &inside))
        });
        Some(Self {
            pid: process.pid,
            directory: fs::read_link(format!("/proc/{}/cwd", process.pid)).ok()?,
            mounts: mounts.collect(),
            processes: processes_of(process.pid),
        })
    }

    /// A line of the shell, which runs in the container, as it is typed outside.
    pub(super) fn line(&self, line: &str) -> String {
        let mut has_relative = false;
        let mut words: Vec<String> = Vec::new();
        for raw in raw_words(line) {
            let word = shlex::split(raw).filter(|words| words.len() == 1);
            let word = word.and_then(|mut words| words.pop());
            words.push(match word {
                Some(word) if word.starts_with('/') && word != "/dev/null" => {
                    shell_word(&self.path(Path::new(&word)))
                }
                Some(word) => {
                    has_relative |= !words.is_empty() && Self::is_file(&word);
                    let before = words.last().map(String::as_str);
                    self.number(words.first(), before, &word)
                        .unwrap_or_else(|| raw.to_owned())
                }
                None => raw.to_owned(),
            });
        }
        let line = words.join(" ");
        if has_relative {
            let directory = shell_word(&self.path(&self.directory));
            return format!("(cd {directory} && {line})");
        }
        match words.first() {
            Some(program) if OF_NETWORK.contains(&program.as_str()) => {
                format!("nsenter -t {} -n {line}", self.pid)
            }
            _ => line,
        }
    }

    /// Whether a relative path names something in the working directory, which is this process's too.
    fn is_file(word: &str) -> bool {
        let path = Path::new(word);
        let has_parent = path
            .parent()
            .is_some_and(|parent| parent != Path::new("") && parent.is_dir());
        !word.starts_with(['-', '/']) && (has_parent || path.symlink_metadata().is_ok())
    }

    /// The number of a process that a command names.
    fn number(&self, program: Option<&String>, before: Option<&str>, word: &str) -> Option<String> {
        let is_process = match program.map(String::as_str) {
            Some("kill") => true,
            Some(_) => before == Some("--pid"),
            None => false,
        };
        let number = word.parse().ok().filter(|_| is_process)?;
        Some(self.process(number)?.to_string())
    }

    fn process(&self, inside: i32) -> Option<i32> {
        let mut all = self.processes.iter();
        all.find_map(|(one, outside)| (*one == inside).then_some(*outside))
    }

    /// Where a file of the container is.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        let mut words = path.iter();
        if words.next().is_some()
            && words.next().is_some_and(|word| word == "proc")
            && let Some(number) = words.next().and_then(|word| word.to_str()?.parse().ok())
            && let Some(outside) = self.process(number)
        {
            return Path::new("/proc").join(outside.to_string()).join(words);
        }
        let above = self.mounts.iter().filter(|(at, _)| path.starts_with(at));
        let mount = above.max_by_key(|(at, _)| at.components().count());
        if let Some((at, Some(outside))) = mount
            && let Ok(below) = path.strip_prefix(at)
        {
            return outside.join(below).components().collect();
        }
        let below = path.strip_prefix("/").unwrap_or(path);
        PathBuf::from(format!("/proc/{}/root", self.pid)).join(below)
    }
}

/// Where a mount of a container is among one's own: `inside` leads to it through the container.
fn place_of(mount: &MountInfo, own: &[MountInfo], inside: &Path) -> Option<PathBuf> {
    let id = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        Some((found.dev(), found.ino()))
    };
    let wanted = id(inside)?;
    let same = own.iter().filter(|one| one.majmin == mount.majmin);
    let mut places = same.filter_map(|one| {
        let below = Path::new(&mount.root).strip_prefix(&one.root).ok()?;
        let place: PathBuf = one.mount_point.join(below).components().collect();
        (id(&place) == Some(wanted)).then_some(place)
    });
    places.next()
}

/// The processes that have the same numbers of their own as this one.
fn processes_of(pid: i32) -> Vec<(i32, i32)> {
    let space = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(wanted) = space(pid) else {
        return Vec::new();
    };
    let all = all_processes().into_iter().flatten().flatten();
    let of_container = all.filter(|process| space(process.pid).as_ref() == Some(&wanted));
    let numbers = of_container.filter_map(|process| {
        let numbers = process.status().ok()?.nspid?;
        Some((*numbers.last()?, process.pid))
    });
    numbers.collect()
}

/// The words of a line as they are written, with their quotes.
fn raw_words(line: &str) -> impl Iterator<Item = &str> {
    let mut quote = None;
    let words = line.split(move |sign: char| {
        match (quote, sign) {
            (None, '\'' | '"') => quote = Some(sign),
            (Some(open), sign) if open == sign => quote = None,
            _ => {}
        }
        quote.is_none() && sign == ' '
    });
    words.filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_they_are_typed_outside() {
        let outside = Outside {
            pid: 4711,
            directory: "/data".into(),
            mounts: vec![
                ("/".into(), Some("/var/lib/docker/overlay2/x/merged".into())),
                ("/data".into(), Some("/srv/my data".into())),
                ("/tmp".into(), None),
            ],
            processes: vec![(1, 4711), (7, 4800)],
        };
        for (line, expected) in [
            (
                "chmod 600 /data/secrets/a",
                "chmod 600 '/srv/my data/secrets/a'",
            ),
            ("chown 5 '/data/a b'", "chown 5 '/srv/my data/a b'"),
            ("kill -CONT 1", "kill -CONT 4711"),
            (
                "prlimit --pid 7 --nofile=9:",
                "prlimit --pid 4800 --nofile=9:",
            ),
            (
                "cp /proc/1/fd/3 /tmp/x",
                "cp /proc/4711/fd/3 /proc/4711/root/tmp/x",
            ),
            (
                "echo 0 > /sys/f",
                "echo 0 > /var/lib/docker/overlay2/x/merged/sys/f",
            ),
            ("ls > /dev/null && df -h", "ls > /dev/null && df -h"),
            (
                "redis-cli -p 1 PING",
                "nsenter -t 4711 -n redis-cli -p 1 PING",
            ),
            (
                "sed -i '1s/a b//' src/lib.rs",
                "(cd '/srv/my data' && sed -i '1s/a b//' src/lib.rs)",
            ),
        ] {
            assert_eq!(outside.line(line), expected);
        }
    }
}
