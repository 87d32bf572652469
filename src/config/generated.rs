//! Secrets that todoctl generates for itself, in `secrets/` beside the SQLite database.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::beside::secrets_directory;
use super::database_url::SqliteTarget;
use super::error::Problem;
use super::ownership::usable_secrets;
use super::remedy::Remedy;
use super::secret::Secret;
use super::secret_name::{HEX_DIGITS, SecretName};
use super::secret_text::read_secret_file;
use super::secrets_place;

/// The file of a generated secret.
#[must_use]
pub fn path(database: &SqliteTarget, name: &str) -> PathBuf {
    secrets_directory(&database.path).join(name)
}

/// Why a generated secret cannot be used.
#[derive(Debug)]
pub(super) struct Unusable {
    pub problem: Problem,
    /// Whether the file can be read, and has no value.
    pub is_lost: bool,
}

/// The secret that an earlier start generated; `None` if there is none yet.
pub(super) fn read(database: &SqliteTarget, name: SecretName) -> Result<Option<Secret>, Unusable> {
    let path = path(database, name.as_str());
    if !path.exists() {
        let Some((fault, remedy)) = secrets_place::fault(&database.path) else {
            return Ok(None);
        };
        return Err(Unusable {
            problem: Problem {
                variable: name.as_str().to_owned(),
                message: format!("is not set, and its generated value cannot be read: {fault}"),
                remedy,
            },
            is_lost: false,
        });
    }
    let unusable = |wrong: &str, remedy: Option<Remedy>| {
        let message = format!("was generated, but its file {} {wrong}", path.display());
        let is_lost = remedy.is_none();
        let mut problem = problem(name, database, message);
        if let Some(remedy) = remedy {
            problem.remedy = remedy;
        }
        Unusable { problem, is_lost }
    };
    let value = read_secret_file(&path).map_err(|wrong| unusable(&wrong.fault, wrong.remedy))?;
    if name != SecretName::EncryptionKey && value.len() != HEX_DIGITS {
        let fault = format!(
            "has {} characters in place of {HEX_DIGITS}: it was cut off, or changed",
            value.len()
        );
        return Err(unusable(&fault, None));
    }
    match name.fault(&value) {
        Some(fault) => Err(unusable(&format!("has a value that {fault}"), None)),
        None => Ok(Some(Secret::new(value))),
    }
}

/// Whether a start has generated the secret, and its file still has it.
pub(crate) fn has(database: &SqliteTarget, name: SecretName) -> bool {
    name.declaration().required && matches!(read(database, name), Ok(Some(_)))
}

/// Generates the secret, unless another process has just done so: two processes that start
/// at the same time use the same secret.
pub(super) fn create(database: &SqliteTarget, name: SecretName) -> Result<Secret, Problem> {
    let path = path(database, name.as_str());
    let failed = |message: String| problem(name, database, message);
    let value = name
        .generate()
        .map_err(|error| failed(format!("cannot be generated: {error}")))?;
    write_new(&path, &value).map_err(|error| {
        failed(format!(
            "was generated, but cannot be written to {}: {error}",
            path.display()
        ))
    })?;
    match read(database, name).map_err(|unusable| unusable.problem)? {
        Some(value) => Ok(value),
        None => Err(failed(format!(
            "was generated, but its file {} was deleted",
            path.display()
        ))),
    }
}

fn problem(name: SecretName, database: &SqliteTarget, message: String) -> Problem {
    Problem {
        variable: name.as_str().to_owned(),
        message,
        remedy: usable_secrets(&database.path),
    }
}

/// Writes the whole file under a temporary name first, so that a crash leaves no partial secret.
fn write_new(path: &Path, value: &Secret) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    if !directory.is_dir() {
        if let Some(parent) = directory.parent() {
            fs::create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    let mut file = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
    writeln!(file, "{}", value.expose())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => fs::File::open(directory)?.sync_all(),
        // Another process was faster: its secret counts.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_once_and_for_the_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let database = SqliteTarget {
            path: directory.path().join("data/todo.db"),
        };
        let name = SecretName::ServiceAuthToken;
        assert!(read(&database, name).unwrap().is_none());
        let values: Vec<String> = std::thread::scope(|scope| {
            let start = || create(&database, name).unwrap().expose().to_owned();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(values.iter().all(|value| *value == values[0]));
        let path = path(&database, name.as_str());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::write(&path, "").unwrap();
        let problem = read(&database, name).unwrap_err().problem;
        assert!(problem.message.contains("is empty"), "{problem}");
    }
}
