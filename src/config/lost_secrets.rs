//! Secrets that a service has had, and that are gone from where it reads them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::env_file::assignments;
use super::env_file::line::{name, numbered};
use super::mounts::mount_point;
use super::ownership::here;
use super::remedy::Remedy;
use super::secret::Secret;
use super::secret_name::SecretName;
use super::secret_remedy::{generate_only, jwt_from_sign_in_service};
use super::shell::shell_word;
use super::source::{DEFAULT_ENV_FILE, Origin, Source};
use super::strength::is_placeholder;
use super::text_file::read_small_file;

/// Where a daemon had a secret from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SecretPlace {
    /// The `.env` file, or the file that it names.
    EnvFile,
    /// The environment, or the file that it names.
    Environment,
    /// The file that todoctl generated beside its database.
    Generated,
}

/// By the names of the variables.
pub(crate) type SecretPlaces = BTreeMap<String, SecretPlace>;

/// Where `secrets`, those in effect, come from.
pub(crate) fn secret_places(source: &Source, secrets: &[(&'static str, Secret)]) -> SecretPlaces {
    let all = SecretName::ALL.into_iter().map(SecretName::as_str);
    all.filter(|name| secrets.iter().any(|(one, _)| one == name))
        .map(|name| {
            let file = format!("{name}_FILE");
            let place = match source.origin(name).or_else(|| source.origin(&file)) {
                Some(Origin::File) => SecretPlace::EnvFile,
                Some(Origin::Environment | Origin::Option) => SecretPlace::Environment,
                None => SecretPlace::Generated,
            };
            (name.to_owned(), place)
        })
        .collect()
}

/// Gets `names` back, which the service needs: what it has stored, or who calls it, fits no new
/// values. `places` tells where it had them from, as far as that is known; `generated` is the
/// directory for those that todoctl generates, where the database is SQLite.
pub(crate) fn put_back(
    source: &Source,
    names: &[SecretName],
    places: &SecretPlaces,
    generated: Option<&Path>,
) -> Remedy {
    let file = source.file().unwrap_or(Path::new(DEFAULT_ENV_FILE));
    let is_set = |name: &str| source.get(name).is_some_and(|value| !is_placeholder(value));
    // The sign-in service has the only right value of the other one.
    let is_own = |name: &SecretName| *name != SecretName::JwtSecret;
    let own: Vec<SecretName> = names.iter().copied().filter(is_own).collect();
    let signed = (own.len() < names.len()).then(jwt_from_sign_in_service);
    if let Some(remedy) = from_copy(file, names, is_set) {
        return remedy;
    }
    if signed.is_some()
        && !own.is_empty()
        && let Some(remedy) = from_copy(file, &own, is_set)
    {
        return remedy.then(signed);
    }
    let at = |place: Option<SecretPlace>| {
        let all = own.iter().map(|name| name.as_str());
        let found: Vec<&str> = all
            .filter(|name| places.get(*name).copied() == place)
            .collect();
        found
    };
    let env_file = file.display();
    let mut remedy = Remedy::default();
    let (from_file, exported) = (
        at(Some(SecretPlace::EnvFile)),
        at(Some(SecretPlace::Environment)),
    );
    let (made, unknown) = (at(Some(SecretPlace::Generated)), at(None));
    if !from_file.is_empty() {
        remedy = remedy.then(Remedy::note(format!(
            "put {} back into {env_file}, where the daemon had them from at its last start: a backup of that file or a secret store has them",
            from_file.join(" and ")
        )));
    }
    if !exported.is_empty() {
        remedy = remedy.then(Remedy::note(format!(
            "the daemon had {} from its environment at its last start: put them back there (unit file, compose file or platform)",
            exported.join(" and ")
        )));
    }
    let is_there = generated.is_some_and(|directory| here(directory).is_dir());
    let (made, unknown) = if is_there {
        ([made, unknown].concat(), Vec::new())
    } else {
        (made, unknown)
    };
    if let Some(directory) = generated.filter(|_| !made.is_empty()) {
        let files = made.iter().map(|name| directory.join(name));
        let files: Vec<String> = files.map(|file| file.display().to_string()).collect();
        let is_mount = mount_point(here(directory))
            .is_some_and(|point| directory.canonicalize().is_ok_and(|own| own == point));
        remedy = remedy
            .then(is_mount.then(|| {
                Remedy::note(format!(
                    "{} is a mount of its own (findmnt {}): if they are below it, unmount it; if it is the wrong volume, mount the right one there",
                    directory.display(),
                    shell_word(directory)
                ))
            }))
            .then(Remedy::note(format!(
                "put {} back from a backup of that directory",
                files.join(" and ")
            )));
    }
    if !unknown.is_empty() {
        remedy = remedy.then(Remedy::note(format!(
            "put {} back where the daemon had them from: {env_file} (a backup of it or a secret store), or its environment (unit file, compose file or platform)",
            unknown.join(" and ")
        )));
    }
    let lost = (!own.is_empty()).then(|| Remedy::note(format!(
        "only if they are lost: {} makes new values, and services, sessions and provider keys of the old ones are refused",
        generate_only(&own, "", file)
    )));
    remedy.then(signed).then(lost)
}

/// Puts the secrets back that a copy of the `.env` file beside it has, such as `.env.bak`, if it has
/// all of `names`; `JWT_SECRET` too, which nobody can generate. `is_set` tells what is there still.
pub(super) fn from_copy(
    env_file: &Path,
    names: &[SecretName],
    is_set: impl Fn(&str) -> bool,
) -> Option<Remedy> {
    let copies = copies(env_file, names);
    let copy = copies.first()?;
    let is_other = |other: &Copy| {
        let differs = |name: &SecretName| other.value(*name) != copy.value(*name);
        names.iter().any(differs)
    };
    let place = copy.path.display();
    if copies.iter().any(is_other) {
        let files: Vec<String> = copies
            .iter()
            .map(|one| one.path.display().to_string())
            .collect();
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        return Some(Remedy::note(format!(
            "{} have different values of {}: put those back into {} that the daemon had",
            files.join(" and "),
            names.join(" and "),
            env_file.display()
        )));
    }
    if !env_file.exists() {
        return Some(
            Remedy::note(format!(
                "{place} has them; this is the file that the daemon reads:"
            ))
            .then(Remedy::command("cp -p").arg(&copy.path).arg(env_file)),
        );
    }
    let jwt = SecretName::JwtSecret;
    let has_jwt = names.contains(&jwt) || is_set(jwt.as_str());
    let also = (!has_jwt && copy.value(jwt).is_some()).then_some(jwt);
    let lines = names
        .iter()
        .copied()
        .chain(also)
        .filter_map(|name| copy.lines.iter().find(|line| line.name == name));
    Some(lines.fold(
        Remedy::note(format!(
            "{place} has them; this puts them back, for the daemon at its next start:"
        )),
        |all, line| all.then(line.moved_from(&copy.path)),
    ))
}

/// A file with secrets beside the `.env` file.
struct Copy {
    path: PathBuf,
    lines: Vec<Line>,
}

/// A line that sets a secret.
struct Line {
    number: usize,
    name: SecretName,
    value: String,
    /// Whether the value is in quotes.
    is_quoted: bool,
}

impl Copy {
    fn value(&self, name: SecretName) -> Option<&str> {
        let line = self.lines.iter().find(|line| line.name == name)?;
        Some(&line.value)
    }
}

impl Line {
    /// `None` unless the value can be taken out of the line as it is written there.
    fn of(number: usize, text: &str) -> Option<Self> {
        let found = name(text)?;
        let name = SecretName::ALL
            .into_iter()
            .find(|one| one.as_str() == found)?;
        let value = assignments(text).ok()?.get(found)?.trim().to_owned();
        let (_, written) = text.split_once('=')?;
        let written = written.trim();
        let is_quoted = written != value;
        let is_plain = !is_quoted || written.replace(['"', '\''], "") == value;
        (is_plain && name.is_strong(&value)).then_some(Self {
            number,
            name,
            value,
            is_quoted,
        })
    }

    fn moved_from(&self, file: &Path) -> Remedy {
        let unquoted = if self.is_quoted {
            r#" | tr -d \"\'"#
        } else {
            ""
        };
        let shown = format!(
            "sed -n '{}s/^[^=]*=//p' {}{unquoted}",
            self.number,
            shell_word(file)
        );
        let set = format!("todoctl config set {}=-", self.name.as_str());
        Remedy::command(shown).pipe(&Remedy::command(set))
    }
}

/// The files beside the `.env` file whose names begin as its name, and that have all of `names`.
fn copies(env_file: &Path, names: &[SecretName]) -> Vec<Copy> {
    let (Some(own), Some(directory)) = (env_file.file_name(), env_file.parent()) else {
        return Vec::new();
    };
    let entries = here(directory).read_dir().into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.file_name())
        .filter(|name| {
            let bytes = name.as_encoded_bytes();
            bytes.len() > own.len() && bytes.starts_with(own.as_encoded_bytes())
        })
        .map(|name| directory.join(name))
        .filter(|file| file.is_file())
        .collect();
    files.sort();
    let copy = |path: PathBuf| {
        let bytes = read_small_file(&path).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let lines = numbered(&text).into_iter();
        let lines = lines.filter_map(|line| Line::of(line.number, line.text));
        let copy = Copy {
            lines: lines.collect(),
            path,
        };
        let has_all = names.iter().all(|name| copy.value(*name).is_some());
        has_all.then_some(copy)
    };
    files.into_iter().filter_map(copy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "0f1e2d3c4b5a69780f1e2d3c4b5a69780f1e2d3c4b5a69780f1e2d3c4b5a6978";

    #[test]
    fn copies_that_have_all_secrets() {
        let directory = tempfile::tempdir().unwrap();
        let env_file = directory.path().join(".env");
        let names = [SecretName::SessionHashSecret, SecretName::ServiceAuthToken];
        let found = || from_copy(&env_file, &names, |_| false).map(|one| one.to_string());
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        let [session, token] = names.map(SecretName::as_str);
        write(".env.example", &format!("{session}=change-me\n{token}=\n"));
        write(".env.half", &format!("{session}={VALUE}\n"));
        write(
            ".env.comment",
            &format!("#{session}={VALUE}\n# {token}={VALUE}\n"),
        );
        assert_eq!(found(), None);
        write(
            ".env~",
            &format!("A=1\nexport {session}=\"{VALUE}\"\n{token}={VALUE}1\n"),
        );
        assert!(found().unwrap().contains("cp -p "));
        write(".env", "A=1\n");
        let remedy = found().unwrap();
        assert!(remedy.contains(r"=//p' ") && remedy.contains(r#"| tr -d \"\' |"#));
        assert!(!remedy.contains(VALUE), "{remedy}");
        // Nobody but a person knows which.
        write(
            ".env.old",
            &format!("{session}={VALUE}2\n{token}={VALUE}1\n"),
        );
        let remedy = found().unwrap();
        assert!(
            remedy.lines().all(|line| line.starts_with("# ")),
            "{remedy}"
        );
    }
}
