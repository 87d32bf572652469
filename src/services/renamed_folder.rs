//! A SQLite database whose service's folder was moved or renamed, while the configuration has the old path.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::{Remedy, Source, SqliteTarget, begin_anew, is_database, sqlite_url};

use super::last_database::{LastDatabase, folder};

/// A new database would be created at the old path, with the right one in the new folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RenamedFolder {
    named: PathBuf,
    found: PathBuf,
    tasks: i64,
}

impl RenamedFolder {
    /// The folder of the `.env` file has the database that this service has served last, at the place
    /// that `file`, which does not exist, has in another folder, which is gone.
    pub(crate) fn find(source: &Source, file: &SqliteTarget) -> Option<Self> {
        let env_file = source.file()?;
        let last = LastDatabase::read(env_file)?;
        let found = PathBuf::from(&last.place);
        let below = found.strip_prefix(folder(env_file)?).ok()?;
        let old = std::iter::successors(Some(file.path.as_path()), |path| path.parent())
            .nth(below.components().count())?;
        let is_renamed = old.is_absolute()
            && old.join(below) == file.path
            && std::fs::symlink_metadata(old).is_err();
        (is_renamed && last.tasks > 0 && is_database(&found)).then(|| Self {
            named: file.path.clone(),
            found,
            tasks: last.tasks,
        })
    }

    pub(crate) fn remedy(&self) -> Remedy {
        let parent = self.named.parent().unwrap_or(Path::new("."));
        let anew = Remedy::command("mkdir -p -m 700")
            .arg(parent)
            .then(begin_anew(&self.named));
        let anew: Vec<&str> = anew.commands().collect();
        Remedy::note(
            "this names the database where it is now; restart a daemon that runs afterwards:",
        )
        .then(Remedy::set("DATABASE_URL", sqlite_url(&self.found)))
        .then(Remedy::note(format!(
            "only for a new service, without that data: {}",
            anew.join(" && ")
        )))
    }
}

impl fmt::Display for RenamedFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks = match self.tasks {
            1 => "1 task".to_owned(),
            count => format!("{count} tasks"),
        };
        write!(
            f,
            "{} does not exist, nor its folder; the database that this service has served, with {tasks}, is {}: the folder was renamed, and the configuration has its old name",
            self.named.display(),
            self.found.display()
        )
    }
}
