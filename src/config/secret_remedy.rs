//! What to do about a secret that is not good enough.

use std::path::Path;

use super::env_file::commented;
use super::environment::Environment;
use super::invisible;
use super::key_material::is_key_of_pair;
use super::left_secrets;
use super::leftover::Leftover;
use super::reader::Reader;
use super::remedy::{Remedy, gen_secrets};
use super::respell::respelt;
use super::secret::Secret;
use super::secret_name::{SecretName, keeps_previous};
use super::shell::shell_word;
use super::source::{DEFAULT_ENV_FILE, Source};
use super::strength::{is_placeholder, weakness};

/// As a secret is spelt that encrypts.
pub(super) const FERNET: &str = "32 bytes in URL-safe base64, 44 characters";

/// How the sign-in service's value gets into the `.env` file.
const READ_UNSEEN: &str = "this reads it without showing it: todoctl config set JWT_SECRET=-";

/// How to replace a value that is not good enough.
pub(super) fn remedy(reader: &Reader<'_>, name: SecretName, value: &Secret) -> Remedy {
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
    if is_placeholder(value.expose())
        && let Some(remedy) = kept(reader, name)
    {
        return remedy;
    }
    if invisible::first(value.expose()).is_some() {
        return reader.without_invisible(current, value.expose());
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
    let environment = reader.environment;
    let (set, is_file) = match place {
        Place::Environment => ("change it where the daemon's environment is set", false),
        Place::EnvFile(_) | Place::OwnFile => ("todoctl config set JWT_SECRET=-", true),
    };
    if name == SecretName::JwtSecret && is_placeholder(value.expose()) {
        let how = if is_file { READ_UNSEEN } else { set };
        return from_sign_in_service(how).then(Remedy::note(
            "only if no sign-in service has a value yet: todoctl gen-secrets --only JWT_SECRET makes one for both",
        ));
    }
    if name == SecretName::JwtSecret && is_weak(value.expose()) {
        return Remedy::note(format!(
            "the sign-in service needs the same new value, which todoctl gen-secrets --only JWT_SECRET makes: {set}"
        ));
    }
    let is_kept = keeps_previous(current, value.expose(), environment).is_some();
    let new = Remedy::default()
        .then(consequence(name, value.expose(), environment))
        .then(generate(current, place, is_kept));
    if name != SecretName::EncryptionKey || is_usable || is_placeholder(value.expose()) {
        return new;
    }
    Remedy::note("provider keys that are stored can be decrypted with the right value alone: correct it if you know it; otherwise this makes a new one:")
        .then(new)
}

/// How a value gets out of a comment of the `.env` file, where the variable has no other.
fn uncommented(reader: &Reader<'_>, name: SecretName) -> Option<Remedy> {
    let file = reader.env_file()?.display();
    let current = name.as_str();
    if reader.has_value(current) {
        return None;
    }
    let found = commented(reader.text(), current, |value| name.is_strong(value));
    let numbers: Vec<String> = found.iter().map(|one| one.number.to_string()).collect();
    let advice = "what was made with the old value is not accepted with a new one";
    match &numbers[..] {
        [] => None,
        [number] => Some(
            Remedy::note(format!(
                "line {number} of {file} has a value of {current} in a comment, and {advice}; this takes it out of the comment:"
            ))
            .then(Remedy::respell(current, FERNET)),
        ),
        _ => Some(Remedy::note(format!(
            "the lines {} of {file} have values of {current} in comments, and {advice}: take the right one out of its comment",
            numbers.join(" and ")
        ))),
    }
}

/// How a value is kept that was the secret's before, and is not where it is read.
pub(super) fn kept(reader: &Reader<'_>, name: SecretName) -> Option<Remedy> {
    uncommented(reader, name).or_else(|| left_secrets::kept(reader.source, name))
}

/// Generates values of `names`, and none of a secret that has one already.
pub(super) fn new_values(reader: &Reader<'_>, names: &[SecretName]) -> Remedy {
    let file = reader.env_file().unwrap_or(Path::new(DEFAULT_ENV_FILE));
    let mut all = SecretName::ALL.into_iter();
    if all.any(|name| kept(reader, name).is_some()) {
        return generate_only(names, "", file);
    }
    gen_secrets(file)
}

/// Gives todoctl the value with which users' tokens are signed; `set` says how.
fn from_sign_in_service(set: &str) -> Remedy {
    Remedy::note(format!(
        "give JWT_SECRET the value that the sign-in service has; {set}"
    ))
}

/// As [`from_sign_in_service`], in the `.env` file.
pub(crate) fn jwt_from_sign_in_service() -> Remedy {
    from_sign_in_service(READ_UNSEEN)
}

/// Generates values of `names` alone, with these further options.
pub(crate) fn generate_only(names: &[SecretName], options: &str, file: &Path) -> Remedy {
    let only = names
        .iter()
        .map(|name| format!(" --only {}", name.as_str()));
    Remedy::command(format!(
        "todoctl gen-secrets{}{options} --write {}",
        only.collect::<String>(),
        shell_word(file)
    ))
}

/// Whether callers may have a value that is too weak.
fn is_weak(value: &str) -> bool {
    weakness(value).is_some() && !is_placeholder(value)
}

/// What a new value means to those who have the old one, where that is not kept.
pub(super) fn consequence(name: SecretName, old: &str, environment: Environment) -> Option<Remedy> {
    if !is_weak(old) || keeps_previous(name.as_str(), old, environment).is_some() {
        return None;
    }
    match name {
        SecretName::SessionHashSecret => Some(Remedy::note(
            "a new SESSION_HASH_SECRET ends all sessions: users have to sign in again",
        )),
        SecretName::ServiceAuthToken => Some(Remedy::note(
            "the services that call todoctl need the new SERVICE_AUTH_TOKEN, and are refused until they have it",
        )),
        SecretName::JwtSecret | SecretName::EncryptionKey => None,
    }
}

/// Whether the value names a file, as `NAME_FILE` does.
pub(super) fn is_path(value: &str) -> bool {
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
