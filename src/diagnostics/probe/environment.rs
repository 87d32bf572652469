//! The environments of running daemons (`proc_pid_environ(5)`), as far as this user may read them.

use std::collections::BTreeMap;
use std::path::Path;

use procfs::process::Process;

use crate::config::{DEFAULT_ENV_FILE, Origin, SecretName, Source};

use super::open_file::{daemon_with, daemons, named_env_file};

/// The variables that a daemon was started with. They may be secrets.
pub(crate) struct Environment {
    pub(crate) pid: i32,
    values: BTreeMap<String, String>,
}

impl Environment {
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let values = self.values.iter();
        values.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    #[cfg(test)]
    pub(crate) fn of(pid: i32, values: &[(&str, &str)]) -> Self {
        let values = values.iter();
        Self {
            pid,
            values: values
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }
}

/// Those of all daemons of this machine.
pub(crate) fn environments() -> Vec<Environment> {
    let found = daemons().filter_map(|process| {
        let values = process.environ().ok()?.into_iter();
        let texts = values.filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Some(Environment {
            pid: process.pid,
            values: texts.collect(),
        })
    });
    found.collect()
}

/// `source` with what it lacks of a running daemon of this configuration, which has it from its
/// environment: a unit file, a compose file or a platform sets more than the `.env` file.
pub(crate) fn with_daemon(source: &Source) -> Source {
    let mut source = source.clone();
    if !source.is_in_place_of_daemon()
        && let Some(daemon) = started_with(&source)
    {
        // Where it reads the file itself, the check of its configuration names what differs.
        let reads_file = source.file().and_then(daemon_with) == Some(daemon.pid);
        let environment = daemon.iter().filter(|_| !reads_file);
        source.lend(daemon.pid, environment);
    }
    source
}

/// The only daemon that reads the `.env` file, or that has got a secret of it as its environment.
pub(crate) fn started_with(source: &Source) -> Option<Environment> {
    let mut found = all_started_with(source).into_iter();
    found.next().filter(|_| found.next().is_none())
}

/// All of them: replicas have the same environment.
pub(crate) fn all_started_with(source: &Source) -> Vec<Environment> {
    let Some(file) = source.file() else {
        return Vec::new();
    };
    let reads_it = daemon_with(file);
    let has_secret = |daemon: &Environment| {
        let mut names = SecretName::ALL.into_iter().filter(|name| {
            let is_in_file = source.origin(name.as_str()) == Some(Origin::File);
            let value = source.get(name.as_str());
            is_in_file && value.is_some_and(|value| name.is_strong(value))
        });
        names.any(|name| daemon.value(name.as_str()).map(str::trim) == source.get(name.as_str()))
    };
    let mut found = environments();
    found.retain(|daemon| {
        reads_it == Some(daemon.pid) || (has_secret(daemon) && !has_env_file(daemon.pid))
    });
    found
}

/// The number of the daemon of this configuration, if its command line has this argument.
pub(crate) fn started_with_argument(source: &Source, argument: &str) -> Option<i32> {
    let pid = started_with(source)?.pid;
    let arguments = Process::new(pid).ok()?.cmdline().ok()?;
    arguments.iter().any(|one| one == argument).then_some(pid)
}

/// Whether the daemon reads a `.env` file of its own.
fn has_env_file(pid: i32) -> bool {
    Process::new(pid).is_ok_and(|process| named_env_file(&process).is_some())
        || Path::new(&format!("/proc/{pid}/cwd/{DEFAULT_ENV_FILE}")).exists()
}
