//! A SQLite file that does not exist, although the service has had tasks: its volume is not mounted, or
//! the file was moved or deleted.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::{
    DatabaseTarget, Remedy, SqliteTarget, find_loss, found_again, here, is_database, sqlite_url,
};

use super::last_database::{self, LastDatabase, counted};

/// What the service has served, and is not where it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GoneFile {
    file: PathBuf,
    now: String,
    last: LastDatabase,
    record: PathBuf,
}

impl GoneFile {
    /// `None` where a file is there, or what is beside it says more.
    pub(crate) fn find(file: &SqliteTarget, env_file: &Path) -> Option<Self> {
        let last = LastDatabase::read(env_file).filter(|last| last.tasks > 0)?;
        if file.path.symlink_metadata().is_ok() || find_loss(file).is_some() {
            return None;
        }
        let target = DatabaseTarget::Sqlite(file.clone());
        Some(Self {
            file: file.path.clone(),
            now: LastDatabase::new(&target, String::new(), 0).place,
            last,
            record: last_database::path(env_file),
        })
    }

    /// Whether this very file was served. Otherwise the configuration was changed, perhaps on purpose.
    pub(crate) fn was_served(&self) -> bool {
        self.last.place == self.now
    }

    /// Nothing in it makes a new database.
    pub(crate) fn remedy(&self) -> Remedy {
        let anew = Remedy::command("rm").arg(&self.record);
        let anew = Remedy::note(format!("only to begin with an empty database: {anew}"));
        let last = Path::new(&self.last.place);
        if !self.was_served() {
            let again = if is_database(last) {
                Remedy::note("this names it again:")
                    .then(Remedy::set("DATABASE_URL", sqlite_url(last)))
            } else {
                Remedy::note(format!(
                    "give DATABASE_URL its old value, or bring the tasks from there to {}",
                    self.now
                ))
            };
            return again.then(anew);
        }
        let directory = here(self.file.parent().unwrap_or(&self.file)).display();
        Remedy::note(format!(
            "if a volume, an encrypted disk or a network share belongs at {directory} or above, mount it; otherwise move the file back, or restore a backup of it"
        ))
        .then(found_again(&self.file))
        .then(anew)
    }
}

impl fmt::Display for GoneFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LastDatabase { place, tasks, .. } = &self.last;
        let file = self.file.display();
        if self.was_served() {
            write!(f, "{file} does not exist, and this service has served it")?;
        } else {
            write!(
                f,
                "{file} does not exist, and this service has served {place} before"
            )?;
        }
        write!(
            f,
            "; it had {} ({})",
            counted(*tasks),
            self.record.display()
        )
    }
}
