//! The files of migrations in a checkout: a folder for each engine, the same versions in both.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::config::DatabaseTarget;

/// The folder of each engine.
const FOLDERS: [&str; 2] = ["postgres", "sqlite"];

/// Valid, so that an engine with nothing to do is done.
const NOTHING: &str = "SELECT 1;";

/// Why files could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// There is no such folder, as outside a checkout.
    #[error("there is no folder {}", .0.display())]
    NoFolder(PathBuf),
    /// Not a name that a file and a table of migrations can bear.
    #[error("{0:?} is no name for a migration")]
    Name(String),
    /// A file or a folder cannot be read or made.
    #[error("{} cannot be {what}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// `read` or `made`.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl FilesError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NoFolder(_) => {
                "run it in a checkout of the project, or name its folder: --source DIR (with postgres/ and sqlite/ in it)"
            }
            Self::Name(_) => {
                "use up to 60 small letters, digits and _, with a letter first: task_colour"
            }
            Self::Io { .. } => "let this user read and write that folder",
        }
    }
}

/// A migration's file on its way up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpFile {
    /// Its number.
    pub version: i64,
    /// Its name.
    pub name: String,
    /// What is in it.
    pub sql: String,
}

/// The files of the target's engine that go up, by their versions.
pub fn ups(source: &Path, target: &DatabaseTarget) -> Result<Vec<UpFile>, FilesError> {
    let folder = source.join(match target {
        DatabaseTarget::Postgres(_) => FOLDERS[0],
        DatabaseTarget::Sqlite(_) => FOLDERS[1],
    });
    let mut files = Vec::new();
    for (version, name, path) in listed(&folder)? {
        let Some(name) = name.strip_suffix(".up.sql") else {
            continue;
        };
        let sql = fs::read_to_string(&path).map_err(failed("read", &path))?;
        files.push(UpFile {
            version,
            name: name.replace('_', " "),
            sql,
        });
    }
    files.sort_by_key(|file| file.version);
    Ok(files)
}

/// Makes the four files of a migration with the next number, and returns their paths.
pub fn new(source: &Path, name: &str) -> Result<Vec<PathBuf>, FilesError> {
    let name = name.trim().to_lowercase().replace([' ', '-'], "_");
    let fits = name.len() <= 60
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !fits {
        return Err(FilesError::Name(name));
    }
    let mut newest = 0;
    for folder in FOLDERS {
        let versions = listed(&source.join(folder))?;
        newest = versions.iter().map(|file| file.0).fold(newest, i64::max);
    }
    let mut made = Vec::new();
    for folder in FOLDERS {
        for (way, about) in [
            (
                "up",
                "What it changes, and why. Statements are separated by an empty line.",
            ),
            ("down", "What takes that back."),
        ] {
            let file = format!("{:04}_{name}.{way}.sql", newest + 1);
            let path = source.join(folder).join(file);
            write_new(&path, &format!("-- {about}\n{NOTHING}\n")).map_err(failed("made", &path))?;
            made.push(path);
        }
    }
    Ok(made)
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::File::create_new(path)?;
    file.write_all(text.as_bytes())
}

/// `0007_task_colour.up.sql` is 7 and `task_colour.up.sql`; other names are nobody's.
fn listed(folder: &Path) -> Result<Vec<(i64, String, PathBuf)>, FilesError> {
    let entries = fs::read_dir(folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            FilesError::NoFolder(folder.to_owned())
        }
        _ => failed("read", folder)(error),
    })?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("read", folder))?;
        let text = entry.file_name().to_string_lossy().into_owned();
        if let Some((number, name)) = text.split_once('_')
            && let Ok(version) = number.parse()
        {
            files.push((version, name.to_owned(), entry.path()));
        }
    }
    Ok(files)
}

fn failed(what: &'static str, path: &Path) -> impl Fn(io::Error) -> FilesError {
    move |source| FilesError::Io {
        path: path.to_owned(),
        what,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SqliteTarget;

    fn source() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for folder in FOLDERS {
            fs::create_dir(directory.path().join(folder)).unwrap();
        }
        directory
    }

    #[test]
    fn the_next_number_is_above_both_engines() {
        let source = source();
        fs::write(source.path().join("sqlite/0011_x.up.sql"), NOTHING).unwrap();
        fs::write(source.path().join("sqlite/notes.txt"), "").unwrap();
        let made = new(source.path(), "Task colour").unwrap();
        let names: Vec<_> = made
            .iter()
            .map(|path| path.strip_prefix(source.path()).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "postgres/0012_task_colour.up.sql",
                "postgres/0012_task_colour.down.sql",
                "sqlite/0012_task_colour.up.sql",
                "sqlite/0012_task_colour.down.sql"
            ]
        );
        let target = DatabaseTarget::Sqlite(SqliteTarget { path: "x".into() });
        let ups = ups(source.path(), &target).unwrap();
        let versions: Vec<_> = ups.iter().map(|file| file.version).collect();
        assert_eq!(versions, [11, 12]);
        assert_eq!(ups[1].name, "task colour");
    }

    #[test]
    fn names_and_folders_are_checked() {
        let source = source();
        for name in ["", "1st", "drop;table", "../up", "ä", &"x".repeat(61)] {
            assert!(matches!(new(source.path(), name), Err(FilesError::Name(_))));
        }
        let error = new(Path::new("nowhere"), "x").unwrap_err();
        assert!(matches!(error, FilesError::NoFolder(_)));
        assert_eq!(error.to_string(), "there is no folder nowhere/postgres");
    }
}
