//! What a service has served: a file beside its `.env` file. It shows that an empty database has
//! taken the place of another one, as after a change of `DATABASE_URL` or with an empty volume.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::config::{
    DatabaseTarget, Remedy, SecretPlaces, SqliteTarget, service_of, wal_path, with_suffix,
};
use crate::domain::Timestamp;

/// Larger than any record.
const MAX_BYTES: u64 = 8192;

/// A write-ahead log without changes is no longer than its header.
const LOG_HEADER: u64 = 32;

/// A database, and how much is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastDatabase {
    /// The path of the file, or the URL without its password.
    pub(crate) place: String,
    /// The row of `todoctl_identity`, which copies have too.
    pub(crate) id: String,
    /// How many tasks it had, as far as they were counted.
    pub(crate) tasks: i64,
    /// What tells a server's database from its copies, and stays the same when it is renamed: a hash
    /// of the cluster and the database's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) database: Option<String>,
    /// Where the daemon had its secrets from.
    #[serde(default)]
    pub(crate) secrets: SecretPlaces,
    /// Where a daemon listened that has had clients, and has ended.
    #[serde(default)]
    pub(crate) clients_at: Option<SocketAddr>,
}

impl LastDatabase {
    pub(crate) fn new(target: &DatabaseTarget, id: String, tasks: i64) -> Self {
        let place = match target {
            DatabaseTarget::Sqlite(file) => {
                let whole = std::path::absolute(&file.path);
                let whole = whole.unwrap_or_else(|_| file.path.clone());
                whole.display().to_string()
            }
            DatabaseTarget::Postgres(_) => target.redacted(),
        };
        Self {
            place,
            id,
            tasks,
            database: None,
            secrets: SecretPlaces::new(),
            clients_at: None,
        }
    }

    /// What the service that `env_file` configures has served last; `None` if that is not known.
    pub(crate) fn read(env_file: &Path) -> Option<Self> {
        let file = open(OpenOptions::new().read(true), env_file).ok()?;
        let mut text = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut text).ok()?;
        let mut last: Self = serde_json::from_slice(&text).ok()?;
        if !last.is_url() {
            last.place = service_of(env_file)?
                .join(&last.place)
                .display()
                .to_string();
        }
        Some(last)
    }

    /// The file, if it is one of SQLite.
    pub(crate) fn file(&self) -> Option<SqliteTarget> {
        (!self.is_url()).then(|| SqliteTarget {
            path: PathBuf::from(&self.place),
        })
    }

    /// Whether it is a server's.
    pub(crate) fn is_url(&self) -> bool {
        self.place.contains("://")
    }

    /// Keeps it for the next start, unless the variables came from a pipe.
    pub(crate) fn write(&self, env_file: &Path) -> io::Result<()> {
        if env_file.starts_with("/dev") || env_file.starts_with("/proc") {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut kept = self.clone();
        // A copy of the whole folder is a service of its own, with a database of its own.
        if let Some(folder) = service_of(env_file)
            && let Ok(below) = Path::new(&self.place).strip_prefix(folder)
        {
            kept.place = below.display().to_string();
        }
        open(options, env_file)?.write_all(&serde_json::to_vec(&kept)?)
    }

    /// Whether `now` is another database than this one, and has less in it.
    pub(crate) fn is_missing_in(&self, now: &Self) -> bool {
        self.id != now.id && self.tasks > now.tasks
    }

    /// Whether `now` is this database, and nearly all of its tasks are gone. Fewer than
    /// [`Self::MANY`] may have been deleted by their user.
    pub(crate) fn is_emptied_in(&self, now: &Self) -> bool {
        self.id == now.id
            && self.place == now.place
            && self.tasks >= Self::MANY
            && now.tasks * Self::MANY < self.tasks
    }

    const MANY: i64 = 20;

    /// Whether both have the same server and database in their URLs.
    pub(crate) fn is_at_url_of(&self, now: &Self) -> bool {
        let without_role = |place: &str| place.rsplit_once('@').map(|(_, rest)| rest.to_owned());
        self.is_url() && without_role(&self.place) == without_role(&now.place)
    }

    /// The name of a server's database.
    pub(crate) fn name(&self) -> Option<&str> {
        let (_, name) = self.place.rsplit_once('/').filter(|_| self.is_url())?;
        Some(name)
    }

    /// Where this database was served, if `now` is the same one at another place.
    pub(crate) fn other_place_of(&self, now: &Self) -> Option<PathBuf> {
        let is_moved = self.id == now.id && self.place != now.place && !self.is_url();
        is_moved.then(|| PathBuf::from(&self.place))
    }

    /// The write-ahead log of this database, if it was left behind when the file was moved to
    /// where `now` is.
    pub(crate) fn log_left_behind(&self, now: &Self, file: &SqliteTarget) -> Option<LeftLog> {
        let old = Path::new(&self.place);
        if self.id != now.id || self.place == now.place || !old.is_absolute() || old.exists() {
            return None;
        }
        let log = wal_path(old);
        let has_changes = std::fs::metadata(&log).is_ok_and(|log| log.len() > LOG_HEADER);
        has_changes.then(|| LeftLog {
            log,
            file: file.path.clone(),
        })
    }
}

/// A write-ahead log that is not beside its file any more, and has changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeftLog {
    log: PathBuf,
    file: PathBuf,
}

impl LeftLog {
    pub(crate) fn remedy(&self) -> Remedy {
        let own = wal_path(&self.file);
        if own.exists() {
            return Remedy::note(format!(
                "{} was used since, so that log does not fit it any more: stop the daemon, move both back to where the log is, see what the file has there, and copy what was stored since",
                self.file.display()
            ));
        }
        Remedy::note("before the daemon is started, or anything else opens the file to write:")
            .then(Remedy::command("mv -n").arg(&self.log).arg(own))
    }
}

impl fmt::Display for LeftLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} was moved without its write-ahead log, which is still {} and has the newest changes",
            self.file.display(),
            self.log.display()
        )
    }
}

/// As many tasks, in words; more than 1,000 are not counted.
pub(crate) fn counted(tasks: i64) -> String {
    match tasks {
        0 => "no tasks yet".to_owned(),
        1 => "1 task".to_owned(),
        1000.. => "1000 tasks or more".to_owned(),
        _ => format!("{tasks} tasks"),
    }
}

/// The file beside `env_file`.
pub(crate) fn path(env_file: &Path) -> PathBuf {
    with_suffix(env_file, "-database")
}

/// When the file beside `env_file` was written: at a start of the daemon, or with SQLite at its end.
pub(crate) fn written(env_file: &Path) -> Option<Timestamp> {
    let at = path(env_file).metadata().ok()?.modified().ok()?;
    let micros = at.duration_since(UNIX_EPOCH).ok()?.as_micros();
    Some(Timestamp::from_micros_clamped(micros.try_into().ok()?))
}

/// The user of the last daemon that has read `env_file`, unless that was root: it owns the file beside it.
pub(crate) fn user(env_file: &Path) -> Option<u32> {
    let owner = path(env_file).metadata().ok()?.uid();
    (owner != 0).then_some(owner)
}

fn open(options: &OpenOptions, env_file: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = options.clone();
    options.custom_flags(flags.bits().cast_signed());
    options.open(path(env_file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{PostgresTarget, SqliteTarget};

    fn of(path: &Path, id: &str, tasks: i64) -> LastDatabase {
        let target = DatabaseTarget::Sqlite(SqliteTarget { path: path.into() });
        LastDatabase::new(&target, id.to_owned(), tasks)
    }

    #[test]
    fn another_database_with_less_in_it() {
        let last = of(Path::new("/a/todo.db"), "a", 3);
        assert!(last.is_missing_in(&of(Path::new("/a/todo.db"), "b", 2)));
        // As many tasks as before, as after a move to another engine; a copy; deleted tasks.
        assert!(!last.is_missing_in(&of(Path::new("/b/todo.db"), "b", 3)));
        assert!(!last.is_missing_in(&of(Path::new("/b/todo.db"), "a", 0)));
    }

    #[test]
    fn a_database_that_was_emptied() {
        let place = Path::new("/a/todo.db");
        for (before, after, is_emptied) in [
            (20, 0, true),
            (1000, 49, true),
            (1000, 50, false),
            // A user has deleted what there was.
            (19, 0, false),
        ] {
            let found = of(place, "a", before).is_emptied_in(&of(place, "a", after));
            assert_eq!(found, is_emptied, "{before} {after}");
        }
        let last = of(place, "a", 500);
        assert!(!last.is_emptied_in(&of(place, "b", 0)));
        assert!(!last.is_emptied_in(&of(Path::new("/b/todo.db"), "a", 0)));
    }

    #[test]
    fn one_database_under_two_roles() {
        let of = |host: &str, user: &str| {
            let mut server = PostgresTarget::fixture(host, 5432);
            server.user = user.to_owned();
            LastDatabase::new(&DatabaseTarget::Postgres(server), String::new(), 1)
        };
        assert!(of("db", "todo").is_at_url_of(&of("db", "admin@example.com")));
        assert!(!of("db", "todo").is_at_url_of(&of("db2", "todo")));
    }

    #[test]
    fn the_file_beside_the_env_file() {
        let directory = tempfile::tempdir().unwrap();
        let env_file = directory.path().join(".env");
        assert_eq!(LastDatabase::read(&env_file), None);
        let target = DatabaseTarget::Postgres(PostgresTarget::fixture("db.example.com", 5432));
        let last = LastDatabase::new(&target, "a".to_owned(), 3);
        last.write(&env_file).unwrap();
        assert_eq!(LastDatabase::read(&env_file), Some(last.clone()));
        let below = of(&directory.path().join("data/todo.db"), "a", 3);
        below.write(&env_file).unwrap();
        assert_eq!(LastDatabase::read(&env_file), Some(below));
        let moved = tempfile::tempdir().unwrap();
        let other_env_file = moved.path().join(".env");
        std::fs::rename(path(&env_file), path(&other_env_file)).unwrap();
        let there = of(&moved.path().join("data/todo.db"), "a", 3);
        assert_eq!(LastDatabase::read(&other_env_file), Some(there));
        std::fs::write(path(&env_file), "{").unwrap();
        assert_eq!(LastDatabase::read(&env_file), None);
        // A link is not followed.
        let other = directory.path().join("other");
        std::fs::write(&other, "canary").unwrap();
        std::fs::remove_file(path(&env_file)).unwrap();
        std::os::unix::fs::symlink(&other, path(&env_file)).unwrap();
        assert!(last.write(&env_file).is_err());
        assert_eq!(std::fs::read(&other).unwrap(), b"canary");
    }

    #[test]
    fn a_log_that_was_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let [old, new] = ["old.db", "new.db"].map(|name| directory.path().join(name));
        let last = of(&old, "a", 3);
        let file = SqliteTarget { path: new.clone() };
        let left = |id| last.log_left_behind(&of(&new, id, 3), &file);
        assert_eq!(left("a"), None);
        std::fs::write(wal_path(&old), [0; 100]).unwrap();
        let found = left("a").unwrap().remedy();
        let [command] = found.commands().collect::<Vec<_>>()[..] else {
            panic!("{found}");
        };
        assert!(command.starts_with("mv -n ") && command.ends_with("new.db-wal"));
        assert_eq!(left("b"), None);
        assert_eq!(last.log_left_behind(&last, &file), None);
        // It was copied, not moved.
        std::fs::write(&old, "").unwrap();
        assert_eq!(left("a"), None);
    }
}
