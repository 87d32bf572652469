//! Secrets that were generated for a SQLite database, and stayed where the file was before it was moved.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::{
    DEFAULT_ENV_FILE, Remedy, SecretName, Source, SqliteTarget, generate_only,
    generated_secret_path, has_generated_secret, here, private_directory, put_back,
};

use super::last_database::LastDatabase;

/// Secrets that a start would generate anew although they are still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeftSecrets {
    names: Vec<SecretName>,
    /// Where they are, as if a database was beside them.
    from: SqliteTarget,
    to: SqliteTarget,
    env_file: PathBuf,
}

impl LeftSecrets {
    /// Looks for those of `missing` that the database `now` at `file` has had: where the service has
    /// served it before, and in the directories around it that have secrets and no database any more.
    pub(crate) fn find(
        source: &Source,
        file: &SqliteTarget,
        missing: &[SecretName],
        now: &LastDatabase,
    ) -> Option<Self> {
        if missing.is_empty() {
            return None;
        }
        let has_all = |place: &SqliteTarget| {
            let mut names = missing.iter();
            names.all(|name| has_generated_secret(place, *name))
        };
        let last = source.file().and_then(LastDatabase::read);
        let before = last.and_then(|last| last.other_place_of(now));
        let before = before
            .map(|path| SqliteTarget { path })
            .filter(|place| has_all(place));
        let from = before.or_else(|| {
            let mut around = abandoned(&file.path).into_iter().filter(has_all);
            // Of several, a person has to choose.
            around.next().filter(|_| around.next().is_none())
        })?;
        let env_file = source.file().unwrap_or(Path::new(DEFAULT_ENV_FILE));
        Some(Self {
            names: missing.to_vec(),
            from,
            to: file.clone(),
            env_file: env_file.to_owned(),
        })
    }

    pub(crate) fn remedy(&self) -> Remedy {
        let names = self.names.iter().map(|name| name.as_str());
        let copies = names.fold(Remedy::command("cp -p"), |all, name| {
            all.arg(generated_secret_path(&self.from, name))
        });
        let directory = secrets_of(&self.to);
        private_directory(&directory, &self.to.path)
            .then(copies.arg(&directory))
            .then(Remedy::note(format!(
                "only if they are those of another service: {}",
                generate_only(&self.names, "", &self.env_file)
            )))
    }
}

impl fmt::Display for LeftSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.names.iter().map(|name| name.as_str()).collect();
        write!(
            f,
            "{} was moved without its secrets, which are still in {}: {} would be generated anew, and services, sessions and provider keys of the old ones be refused",
            self.to.path.display(),
            secrets_of(&self.from).display(),
            names.join(", ")
        )
    }
}

/// Secrets that are gone although session tokens are valid that were made with one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LostSecrets {
    names: Vec<SecretName>,
    database: SqliteTarget,
    sessions: i64,
}

impl LostSecrets {
    /// `sessions` tokens of `database` are valid.
    pub(crate) fn of(
        database: &SqliteTarget,
        missing: &[SecretName],
        sessions: i64,
    ) -> Option<Self> {
        let is_lost = sessions > 0 && missing.contains(&SecretName::SessionHashSecret);
        is_lost.then(|| Self {
            names: missing.to_vec(),
            database: database.clone(),
            sessions,
        })
    }

    pub(crate) fn remedy(&self, source: &Source) -> Remedy {
        let env_file = source.file().unwrap_or(Path::new(DEFAULT_ENV_FILE));
        let places = LastDatabase::read(env_file).map(|last| last.secrets);
        put_back(
            source,
            &self.names,
            &places.unwrap_or_default(),
            Some(&secrets_of(&self.database)),
        )
    }
}

impl fmt::Display for LostSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} has {} valid session tokens, and the secret that they were made with is gone",
            self.database.path.display(),
            self.sessions
        )
    }
}

/// The directory of the secrets of a database.
fn secrets_of(database: &SqliteTarget) -> PathBuf {
    let any = generated_secret_path(database, SecretName::ALL[0].as_str());
    any.parent().map(Path::to_owned).unwrap_or_default()
}

/// Where a database of the same name may have been: the directories beside, above and below the one
/// of `path` without a file of that name.
fn abandoned(path: &Path) -> Vec<SqliteTarget> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Vec::new();
    };
    let own = here(directory).canonicalize().ok();
    let above = here(directory).parent().unwrap_or(directory);
    let entries = |directory: &Path| {
        let entries = here(directory).read_dir().into_iter().flatten().flatten();
        let paths = entries.map(|entry| directory.join(entry.file_name()));
        paths.collect::<Vec<PathBuf>>()
    };
    let mut all: Vec<PathBuf> = [entries(above), entries(directory), vec![above.to_owned()]]
        .concat()
        .into_iter()
        .filter(|one| here(one).canonicalize().ok() != own)
        .map(|one| one.join(name))
        .filter(|one| !one.exists())
        .collect();
    all.sort();
    all.dedup();
    all.into_iter().map(|path| SqliteTarget { path }).collect()
}
