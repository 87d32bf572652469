//! Reading todoctl's own secrets, and generating those that are missing.

use std::collections::BTreeMap;
use std::path::Path;

use super::bare_secret::decoded;
use super::beside::secrets_directory;
use super::database_file;
use super::database_url::DatabaseTarget;
use super::environment::Environment;
use super::error::Problem;
use super::generated::{self, Unusable};
use super::invisible;
use super::leftover::Leftover;
use super::lost_secrets::{SecretPlaces, put_back};
use super::reader::Reader;
use super::remedy::Remedy;
use super::respell::respelt;
use super::secret::{RotatingSecret, Secret};
use super::secret_name::SecretName;
use super::secret_remedy::{FERNET, consequence, generate_only, is_path, kept, new_values, remedy};
use super::source::DEFAULT_ENV_FILE;
use super::strength::{guessable, is_placeholder, weakness};

/// How many previous values of a secret are tried.
const MAX_PREVIOUS: usize = 8;

/// The values that are known of each secret: set, or generated at an earlier start.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    current: BTreeMap<SecretName, Secret>,
    previous: BTreeMap<SecretName, Vec<Secret>>,
    /// Required, not set, and not generated yet.
    pub missing: Vec<SecretName>,
    /// Generated at an earlier start, and their files cannot be read.
    unusable: Vec<SecretName>,
    /// Those of them whose files have no value any more.
    lost: Vec<SecretName>,
    /// A problem, because it is required and not set, or a placeholder.
    pub absent: Vec<SecretName>,
}

impl Secrets {
    /// Reads `names`. `target` is `None` where `DATABASE_URL` has a problem.
    pub fn read(
        reader: &mut Reader<'_>,
        target: Option<&DatabaseTarget>,
        names: &[SecretName],
    ) -> Self {
        let mut secrets = Self::default();
        let first = reader.problems.len();
        for &name in names {
            secrets.read_one(reader, target, name);
        }
        secrets.name_all_at_once(reader, first);
        secrets.restore_lost(reader, target, first);
        secrets.find_placeholders(reader, first);
        secrets
    }

    /// Gives the secrets whose files have lost their values one remedy, which keeps the others.
    fn restore_lost(&self, reader: &mut Reader<'_>, target: Option<&DatabaseTarget>, first: usize) {
        let Some(DatabaseTarget::Sqlite(file)) = target else {
            return;
        };
        let directory = secrets_directory(&file.path);
        let places = SecretPlaces::new();
        let remedy = put_back(reader.source, &self.lost, &places, Some(&directory));
        let is_lost = |one: &&mut Problem| {
            let mut lost = self.lost.iter();
            lost.any(|name| name.as_str() == one.variable)
        };
        for problem in reader.problems[first..].iter_mut().filter(is_lost) {
            problem.remedy.clone_from(&remedy);
        }
    }

    fn find_placeholders(&mut self, reader: &Reader<'_>, first: usize) {
        for (&name, value) in &self.current {
            let mut problems = reader.problems[first..].iter();
            if is_placeholder(value.expose())
                && problems.any(|one| one.variable == name.as_str())
                && kept(reader, name).is_none()
            {
                self.absent.push(name);
            }
        }
    }

    /// Gives every secret that one command can fill in the same remedy, that command. If there is
    /// a problem with one, placeholders of others are problems too, also where they would do:
    /// a user who copied `.env.example` fills it in once. The problems of the secrets begin at
    /// `first`.
    fn name_all_at_once(&self, reader: &mut Reader<'_>, first: usize) {
        let is_filled_in = |reader: &Reader<'_>, name: SecretName| {
            reader.env_file_of(name.as_str()).is_some()
                || !reader.is_set(&name.declaration().current.variable)
        };
        let mut wrong = Vec::new();
        let mut weak = false;
        let mut notes = Remedy::default();
        for name in SecretName::ALL {
            let value = self.current.get(&name).map(Secret::expose);
            let is_problem = |one: &Problem| one.variable == name.as_str();
            // The sign-in service has it too.
            let is_foreign =
                name == SecretName::JwtSecret && value.is_some_and(|value| !is_placeholder(value));
            let is_misspelt = value.is_some_and(|value| respelt(name.as_str(), value).is_some());
            let is_elsewhere = value.is_some_and(|value| {
                is_path(value) || Leftover::of(value) == Some(Leftover::Reference)
            });
            let is_unusable = self.unusable.contains(&name);
            let is_kept = name.is_usable_encryption_key(value)
                || is_misspelt
                || is_elsewhere
                || is_unusable
                || kept(reader, name).is_some();
            if !is_filled_in(reader, name) || is_kept || is_foreign {
                continue;
            }
            let found = reader.problems[first..].iter().any(is_problem);
            let is_placeholder = value.is_some_and(is_placeholder);
            if found || is_placeholder {
                wrong.push((name, found));
                if let Some(value) = self.current(name).filter(|_| !is_placeholder) {
                    weak = true;
                    notes = notes.then(consequence(name, value.expose(), reader.environment));
                }
            }
        }
        if wrong.len() < 2 || wrong.iter().all(|(_, found)| !found) {
            return;
        }
        let file = reader.env_file().unwrap_or(Path::new(DEFAULT_ENV_FILE));
        let names: Vec<SecretName> = wrong.iter().map(|(name, _)| *name).collect();
        let (before, new) = if weak {
            (
                "leave --only JWT_SECRET out of the next command, and give todoctl that one",
                notes.then(generate_only(&names, " --replace", file)),
            )
        } else {
            (
                "give todoctl that one first, which the next command keeps",
                new_values(reader, &names),
            )
        };
        let shared = names.contains(&SecretName::JwtSecret).then(|| {
            Remedy::note(format!(
                "if a sign-in service has a JWT_SECRET already, {before}: todoctl config set JWT_SECRET=-"
            ))
        });
        let remedy = Remedy::default().then(shared).then(new);
        for (name, found) in wrong {
            if !found {
                reader.warnings.retain(|one| one.variable != name.as_str());
                reader.problem(name.as_str(), "is a placeholder", Remedy::default());
            }
            let problems = reader.problems[first..].iter_mut();
            for problem in problems.filter(|one| one.variable == name.as_str()) {
                problem.remedy.clone_from(&remedy);
            }
        }
    }

    fn read_one(
        &mut self,
        reader: &mut Reader<'_>,
        target: Option<&DatabaseTarget>,
        name: SecretName,
    ) {
        let declaration = name.declaration();
        if reader.is_set(&declaration.current.variable) {
            if let Some(value) = reader.optional(&declaration.current) {
                let remedy = remedy(reader, name, &value);
                let is_weak = weakness(value.expose()).is_some();
                check(reader, name, name.as_str(), &value, remedy.clone());
                let is_usable = !is_weak && name.fault(value.expose()).is_none();
                if let Some(sign) = invisible::first(value.expose()).filter(|_| is_usable) {
                    reader.warn(
                        name.as_str(),
                        format!(
                            "has an invisible character ({sign}), which is part of the value; other services may have it without"
                        ),
                        remedy,
                    );
                } else if is_usable && respelt(name.as_str(), value.expose()).is_some() {
                    let why = if decoded(value.expose()).is_some() {
                        "is the base64 of a secret, as in the data of a Kubernetes Secret; other services may have the secret itself"
                    } else {
                        "has a blank, a comment, a semicolon, an equals sign, its own name, an object of JSON, Bearer, typographic quotes or the two characters \\n around it, which are part of the value"
                    };
                    reader.warn(name.as_str(), why, remedy);
                } else if is_usable && is_path(value.expose()) {
                    reader.warn(
                        name.as_str(),
                        "is the path of a file, and not a secret",
                        remedy,
                    );
                } else if let Some(why) = guessable(value.expose()).filter(|_| !is_weak) {
                    reader.warn(name.as_str(), why, remedy);
                }
                self.current.insert(name, value);
            }
        } else if declaration.required {
            match target {
                Some(DatabaseTarget::Postgres(_)) => {
                    let new = || new_values(reader, &[name]);
                    let kept = kept(reader, name);
                    self.absent.extend(kept.is_none().then_some(name));
                    let remedy = kept.unwrap_or_else(new);
                    reader.problem(
                        name.as_str(),
                        "is required with PostgreSQL: secrets are generated only for SQLite",
                        remedy,
                    );
                }
                Some(DatabaseTarget::Sqlite(file)) => match generated::read(file, name) {
                    Ok(Some(value)) => {
                        reader.note_secret(name.as_str(), &value);
                        reader
                            .secret_files
                            .push(generated::path(file, name.as_str()));
                        self.current.insert(name, value);
                    }
                    Ok(None) => self.missing.push(name),
                    Err(Unusable { problem, is_lost }) => {
                        reader
                            .secret_files
                            .push(generated::path(file, name.as_str()));
                        reader.problems.push(problem);
                        self.unusable.push(name);
                        self.lost.extend(is_lost.then_some(name));
                    }
                },
                None => {}
            }
        }
        self.previous.insert(name, previous(reader, name));
    }

    /// Generates what is missing, beside the SQLite database.
    pub fn generate_missing(&mut self, target: &DatabaseTarget) -> Vec<Problem> {
        let DatabaseTarget::Sqlite(file) = target else {
            return Vec::new();
        };
        if self.missing.is_empty() {
            return Vec::new();
        }
        if let Err(error) = database_file::claim(file) {
            return vec![error.problem(file)];
        }
        let mut problems = Vec::new();
        for name in std::mem::take(&mut self.missing) {
            match generated::create(file, name) {
                Ok(value) => {
                    self.current.insert(name, value);
                }
                Err(problem) => problems.push(problem),
            }
        }
        problems
    }

    /// The value in use, if there is one.
    pub fn current(&self, name: SecretName) -> Option<&Secret> {
        self.current.get(&name)
    }

    /// The current value, then the previous ones.
    pub fn all(&self, name: SecretName) -> impl Iterator<Item = &Secret> {
        let previous = self.previous.get(&name).into_iter().flatten();
        self.current.get(&name).into_iter().chain(previous)
    }

    pub fn take(&mut self, name: SecretName) -> Option<RotatingSecret> {
        Some(RotatingSecret {
            current: self.current.remove(&name)?,
            previous: self.previous.remove(&name).unwrap_or_default(),
        })
    }
}

/// The previous values; several only of an encryption key, which cannot contain a comma.
fn previous(reader: &mut Reader<'_>, name: SecretName) -> Vec<Secret> {
    let declaration = &name.declaration().previous;
    let variable = declaration.variable.name;
    let Some(value) = reader.optional(declaration) else {
        return Vec::new();
    };
    let is_misspelt = respelt(variable, value.expose()).is_some();
    if name != SecretName::EncryptionKey && is_list(name, value.expose()) {
        reader.warn(
            variable,
            "has commas between several values, and is read as one value: callers with one of them are refused",
            Remedy::note(format!(
                "leave one value in {variable}, the newest that callers still have; only ENCRYPTION_KEY_PREVIOUS may have several"
            )),
        );
    }
    let values: Vec<Secret> = if name == SecretName::EncryptionKey {
        let keys = value.expose().split(',').map(str::trim);
        keys.filter(|key| !key.is_empty())
            .map(Secret::new)
            .collect()
    } else {
        vec![value]
    };
    if values.len() > MAX_PREVIOUS {
        reader.problem(
            variable,
            format!("contains more than {MAX_PREVIOUS} keys"),
            Remedy::note(format!(
                "shorten {variable} to the newest {MAX_PREVIOUS} keys; provider keys encrypted with older ones must be saved again"
            )),
        );
    }
    let is_placeholder = |value: &Secret| is_placeholder(value.expose());
    let remedy = if values.iter().all(is_placeholder) {
        Remedy::unset(variable)
    } else if is_misspelt {
        Remedy::respell(variable, FERNET)
    } else if values.len() > 1 {
        Remedy::note(format!(
            "take the keys that are not {FERNET} out of {variable}; the others are still needed"
        ))
    } else if reader.environment == Environment::Development
        && values
            .iter()
            .all(|value| name.fault(value.expose()).is_none())
    {
        Remedy::note(format!(
            "when no caller has the old value any more: todoctl config unset {variable}"
        ))
    } else {
        Remedy::unset(variable)
    };
    for value in &values {
        check(reader, name, variable, value, remedy.clone());
    }
    values
}

/// Whether the text is several values that could each be used.
fn is_list(name: SecretName, text: &str) -> bool {
    text.contains(',') && text.split(',').all(|one| name.is_strong(one.trim()))
}

/// Refuses an unusable value; a weak one only outside development.
fn check(
    reader: &mut Reader<'_>,
    name: SecretName,
    variable: &str,
    value: &Secret,
    remedy: Remedy,
) {
    if let Some(fault) = name.fault(value.expose()) {
        let hidden = invisible::first(value.expose());
        let hidden = hidden.map(|sign| format!("; it has an invisible character ({sign})"));
        let fault = format!("{fault}{}", hidden.unwrap_or_default());
        reader.problem(variable, fault, remedy);
    } else if let Some(weak) = weakness(value.expose()) {
        if reader.environment == Environment::Development {
            reader.warn(
                variable,
                format!("{weak}, which is an error outside development"),
                remedy,
            );
        } else {
            reader.problem(variable, weak, remedy);
        }
    }
}
