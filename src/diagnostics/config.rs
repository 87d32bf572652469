//! Whether the configuration is whole, and wise.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use crate::config::{
    Audit, ConfigError, DatabaseTarget, Environment, Problem, Section, Source, VARIABLES, Variable,
};
use crate::store::{FileSystem, is_writable};

use super::check::{Check, Name, Outcome, Verdict};
use super::database::judge_file_system;
use super::directory::{give, move_away, nearest, of_file};

mod secrets;

macro_rules! names {
    ($($constant:ident = $id:literal, $title:literal;)*) => {
        $(const $constant: Name = Name { id: $id, title: $title };)*
        /// Every check of the configuration, in order.
        pub const NAMES: &[Name] = &[$($constant,)*];
    };
}

names! {
    ENV_FILE = "config.env_file", "Env file";
    UNKNOWN = "config.unknown", "Unknown names";
    ENVIRONMENT = "config.environment", "Environment";
    DATABASE = "config.database", "Database";
    DATA_DIRECTORY = "config.data_directory", "Data directory";
    SECRETS = "config.secrets", "Secrets";
    SECRETS_DIFFER = "config.secrets_differ", "Secrets differ";
    SECRET_FILES = "config.secret_files", "Secret files";
    HTTP = "config.http", "Listener";
    CORS = "config.cors", "CORS";
    SERVICES = "config.services", "Services";
    TELEMETRY = "config.telemetry", "Telemetry";
}

/// How alike a name must be to one that is known (0 to 1) to be called a misspelling.
const ALIKE: f64 = 0.93;
/// Shorter names are alike others by chance.
const SHORTEST: usize = 4;

/// All checks of the configuration. `broken` is what is wrong with the `.env` file itself.
#[must_use]
pub fn checks(source: &Source, broken: Option<&ConfigError>) -> Vec<Check> {
    if let Some(error) = broken {
        // What stands in the file would change everything else.
        let reason = format!("not checked, because {} failed", ENV_FILE.id);
        let file = ENV_FILE.done(Verdict::of_problems(&error.problems), Duration::ZERO);
        let rest = NAMES.iter().filter(|name| name.id != ENV_FILE.id);
        let rest = rest.map(|name| name.skipped(&reason));
        return std::iter::once(file).chain(rest).collect();
    }
    let audit = Audit::of(source);
    let data_directory = match data_directory(&audit) {
        Some(verdict) => DATA_DIRECTORY.done(verdict, Duration::ZERO),
        None => DATA_DIRECTORY.skipped("not used with PostgreSQL"),
    };
    let done = |name: Name, verdict| name.done(verdict, Duration::ZERO);
    vec![
        done(ENV_FILE, env_file(source)),
        done(UNKNOWN, unknown(source)),
        done(ENVIRONMENT, environment(source, &audit)),
        done(DATABASE, section(source, &audit, Section::Database)),
        data_directory,
        done(SECRETS, secrets::secrets(source, &audit)),
        done(SECRETS_DIFFER, secrets::differ(&audit)),
        done(SECRET_FILES, secrets::files(&audit)),
        done(HTTP, section(source, &audit, Section::Http)),
        done(CORS, cors(source, &audit)),
        done(SERVICES, section(source, &audit, Section::Services)),
        done(TELEMETRY, section(source, &audit, Section::Telemetry)),
    ]
}

fn env_file(source: &Source) -> Verdict {
    let Some(path) = source.file() else {
        return Verdict::pass("none: the environment alone counts");
    };
    let place = path.display();
    let mut said: Vec<String> = source.warnings().iter().map(ToString::to_string).collect();
    let mut remedies = Vec::new();
    if !said.is_empty() {
        remedies.push(format!(
            "write each name once in {place}, as NAME=value without export, blanks, quotes, $ and #; or use docker compose, which reads the file as todoctl does"
        ));
    }
    if let Ok(found) = std::fs::metadata(path) {
        let mode = found.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            said.push(format!("{place} has mode {mode:04o}: other users of this machine may read the secrets in it"));
            remedies.push(format!("chmod 600 {place}"));
        }
    }
    if said.is_empty() {
        return Verdict::pass(format!("{place} is read"));
    }
    Verdict::warn(said.join("; "), remedies.join("\n"))
}

/// Names that nothing reads: misspelt ones are told, others may be somebody else's.
fn unknown(source: &Source) -> Verdict {
    let mut said = Vec::new();
    let mut remedies = Vec::new();
    for name in source.names() {
        if Variable::of(name).is_some() {
            continue;
        }
        let known = VARIABLES
            .iter()
            .flat_map(|one| [Some(one.name), one.alias])
            .flatten();
        let alike = |known: &str| {
            // Two letters in each other's place weigh much in a short name.
            let swapped =
                letters(name) == letters(known) && strsim::damerau_levenshtein(name, known) == 1;
            if swapped && name.len() >= SHORTEST {
                1.0
            } else {
                strsim::jaro_winkler(name, known)
            }
        };
        let best = known
            .map(|known| (alike(known), known))
            .max_by(|one, two| one.0.total_cmp(&two.0));
        if let Some((alike, known)) = best
            && alike >= ALIKE
        {
            said.push(format!("{name} is not known and has no effect"));
            remedies.push(format!("{known}=… (in the place of {name})"));
        }
    }
    if said.is_empty() {
        return Verdict::pass("no misspelt variable");
    }
    Verdict::warn(said.join("; "), remedies.join("\n"))
}

fn letters(name: &str) -> Vec<u8> {
    let mut letters = name.as_bytes().to_vec();
    letters.sort_unstable();
    letters
}

fn environment(source: &Source, audit: &Audit) -> Verdict {
    let verdict = section(source, audit, Section::Environment);
    if verdict.outcome != Outcome::Pass {
        return verdict;
    }
    Verdict::pass(match audit.environment {
        Environment::Development => "development: weak secrets are only warned of",
        Environment::Staging => "staging",
        Environment::Production => "production",
    })
}

/// The problems and warnings of one section, and how much of it is set.
fn section(source: &Source, audit: &Audit, section: Section) -> Verdict {
    let here = |name: &str| Variable::of(name).is_some_and(|one| one.section == section);
    let problems: Vec<Problem> = audit
        .problems
        .iter()
        .filter(|one| here(&one.variable))
        .cloned()
        .collect();
    if !problems.is_empty() {
        return Verdict::of_problems(&problems);
    }
    let said: Vec<String> = audit
        .warnings
        .iter()
        .filter(|one| here(&one.variable))
        .map(ToString::to_string)
        .collect();
    if !said.is_empty() {
        return Verdict::warn(said.join("; "), None);
    }
    let all = VARIABLES.iter().filter(|one| one.section == section);
    let set: Vec<&str> = all
        .flat_map(|one| [Some(one.name), one.alias])
        .flatten()
        .filter(|name| {
            source.origin(name).is_some() || source.origin(&format!("{name}_FILE")).is_some()
        })
        .collect();
    Verdict::pass(match set.len() {
        0 => "the defaults".to_owned(),
        1..=4 => format!("{} set", set.join(", ")),
        count => format!("{count} variables set"),
    })
}

fn data_directory(audit: &Audit) -> Option<Verdict> {
    let Some(target) = &audit.target else {
        let unknown = "not known, as long as DATABASE_URL is not understood";
        return Some(Verdict::new(Outcome::Skip, unknown, None));
    };
    let DatabaseTarget::Sqlite(file) = target else {
        return None;
    };
    Some(judge_directory(of_file(&file.path)))
}

fn judge_directory(directory: &Path) -> Verdict {
    let place = directory.display();
    let Some(existing) = nearest(directory) else {
        return Verdict::pass("not looked at");
    };
    if !existing.is_dir() {
        return Verdict::fail(
            format!("{} is not a directory", existing.display()),
            move_away(existing),
        );
    }
    if !is_writable(existing) {
        let user = rustix::process::geteuid().as_raw();
        return Verdict::fail(
            format!(
                "{} may not be written by this user ({user})",
                existing.display()
            ),
            give(directory),
        );
    }
    match FileSystem::of(existing) {
        Ok(kind) => {
            let verdict = judge_file_system(kind, directory);
            if verdict.outcome != Outcome::Pass {
                return verdict;
            }
            let made = if existing == directory {
                ""
            } else {
                " (made at the first start)"
            };
            Verdict::pass(format!("{place} may be written{made}"))
        }
        Err(error) => Verdict::warn(
            format!("{place}: its file system is not known: {error}"),
            None,
        ),
    }
}

fn cors(source: &Source, audit: &Audit) -> Verdict {
    let verdict = section(source, audit, Section::Cors);
    if verdict.outcome != Outcome::Pass || audit.environment == Environment::Development {
        return verdict;
    }
    let origins = &audit.http.cors_origins;
    let example = "CORS_ORIGINS=https://app.example.com";
    if origins.is_empty() {
        return Verdict::warn(
            "no origin is named: browsers may not call from another one",
            example.to_owned(),
        );
    }
    let doubtful: Vec<&str> = origins
        .iter()
        .map(String::as_str)
        .filter(|one| one.starts_with("http://"))
        .collect();
    if doubtful.is_empty() {
        return verdict;
    }
    let mut by_kind: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for origin in doubtful {
        let local = origin.contains("//localhost") || origin.contains("//127.");
        by_kind
            .entry(if local {
                "is a developer's machine"
            } else {
                "is not encrypted"
            })
            .or_default()
            .push(origin);
    }
    let said: Vec<String> = by_kind
        .into_iter()
        .map(|(what, origins)| format!("{} {what}", origins.join(", ")))
        .collect();
    Verdict::warn(said.join("; "), example.to_owned())
}
