//! `todoctl migrate new`: creates the files of a migration in a checkout.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::hint::Hint;
use crate::cli::output;
use crate::config::Remedy;

pub(super) const EXAMPLES: &str = "\
Creates four files with the next version: up and down for both engines.
The next build of todoctl contains them.

Examples:
  todoctl migrate new task_colour
  todoctl migrate new task_colour --source ../todoctl/migrations";

/// One folder for each engine.
const FOLDERS: [&str; 2] = ["postgres", "sqlite"];

/// What each of a migration's files begins with.
const TEMPLATES: [(&str, &str); 2] = [
    (
        "up",
        "-- What it changes, and why. An empty line separates statements.\nSELECT 1;\n",
    ),
    ("down", "-- What reverts that.\nSELECT 1;\n"),
];

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Name of the migration, such as "task colour".
    name: String,
    /// The folder that contains postgres/ and sqlite/.
    #[arg(long, value_name = "DIR", default_value = "migrations")]
    source: PathBuf,
}

/// Needs no database.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let files = create(&options.source, &options.name)?;
    let paths: Vec<String> = files
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    output::data(&paths.join("\n"))?;
    output::note("write their SQL, then: cargo run -- migrate up");
    Ok(ExitCode::SUCCESS)
}

/// Creates the four files of a migration with the next version, and returns their paths.
fn create(source: &Path, name: &str) -> Result<Vec<PathBuf>, Hint> {
    let name = name.trim().to_lowercase().replace([' ', '-'], "_");
    let is_name = name.len() <= 60
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !is_name {
        return Err(Hint::new(
            format!("{name:?} cannot be the name of a migration"),
            Remedy::note(
                "use up to 60 lower-case letters, digits and underscores, a letter first: task_colour",
            ),
        ));
    }
    let mut newest = 0;
    for folder in FOLDERS {
        newest = newest.max(newest_version(&source.join(folder))?);
    }
    let mut created = Vec::new();
    for folder in FOLDERS {
        for (direction, text) in TEMPLATES {
            let file = format!("{:04}_{name}.{direction}.sql", newest + 1);
            let path = source.join(folder).join(file);
            fs::File::create_new(&path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(|error| failed(error, "create", &path))?;
            created.push(path);
        }
    }
    Ok(created)
}

/// The highest version of the folder's files: 7 for `0007_task_colour.up.sql`, 0 for none.
fn newest_version(folder: &Path) -> Result<i64, Hint> {
    let entries = fs::read_dir(folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Hint::new(
            format!("there is no folder {}", folder.display()),
            Remedy::note("run it in a checkout of the project, or name the folder that contains postgres/ and sqlite/ with --source"),
        ),
        _ => failed(error, "read", folder),
    })?;
    let mut newest = 0;
    for entry in entries {
        let name = entry
            .map_err(|error| failed(error, "read", folder))?
            .file_name();
        let version = name
            .to_str()
            .and_then(|name| name.split_once('_')?.0.parse().ok());
        newest = newest.max(version.unwrap_or(0));
    }
    Ok(newest)
}

fn failed(error: io::Error, verb: &str, path: &Path) -> Hint {
    Hint::of(
        error,
        format!("cannot {verb} {}", path.display()),
        Remedy::note("give this user write access to that folder"),
    )
}

#[cfg(test)]
mod tests {

    use super::*;

    fn source() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for folder in FOLDERS {
            fs::create_dir(directory.path().join(folder)).unwrap();
        }
        directory
    }

    #[test]
    fn the_next_version_is_above_both_engines() {
        let source = source();
        fs::write(source.path().join("sqlite/0011_x.up.sql"), "").unwrap();
        fs::write(source.path().join("sqlite/notes.txt"), "").unwrap();
        let created = create(source.path(), "Task colour").unwrap();
        let names: Vec<_> = created
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
    }

    /// A file is only created, never opened: neither a link nor a device is written to.
    #[test]
    fn links_are_not_followed() {
        let source = source();
        let target = source.path().join("target");
        let link = source.path().join("postgres/0001_x.up.sql");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        fs::create_dir(source.path().join("sqlite/0001_x.up.sql")).unwrap();
        let created = create(source.path(), "x").unwrap();
        assert!(created[0].ends_with("postgres/0002_x.up.sql"));
        assert!(!target.exists());
    }

    #[test]
    fn names_and_folders_are_checked() {
        let source = source();
        for name in ["", "1st", "drop;table", "../up", "ä", &"x".repeat(61)] {
            let error = create(source.path(), name).unwrap_err();
            assert!(
                error.remedy.to_string().starts_with("# use up to 60 "),
                "{name}"
            );
        }
        let error = create(Path::new("nowhere"), "x").unwrap_err();
        assert_eq!(error.to_string(), "there is no folder nowhere/postgres");
    }
}
