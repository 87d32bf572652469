//! Clusters of PostgreSQL on this machine, as Debian's packages keep them (`pg_lsclusters(1)`).

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::config::Remedy;

/// Where their configurations are, and the variable that says otherwise.
const CONFIGURATIONS: &str = "/etc/postgresql";
const CONFIGURATIONS_VARIABLE: &str = "PG_CLUSTER_CONF_ROOT";

const LOGS: &str = "/var/log/postgresql";

/// How much of the end of a log is read.
const END: u64 = 16 * 1024;

const DEFAULT_PORT: u16 = 5432;

/// A cluster, as `pg_ctlcluster` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cluster {
    version: String,
    name: String,
}

impl Cluster {
    /// The one that is configured to listen at `port`, unless there are several.
    pub(super) fn at_port(port: u16) -> Option<Self> {
        let root = std::env::var_os(CONFIGURATIONS_VARIABLE);
        let root = root.map_or_else(|| CONFIGURATIONS.into(), PathBuf::from);
        Self::below(&root, port)
    }

    fn below(root: &Path, port: u16) -> Option<Self> {
        let names = |directory: &Path| -> Vec<String> {
            let entries = directory.read_dir().into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            names.collect()
        };
        let mut found = names(root).into_iter().flat_map(|version| {
            let clusters = names(&root.join(&version)).into_iter();
            clusters.map(move |name| Self {
                version: version.clone(),
                name,
            })
        });
        let is_it = |one: &Self| {
            let file = root
                .join(&one.version)
                .join(&one.name)
                .join("postgresql.conf");
            std::fs::read_to_string(file).is_ok_and(|text| port_of(&text) == port)
        };
        let first = found.find(is_it)?;
        (!found.any(|one| is_it(&one))).then_some(first)
    }

    /// For root, or for the system user `postgres`.
    pub(super) fn command(&self, action: &str) -> Remedy {
        Remedy::command("pg_ctlcluster")
            .arg(&self.version)
            .arg(&self.name)
            .arg(action)
    }

    /// Where the reason is if it does not start.
    pub(super) fn says_more(&self) -> Remedy {
        Remedy::note(format!(
            "as root; if it does not start, its log says why: {}",
            self.log().display()
        ))
    }

    fn log(&self) -> PathBuf {
        let name = format!("postgresql-{}-{}.log", self.version, self.name);
        Path::new(LOGS).join(name)
    }

    /// The last fatal message since the server was started last, where the log may be read.
    pub(super) fn last_words(&self) -> Option<String> {
        let mut file = File::open(self.log()).ok()?;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(END)))
            .ok()?;
        let mut end = Vec::new();
        file.take(END).read_to_end(&mut end).ok()?;
        last_words(&String::from_utf8_lossy(&end)).map(str::to_owned)
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.version, self.name)
    }
}

/// The last line decides.
fn port_of(text: &str) -> u16 {
    let ports = text.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix("port")?.trim_start();
        let value = rest.strip_prefix('=').unwrap_or(rest).trim_start();
        let value = value.split([' ', '\t', '#']).next()?;
        value.trim_matches('\'').parse().ok()
    });
    ports.last().unwrap_or(DEFAULT_PORT)
}

/// What ended the server, or kept it from starting. Lines about clients have `user@database`.
fn last_words(log: &str) -> Option<&str> {
    let lines: Vec<&str> = log.lines().collect();
    let ready = |line: &&str| line.contains("ready to accept connections");
    let since = lines
        .iter()
        .rposition(|line| ready(line))
        .unwrap_or_default();
    lines[since..].iter().rev().find_map(|line| {
        let at = line.find("FATAL:").or_else(|| line.find("PANIC:"))?;
        let (begin, words) = line.split_at(at);
        (!begin.contains('@')).then_some(words)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_of_a_port() {
        let root = tempfile::tempdir().unwrap();
        for (version, name, text) in [
            (
                "15",
                "main",
                "#port = 1\nport = 5433\t# (change requires restart)\n",
            ),
            ("16", "main", "listen_addresses = '*'\n"),
            ("16", "other", "port=5434"),
            ("17", "other", "port = '5434'"),
        ] {
            let directory = root.path().join(version).join(name);
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join("postgresql.conf"), text).unwrap();
        }
        let at = |port| Cluster::below(root.path(), port).map(|one| one.to_string());
        assert_eq!(at(5433).as_deref(), Some("15/main"));
        assert_eq!(at(5432).as_deref(), Some("16/main"));
        assert_eq!(at(5434), None);
        assert_eq!(at(1), None);
    }

    #[test]
    fn what_a_log_ends_with() {
        let ready = "t [1] LOG:  database system is ready to accept connections";
        let refused = "t [2] todo@todo FATAL:  password authentication failed";
        let stopped = "t [1] LOG:  database system is shut down";
        let full = "t [3] PANIC:  could not write to file: No space left on device";
        for (lines, expected) in [
            (&[ready, refused, stopped][..], None),
            (
                &[ready, refused, full, stopped],
                Some("PANIC:  could not write to file: No space left on device"),
            ),
            (&[full, ready, stopped], None),
            (&[], None),
        ] {
            assert_eq!(last_words(&lines.join("\n")), expected, "{lines:?}");
        }
    }
}
