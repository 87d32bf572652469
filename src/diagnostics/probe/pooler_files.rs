//! The files of a PgBouncer of this machine, as far as this user may read them (PgBouncer's manual,
//! "pgbouncer.ini").

mod text;

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};

use procfs::process::{Process, all_processes};

use crate::config::{PostgresTarget, Secret, read_small_file};

use super::listener::{State, listener};
use super::program::is_pgbouncer;
use text::{last_reason, parameters, password_of};

/// Where Debian, Red Hat and the images of containers have its configuration.
const USUAL: [&str; 2] = ["/etc/pgbouncer/pgbouncer.ini", "/etc/pgbouncer.ini"];

/// Files that include others, one in the other.
const DEPTH: usize = 3;

/// So many poolers of a machine are looked at.
const MOST: usize = 3;

/// How much is read of its log.
const LOG_END: u64 = 64 * 1024;

/// Its own defaults.
const LISTEN_PORT: u16 = 6432;
const POOL_SIZE: u32 = 20;

/// What `pgbouncer.ini` says.
#[derive(Debug, Default)]
pub(crate) struct PoolerFiles {
    /// Its process; `None` where it does not run.
    pub(crate) pid: Option<i32>,
    /// Whether it can run: it is not stopped.
    pub(crate) is_running: bool,
    /// The file, as its process names it.
    pub(crate) ini: PathBuf,
    /// What precedes the paths of its process here: it may have mounts of its own.
    root: PathBuf,
    /// Relative paths begin there.
    directory: PathBuf,
    settings: Vec<Setting>,
    lines: Vec<Line>,
}

/// A row of SHOW DATABASES.
#[derive(Debug, Clone, Default)]
pub(crate) struct Database {
    pub(crate) host: Option<String>,
    pub(crate) port: u16,
    /// What the line looks for on the server.
    pub(crate) own_name: String,
    /// The role with which it logs in, where that is not the client's.
    pub(crate) force_user: Option<String>,
    /// `session`, `transaction` or `statement`.
    pub(crate) pool_mode: String,
    pub(crate) pool_size: u32,
    /// Zero for no limit.
    pub(crate) max_connections: u32,
    pub(crate) connections: u32,
    pub(crate) paused: bool,
    pub(crate) disabled: bool,
}

/// A line of `[pgbouncer]`.
#[derive(Debug)]
struct Setting {
    file: PathBuf,
    name: String,
    value: String,
}

/// A line of `[databases]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) file: PathBuf,
    pub(crate) number: usize,
    pub(crate) name: String,
    parameters: Vec<(String, String)>,
}

/// What the `auth_file` has for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// No line.
    Nothing,
    /// The same password.
    Same,
    Other,
    /// A hash or a secret from which it cannot be told.
    Secret,
}

/// Whether a host is this machine: an address of its own, or a socket.
pub(crate) fn is_this_machine(server: &PostgresTarget) -> bool {
    let host = server.host.trim_matches(['[', ']']);
    let is_own = |address: IpAddr| UdpSocket::bind((address, 0)).is_ok();
    server.is_loopback() || host.parse().is_ok_and(is_own)
}

impl PoolerFiles {
    /// The files of the PgBouncer that listens at the address of `server`, or that is configured to.
    pub(crate) async fn at(server: &PostgresTarget) -> Option<Self> {
        if !is_this_machine(server) {
            return None;
        }
        match listener(server.port).await {
            Some(found) if is_pgbouncer(&found.name) => Some(Self {
                is_running: found.state == State::Running,
                ..Self::of(found.pid)?
            }),
            Some(_) => None,
            None => USUAL
                .into_iter()
                .filter_map(|ini| Self::read(None, Path::new(ini), Path::new(""), Path::new("/")))
                .find(|files| files.port() == server.port),
        }
    }

    /// Those of the poolers that run on the machine of `server`, if that is this one.
    pub(crate) fn of_this_machine(server: &PostgresTarget) -> Vec<Self> {
        if !is_this_machine(server) {
            return Vec::new();
        }
        let processes = all_processes().into_iter().flatten().flatten();
        let poolers = processes.filter(|process| {
            let name = process.stat().map(|found| found.comm);
            name.is_ok_and(|name| is_pgbouncer(&name))
        });
        let files = poolers.filter_map(|process| Self::of(process.pid));
        // A line for all databases may be another service's.
        let is_meant = |files: &Self| {
            let line = files.line(&server.database);
            line.is_some_and(|line| line.name == server.database || files.is_usual())
        };
        files.filter(is_meant).take(MOST).collect()
    }

    fn is_usual(&self) -> bool {
        USUAL.iter().any(|ini| Path::new(ini) == self.ini)
    }

    fn of(pid: i32) -> Option<Self> {
        let process = Process::new(pid).ok()?;
        let words = process.cmdline().ok()?;
        let ini = PathBuf::from(
            words
                .into_iter()
                .skip(1)
                .rfind(|word| !word.starts_with('-'))?,
        );
        let directory = process.cwd().unwrap_or_else(|_| PathBuf::from("/"));
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        let read = |root: &Path| Self::read(Some(pid), &ini, root, &directory);
        read(&root).or_else(|| read(Path::new("")))
    }

    fn read(pid: Option<i32>, ini: &Path, root: &Path, directory: &Path) -> Option<Self> {
        let mut files = Self {
            pid,
            ini: directory.join(ini),
            root: root.to_owned(),
            directory: directory.to_owned(),
            ..Self::default()
        };
        let text = files.text(ini)?;
        let mut section = String::new();
        files.parse(&text, &files.ini.clone(), &mut section, DEPTH);
        (!files.settings.is_empty() || !files.lines.is_empty()).then_some(files)
    }

    /// Where a file is from here that the process names.
    fn here(&self, path: &Path) -> PathBuf {
        let path = self.directory.join(path);
        match path.strip_prefix("/") {
            Ok(rest) if !self.root.as_os_str().is_empty() => self.root.join(rest),
            _ => path,
        }
    }

    fn text(&self, path: &Path) -> Option<String> {
        String::from_utf8(read_small_file(&self.here(path)).ok()?).ok()
    }

    fn parse(&mut self, text: &str, file: &Path, section: &mut String, depth: usize) {
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with([';', '#']) {
                continue;
            }
            if let Some(included) = line.strip_prefix("%include") {
                let included = Path::new(included.trim());
                if let (true, Some(text)) = (depth > 0, self.text(included)) {
                    let file = self.directory.join(included);
                    self.parse(&text, &file, section, depth - 1);
                }
                continue;
            }
            if let Some(name) = line.strip_prefix('[') {
                name.trim_end_matches(']').trim().clone_into(section);
                continue;
            }
            let Some((name, value)) = line.split_once('=') else {
                continue;
            };
            let (name, value) = (name.trim(), value.trim());
            match section.as_str() {
                "pgbouncer" => self.settings.push(Setting {
                    file: file.to_owned(),
                    name: name.to_owned(),
                    value: value.to_owned(),
                }),
                "databases" => self.lines.push(Line {
                    file: file.to_owned(),
                    number: index + 1,
                    name: name.trim_matches('"').to_owned(),
                    parameters: parameters(value),
                }),
                _ => {}
            }
        }
    }

    fn found(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().rfind(|one| one.name == name)
    }

    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        let value = self.found(name).map(|one| one.value.as_str());
        value.filter(|value| !value.is_empty())
    }

    /// Whether a line has the setting, empty or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.found(name).is_some()
    }

    /// The file in which a setting is, or to which it is added.
    pub(crate) fn file_of(&self, name: &str) -> &Path {
        self.found(name).map_or(&self.ini, |one| &one.file)
    }

    /// The names in a setting that is a list.
    pub(crate) fn names(&self, setting: &str) -> Vec<String> {
        let text = self.setting(setting).unwrap_or_default();
        let names = text.split(',').map(str::trim);
        names
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn port(&self) -> u16 {
        self.number("listen_port").unwrap_or(LISTEN_PORT)
    }

    fn number<T: std::str::FromStr>(&self, setting: &str) -> Option<T> {
        self.setting(setting)?.parse().ok()
    }

    /// The line of a database, or else the one of all others.
    pub(crate) fn line(&self, database: &str) -> Option<&Line> {
        let of = |name: &str| self.lines.iter().rfind(|line| line.name == name);
        of(database).or_else(|| of("*"))
    }

    /// What SHOW DATABASES would tell of a database, without what changes while PgBouncer runs.
    pub(crate) fn database(&self, name: &str) -> Option<Database> {
        let line = self.line(name)?;
        let number = |parameter: &str, setting: &str| {
            let own = line.parameter(parameter).and_then(|text| text.parse().ok());
            own.or_else(|| self.number(setting))
        };
        let mode = line.parameter("pool_mode").or(self.setting("pool_mode"));
        Some(Database {
            host: line.parameter("host").map(str::to_owned),
            port: line
                .parameter("port")
                .and_then(|text| text.parse().ok())
                .unwrap_or(5432),
            own_name: line.parameter("dbname").unwrap_or(name).to_owned(),
            force_user: line.parameter("user").map(str::to_owned),
            pool_mode: mode.unwrap_or("session").to_owned(),
            pool_size: number("pool_size", "default_pool_size").unwrap_or(POOL_SIZE),
            max_connections: number("max_db_connections", "max_db_connections").unwrap_or_default(),
            ..Database::default()
        })
    }

    /// The file that a setting names, as its process finds it.
    pub(crate) fn path_of(&self, setting: &str) -> Option<PathBuf> {
        Some(self.directory.join(self.setting(setting)?))
    }

    /// What the `auth_file` has for a user with a password; `None` where it cannot be read.
    pub(crate) fn stored(&self, user: &str, password: &str) -> Option<Stored> {
        let text = self.text(&self.path_of("auth_file")?)?;
        Some(match password_of(&text, user) {
            None => Stored::Nothing,
            Some(text) if is_secret(&text) => Stored::Secret,
            Some(text) if text == password => Stored::Same,
            Some(_) => Stored::Other,
        })
    }
}

impl PoolerFiles {
    /// The password of a user in the `auth_file`, unless it is a hash.
    pub(crate) fn password_of(&self, user: &str) -> Option<Secret> {
        let text = self.text(&self.path_of("auth_file")?)?;
        let password = password_of(&text, user)?;
        (!is_secret(&password)).then(|| Secret::new(password))
    }

    /// Why PgBouncer has no server connection to a database, as the newest line of its log says;
    /// `None` where that is nothing out of the ordinary.
    pub(crate) fn last_reason(&self, database: &str) -> Option<String> {
        let mut file = File::open(self.here(&self.path_of("logfile")?)).ok()?;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_END)))
            .ok()?;
        let mut end = Vec::new();
        file.take(LOG_END).read_to_end(&mut end).ok()?;
        last_reason(&String::from_utf8_lossy(&end), database)
    }
}

/// Whether it is what PostgreSQL keeps of a password, and not the password.
fn is_secret(text: &str) -> bool {
    text.starts_with("SCRAM-SHA-256$") || (text.len() == 35 && text.starts_with("md5"))
}

impl Line {
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().rfind(|(one, _)| one == name);
        found.map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(directory: &Path, ini: &str) -> PoolerFiles {
        let path = directory.join("pgbouncer.ini");
        std::fs::write(&path, ini).unwrap();
        PoolerFiles::read(None, &path, Path::new(""), directory).unwrap()
    }

    #[test]
    fn what_the_files_say() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        std::fs::write(
            place.join("lines.ini"),
            "; none\n\"to do\" = host=db.example.com port=5433 dbname='it''s' user=app\n",
        )
        .unwrap();
        std::fs::write(
            place.join("users.txt"),
            "\"todo\" \"a \"\"word\"\"\"\n; \"no\" \"line\"\n\"hash\" \"md50123456789abcdef0123456789abcdef\"\n",
        )
        .unwrap();
        let found = files(
            place,
            "[databases]\n%include lines.ini\n* = host=/run/postgresql pool_size = 3\n\
             [pgbouncer]\nadmin_users = postgres, root\nlisten_port=7000\nauth_file = users.txt\n\
             default_pool_size = 9\n[users]\nx = pool_mode=session\n",
        );
        assert_eq!(found.port(), 7000);
        assert_eq!(found.names("admin_users"), ["postgres", "root"]);
        let line = found.line("to do").unwrap();
        assert_eq!(
            (line.number, line.file.clone()),
            (2, place.join("lines.ini"))
        );
        let database = found.database("to do").unwrap();
        assert_eq!(database.host.as_deref(), Some("db.example.com"));
        assert_eq!(database.force_user.as_deref(), Some("app"));
        assert_eq!((database.port, database.own_name.as_str()), (5433, "it's"));
        assert_eq!(database.pool_size, 9);
        let other = found.database("other").unwrap();
        assert_eq!((other.port, other.own_name.as_str()), (5432, "other"));
        assert_eq!((other.pool_size, other.pool_mode.as_str()), (3, "session"));
        let stored = |user, password| found.stored(user, password).unwrap();
        assert_eq!(stored("todo", "a \"word\""), Stored::Same);
        assert_eq!(stored("todo", "another"), Stored::Other);
        assert_eq!(stored("hash", "another"), Stored::Secret);
        assert_eq!(stored("no", "another"), Stored::Nothing);
    }
}
