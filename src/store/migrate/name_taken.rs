//! A table or view of another program that has the name of what a pending migration creates in a
//! SQLite file.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::{Remedy, sql_name};

use super::expected::{History, Schema};

/// What names of one kind are shared by.
const KINDS: [&str; 3] = ["table ", "virtual table ", "view "];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namesake {
    version: i64,
    name: String,
    is_view: bool,
    /// A name that nothing has.
    free: String,
    file: PathBuf,
}

impl Namesake {
    /// What is of another kind than the migration creates. A table of the same kind is compared with
    /// the migration's, part by part.
    pub(super) fn find(
        pending: impl Iterator<Item = i64>,
        history: &History,
        found: &Schema,
        file: &Path,
    ) -> Option<Self> {
        let is_there = |name: &str| {
            KINDS
                .iter()
                .find(|kind| found.contains_key(&format!("{kind}{name}")))
        };
        pending
            .flat_map(|version| {
                let changes = history.get(&version).into_iter().flatten();
                changes.map(move |(object, _)| (version, object))
            })
            .filter(|(_, object)| !found.contains_key(*object))
            .find_map(|(version, object)| {
                let name = KINDS.iter().find_map(|kind| object.strip_prefix(kind))?;
                let kind = is_there(name)?;
                let mut others = (1..).map(|number| format!("{name}_other{number}"));
                Some(Self {
                    version,
                    name: name.to_owned(),
                    is_view: *kind == "view ",
                    free: others.find(|other| is_there(other).is_none())?,
                    file: file.to_owned(),
                })
            })
    }

    pub(super) fn remedy(&self) -> Remedy {
        let (name, free) = (sql_name(&self.name), sql_name(&self.free));
        if self.is_view {
            return Remedy::note(format!(
                "a view cannot be renamed: create it again under another name, then remove this one with DROP VIEW {name}; its text: sqlite3 {} '.schema {}'",
                self.file.display(),
                self.name
            ));
        }
        Remedy::note(
            "its rows stay, under another name, which the program that made it has to be told:",
        )
        .then(
            Remedy::command("sqlite3")
                .arg(&self.file)
                .arg(format!("ALTER TABLE {name} RENAME TO {free}")),
        )
        .then(Remedy::command("todoctl migrate up"))
    }
}

impl fmt::Display for Namesake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_view { "view" } else { "table" };
        write!(
            f,
            "migration {} creates {}, and another program has made a {kind} of that name",
            self.version, self.name
        )
    }
}
