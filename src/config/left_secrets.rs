//! Secrets that todoctl has generated beside a SQLite file, for a service that uses PostgreSQL now.

use std::path::{Path, PathBuf};

use super::database_url::SqliteTarget;
use super::generated;
use super::ownership::here;
use super::remedy::Remedy;
use super::secret_name::SecretName;
use super::source::Source;

/// The file of a secret that was generated in the data directory of this service, unless SQLite is still
/// what it uses.
pub(crate) fn left_secret(source: &Source, name: SecretName) -> Option<PathBuf> {
    let is_sqlite = |url: &str| url.starts_with("sqlite");
    let url = source.get("DATABASE_URL");
    let is_set = url.is_some() || source.get("DATABASE_URL_FILE").is_some();
    if !is_set || url.is_some_and(is_sqlite) {
        return None;
    }
    let directory = Path::new(source.get("TODOCTL_DATA_DIR").unwrap_or("data"));
    let beside_env_file = source
        .file()
        .and_then(Path::parent)
        .map(|folder| here(folder).join(directory));
    let places = [Some(directory.to_owned()), beside_env_file];
    let databases = places.into_iter().flatten().map(|place| SqliteTarget {
        path: place.join("todo.db"),
    });
    let mut found = databases.filter(|database| generated::has(database, name));
    Some(generated::path(&found.next()?, name.as_str()))
}

/// Keeps such a secret.
pub(super) fn kept(source: &Source, name: SecretName) -> Option<Remedy> {
    let file = left_secret(source, name)?;
    let directory = file.parent()?.display();
    let set = Remedy::command(format!("todoctl config set {}=-", name.as_str()));
    Some(
        Remedy::note(format!(
            "todoctl has generated secrets in {directory} while the database was SQLite, and what was made with them is not accepted with new ones; this keeps them:"
        ))
        .then(Remedy::command("cat").arg(&file).pipe(&set)),
    )
}
