//! A SQLite file that does not exist, although the service has had tasks, or probably has: its volume is
//! not mounted, the file or its folder was moved, or the configuration names another place.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use crate::config::{
    DatabaseTarget, Environment, Meant, Remedy, Source, SqliteTarget, begin_anew, find_loss,
    found_again, here, is_database, moved_up, sqlite_url,
};

use super::last_database::{self, LastDatabase, counted};

/// A new database would be created, and the right one is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MissingFile {
    file: PathBuf,
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    /// A database is near, and how much this service had in it, if that is known.
    Near(Meant, Option<i64>),
    /// This service has served this very file, as this record says.
    Served(LastDatabase, PathBuf),
    /// It has served another one. The configuration was changed, perhaps on purpose.
    Changed(LastDatabase, PathBuf),
}

impl MissingFile {
    /// `None` where a file is there, or what is beside it says more.
    pub(crate) fn find(source: &Source, file: &SqliteTarget) -> Option<Self> {
        let found = file.path.symlink_metadata();
        if !found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return None;
        }
        let env_file = source.file();
        let last = env_file.and_then(LastDatabase::read);
        let last = last.filter(|last| last.tasks > 0);
        let meant = Meant::instead_of(&file.path, env_file);
        let missing = |why| {
            Some(Self {
                file: file.path.clone(),
                why,
            })
        };
        if let Some(Meant::Renamed(found)) = &meant
            && last
                .as_ref()
                .is_none_or(|last| Path::new(&last.place) == found)
        {
            return missing(Why::Near(meant?, last.map(|last| last.tasks)));
        }
        if find_loss(file).is_some() {
            return None;
        }
        let (Some(last), Some(env_file)) = (last, env_file) else {
            return missing(Why::Near(meant?, None));
        };
        let record = last_database::path(env_file);
        let target = DatabaseTarget::Sqlite(file.clone());
        let now = LastDatabase::new(&target, String::new(), 0).place;
        missing(if last.place == now {
            Why::Served(last, record)
        } else {
            Why::Changed(last, record)
        })
    }

    /// Whether nothing may be created in its place. While somebody tries the program out, a warning
    /// is enough, unless the whole folder was renamed. A server's database is not near.
    pub(crate) fn blocks(&self, environment: Environment) -> bool {
        let is_production = environment == Environment::Production;
        match &self.why {
            Why::Near(Meant::Renamed(_), _) => true,
            Why::Near(..) | Why::Served(..) => is_production,
            Why::Changed(last, _) => is_production && is_database(Path::new(&last.place)),
        }
    }

    /// Nothing in it makes a new database.
    pub(crate) fn remedy(&self) -> Remedy {
        match &self.why {
            Why::Near(meant, _) => self.near(meant),
            Why::Served(_, record) => self.put_back().then(anew(record)),
            Why::Changed(last, record) => self.named_again(&last.place).then(anew(record)),
        }
    }

    fn near(&self, meant: &Meant) -> Remedy {
        let found = match meant {
            Meant::Renamed(found) | Meant::Beside(found) => Remedy::note(
                "this names the database where it is now; restart a daemon that runs afterwards:",
            )
            .then(Remedy::set("DATABASE_URL", sqlite_url(found))),
            Meant::Deeper(found) => {
                Remedy::note("this moves it there:").then(moved_up(found, &self.file))
            }
        };
        let parent = here(self.file.parent().unwrap_or(&self.file));
        let create = (!parent.exists()).then(|| Remedy::command("mkdir -p -m 700").arg(parent));
        let anew = Remedy::default().then(create).then(begin_anew(&self.file));
        let anew: Vec<&str> = anew.commands().collect();
        found.then(Remedy::note(format!(
            "only for a new service, without that data: {}",
            anew.join(" && ")
        )))
    }

    fn put_back(&self) -> Remedy {
        let directory = here(self.file.parent().unwrap_or(&self.file)).display();
        Remedy::note(format!(
            "if a volume, an encrypted disk or a network share belongs at {directory} or above, mount it; otherwise move the file back, or restore a backup of it"
        ))
        .then(found_again(&self.file))
    }

    fn named_again(&self, place: &str) -> Remedy {
        let last = Path::new(place);
        if is_database(last) {
            return Remedy::note("this names it again:")
                .then(Remedy::set("DATABASE_URL", sqlite_url(last)));
        }
        Remedy::note(format!(
            "give DATABASE_URL its old value, or bring the tasks from there to {}",
            self.file.display()
        ))
    }
}

/// Forgets what the service has had.
fn anew(record: &Path) -> Remedy {
    let forgotten = Remedy::command("rm").arg(record);
    Remedy::note(format!("only to begin with an empty database: {forgotten}"))
}

impl fmt::Display for MissingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.why {
            Why::Near(Meant::Renamed(found), tasks) => {
                let found = found.display();
                write!(f, "{file} does not exist, nor its folder; ")?;
                match tasks {
                    Some(tasks) => write!(
                        f,
                        "the database that this service has served, with {}, is {found}",
                        counted(*tasks)
                    )?,
                    None => write!(
                        f,
                        "{found} is a database at its place in the folder of the .env file"
                    )?,
                }
                f.write_str(": the folder was renamed, and the configuration has its old name")
            }
            Why::Near(Meant::Deeper(found), _) => write!(
                f,
                "{file} does not exist, and {} is a database of this name, as where a backup of the folder was restored into it",
                found.display()
            ),
            Why::Near(Meant::Beside(found), _) => write!(
                f,
                "{file} does not exist, nor its folder, and {} is a database of this name: the folder in DATABASE_URL may be mistyped",
                found.display()
            ),
            Why::Served(last, record) => write!(
                f,
                "{file} does not exist, and this service has served it; it had {} ({})",
                counted(last.tasks),
                record.display()
            ),
            Why::Changed(last, record) => write!(
                f,
                "{file} does not exist, and this service has served {} before; it had {} ({})",
                last.place,
                counted(last.tasks),
                record.display()
            ),
        }
    }
}
