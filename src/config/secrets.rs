//! Reading todoctl's own secrets, and generating those that are missing.

use std::collections::BTreeMap;
use std::path::Path;

use super::database_file;
use super::database_url::DatabaseTarget;
use super::environment::Environment;
use super::error::Problem;
use super::generated;
use super::key_material::is_key_of_pair;
use super::leftover::Leftover;
use super::reader::Reader;
use super::remedy::{Remedy, gen_secrets};
use super::respell::{decoded, respelt};
use super::secret::{RotatingSecret, Secret};
use super::secret_name::SecretName;
use super::shell::shell_word;
use super::source::Source;
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
        secrets
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
        for name in SecretName::ALL {
            let value = self.current.get(&name).map(Secret::expose);
            let is_problem = |one: &Problem| one.variable == name.as_str();
            let is_foreign = name == SecretName::JwtSecret && value.is_some_and(is_key_of_pair);
            let is_misspelt = value.is_some_and(|value| respelt(name.as_str(), value).is_some());
            let is_elsewhere = value.is_some_and(|value| {
                is_path(value) || Leftover::of(value) == Some(Leftover::Reference)
            });
            let is_kept = name.is_usable_encryption_key(value) || is_misspelt || is_elsewhere;
            if !is_filled_in(reader, name) || is_kept || is_foreign {
                continue;
            }
            let found = reader.problems[first..].iter().any(is_problem);
            let is_placeholder = value.is_some_and(is_placeholder);
            if found || is_placeholder {
                wrong.push((name, found));
                weak |= value.is_some() && !is_placeholder;
            }
        }
        if wrong.len() < 2 || wrong.iter().all(|(_, found)| !found) {
            return;
        }
        let file = reader.env_file().unwrap_or(Path::new(".env"));
        let remedy = if weak {
            let only = wrong
                .iter()
                .map(|(name, _)| format!("--only {}", name.as_str()));
            let only: Vec<String> = only.collect();
            Remedy::command(format!(
                "todoctl gen-secrets {} --replace --write {}",
                only.join(" "),
                shell_word(file)
            ))
        } else {
            gen_secrets(file)
        };
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
                if is_usable && respelt(name.as_str(), value.expose()).is_some() {
                    let why = if decoded(value.expose()).is_some() {
                        "is the base64 of a secret, as in the data of a Kubernetes Secret; other services may have the secret itself"
                    } else {
                        "has a byte-order mark, its own name, Bearer, typographic quotes or the two characters \\n around it, which are part of the value"
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
                Some(DatabaseTarget::Postgres(_)) => reader.problem(
                    name.as_str(),
                    "is required with PostgreSQL: secrets are generated only for SQLite",
                    gen_secrets(reader.env_file().unwrap_or(Path::new(".env"))),
                ),
                Some(DatabaseTarget::Sqlite(file)) => match generated::read(file, name) {
                    Ok(Some(value)) => {
                        reader.note_secret(name.as_str(), &value);
                        reader
                            .secret_files
                            .push(generated::path(file, name.as_str()));
                        self.current.insert(name, value);
                    }
                    Ok(None) => self.missing.push(name),
                    Err(problem) => {
                        reader
                            .secret_files
                            .push(generated::path(file, name.as_str()));
                        reader.problems.push(problem);
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
    let remedy = if is_misspelt {
        Remedy::respell(variable, FERNET)
    } else if values.len() > 1 {
        Remedy::note(format!(
            "take the keys that are not {FERNET} out of {variable}; the others are still needed"
        ))
    } else {
        Remedy::unset(variable)
    };
    for value in &values {
        check(reader, name, variable, value, remedy.clone());
    }
    values
}

const FERNET: &str = "32 bytes in URL-safe base64, 44 characters";

/// Refuses an unusable value; a weak one only outside development.
fn check(
    reader: &mut Reader<'_>,
    name: SecretName,
    variable: &str,
    value: &Secret,
    remedy: Remedy,
) {
    if let Some(fault) = name.fault(value.expose()) {
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

/// How to replace a value that is not good enough.
fn remedy(reader: &Reader<'_>, name: SecretName, value: &Secret) -> Remedy {
    let current = name.as_str();
    if let Some(left @ Leftover::Reference) = Leftover::of(value.expose()) {
        return left.remedy(current);
    }
    if is_path(value.expose()) {
        let variable = &name.declaration().current.variable;
        return Remedy::note(format!(
            "it is the path of a file, which belongs in {}:",
            variable.file_name()
        ))
        .then(Remedy::set(variable.file_name(), value.expose()))
        .then(Remedy::unset(current));
    }
    if respelt(current, value.expose()).is_some() {
        let spelling = if name == SecretName::EncryptionKey {
            FERNET
        } else {
            "keep the secret alone, without what is around it"
        };
        return Remedy::respell(current, spelling);
    }
    if name == SecretName::JwtSecret && is_key_of_pair(value.expose()) {
        let variable = if reader.is_in_file(current) {
            name.declaration().current.variable.file_name()
        } else {
            current.to_owned()
        };
        return Remedy::note(
            "tokens that are signed with a key pair are checked with the public keys that the sign-in service publishes: todoctl config set AUTH_SERVER_URL=https://auth.example.com",
        )
        .then(Remedy::unset(variable));
    }
    if reader.is_in_file(current) && has_secret_among_lines(name, value.expose()) {
        return Remedy::note(format!(
            "leave the line of that file that is {current} now, and no other; an older value belongs in {}",
            name.previous()
        ));
    }
    let place = if reader.is_in_file(current) {
        Place::OwnFile
    } else {
        reader
            .env_file_of(current)
            .map_or(Place::Environment, Place::EnvFile)
    };
    let is_usable = name.is_usable_encryption_key(Some(value.expose()));
    let new = generate(current, place, is_usable);
    if name != SecretName::EncryptionKey || is_usable || is_placeholder(value.expose()) {
        return new;
    }
    Remedy::note("provider keys that are stored can be decrypted with the right value alone: correct it if you know it; otherwise this makes a new one:")
        .then(new)
}

/// Whether the value names a file, as `NAME_FILE` does.
fn is_path(value: &str) -> bool {
    value.contains('/') && Path::new(value).is_file()
}

/// Whether a value that cannot be used has a line that could be.
fn has_secret_among_lines(name: SecretName, value: &str) -> bool {
    let is_usable = |line: &str| name.fault(line).is_none() && weakness(line).is_none();
    name.fault(value).is_some() && !is_key_of_pair(value) && value.lines().any(is_usable)
}

/// Replaces the value of a secret that `source` has. The old one is kept where it can still be
/// used.
pub(crate) fn replace(source: &Source, name: &str) -> Remedy {
    let place = if source.get(&format!("{name}_FILE")).is_some() {
        Place::OwnFile
    } else {
        source
            .env_file_of(name)
            .map_or(Place::Environment, Place::EnvFile)
    };
    generate(name, place, true)
}

/// Where the value of a secret comes from.
#[derive(Clone, Copy)]
enum Place<'a> {
    EnvFile(&'a Path),
    /// The file that `NAME_FILE` names.
    OwnFile,
    Environment,
}

/// Generates a new value where the old one comes from. In files the old one is kept, in the
/// environment with `keep`.
fn generate(name: &str, place: Place<'_>, keep: bool) -> Remedy {
    match place {
        Place::EnvFile(file) => Remedy::command(format!(
            "todoctl gen-secrets --only {name} --replace --write {}",
            shell_word(file)
        )),
        Place::OwnFile => Remedy::command(format!(
            "todoctl gen-secrets --only {name} | cut -d= -f2- | todoctl config set {name}=-"
        )),
        Place::Environment => {
            let kept = Remedy::command(format!("export {name}_PREVIOUS=\"${name}\""));
            let new =
                format!("export {name}=\"$(todoctl gen-secrets --only {name} | cut -d= -f2-)\"");
            Remedy::default()
                .then(keep.then_some(kept))
                .then(Remedy::command(new))
        }
    }
}
