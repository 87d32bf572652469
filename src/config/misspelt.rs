//! Names that nothing reads and that are probably misspelt. Others may belong to other programs.

use super::audit::Audit;
use super::error::Warning;
use super::remedy::Remedy;
use super::secret_name::SecretName;
use super::source::{Origin, Source};
use super::variable::Variable;
use super::variables::VARIABLES;

/// How similar (0 to 1) a name must be to a known one to count as a misspelling of it.
const SIMILAR: f64 = 0.93;
/// Shorter names are similar to others by chance.
const SHORTEST: usize = 4;

/// What other programs call a variable.
const OTHER_NAMES: [(&str, &[&str]); 3] = [
    (
        "DATABASE_URL",
        &[
            "DATABASE_CONNECTION_STRING",
            "DATABASE_DSN",
            "DB_DSN",
            "DB_URI",
            "DB_URL",
            "PG_URL",
            "POSTGRESQL_URI",
            "POSTGRESQL_URL",
            "POSTGRES_URI",
            "POSTGRES_URL",
            "SQLALCHEMY_DATABASE_URI",
            "SQLALCHEMY_DATABASE_URL",
        ],
    ),
    ("ENCRYPTION_KEY", &["FERNET_KEY"]),
    (
        "CORS_ORIGINS",
        &["ALLOWED_ORIGINS", "CORS_ALLOWED_ORIGINS", "CORS_ORIGIN"],
    ),
];

/// The same of names that in the environment are probably those of other programs.
const OTHER_NAMES_IN_FILE: [(&str, &[&str]); 3] = [
    (
        "DATABASE_URL_UNPOOLED",
        &[
            "DATABASE_DIRECT_URL",
            "DATABASE_URL_DIRECT",
            "DIRECT_DATABASE_URL",
            "DIRECT_URL",
        ],
    ),
    (
        "JWT_ACCESS_TOKEN_EXPIRE_MINUTES",
        &["ACCESS_TOKEN_EXPIRE_MINUTES", "JWT_EXPIRE_MINUTES"],
    ),
    (
        "SQLALCHEMY_POOL_SIZE",
        &[
            "DATABASE_POOL_SIZE",
            "DB_POOL_MAX",
            "DB_POOL_SIZE",
            "POOL_SIZE",
        ],
    ),
];

/// What marks a name as that of an earlier value.
const OLD_BEGINS: [&str; 5] = ["OLD_", "PREVIOUS_", "PREV_", "LAST_", "FORMER_"];
const OLD_ENDS: [&str; 8] = [
    "_OLD",
    "_PREV",
    "_BACKUP",
    "_BAK",
    "_LAST",
    "_ORIG",
    "_ORIGINAL",
    "_FORMER",
];

/// The variable whose earlier value has this name.
fn named_as_earlier(name: &str) -> Option<&'static Variable> {
    let begins = OLD_BEGINS
        .iter()
        .filter_map(|begin| name.strip_prefix(begin));
    let ends = OLD_ENDS.iter().filter_map(|end| name.strip_suffix(end));
    begins.chain(ends).find_map(Variable::of)
}

/// Each misspelt name that is set, and the known one that is probably meant.
pub(crate) fn misspelt(source: &Source) -> impl Iterator<Item = (&str, &'static str)> {
    source
        .names()
        .filter(|name| Variable::of(name).is_none() && !is_service_link(source, name))
        .filter_map(|name| {
            let is_in_file = source.origin(name) == Some(Origin::File);
            let in_file = || is_in_file.then(|| other_name_in_file(name)).flatten();
            match other_name(name).or_else(in_file) {
                // Another program may read it, where todoctl has its own.
                Some(known) => source.get(known).is_none().then_some((name, known)),
                // Somebody has put it aside.
                None if named_as_earlier(name).is_some() => None,
                None => Some((name, similar(name)?)),
            }
        })
}

/// Names in the `.env` file that todoctl does not read, and that are not misspelt. What may be a value
/// on a line of its own is left out.
pub(crate) fn unread(source: &Source) -> impl Iterator<Item = &str> {
    const LONGEST: usize = 40;
    let is_plain = |name: &str| {
        let is_part = |sign: u8| sign.is_ascii_uppercase() || sign.is_ascii_digit() || sign == b'_';
        name.len() <= LONGEST && name.bytes().all(is_part)
    };
    let is_unknown = |name: &str| match name.strip_suffix("_FILE") {
        Some(direct) => Variable::of(name).is_none() && Variable::of(direct).is_none(),
        None => Variable::of(name).is_none(),
    };
    source.names().filter(move |name| {
        let is_in_file = source.origin(name) == Some(Origin::File);
        is_in_file && is_plain(name) && is_unknown(name)
    })
}

/// Whether Kubernetes, or a link of Docker, has set the variable for a service that is called so.
fn is_service_link(source: &Source, name: &str) -> bool {
    let value = source.get(name).unwrap_or_default();
    let protocol = value.split_once("://").map(|(protocol, _)| protocol);
    let has_host = |part: &str| {
        let mut places = name.match_indices(part);
        places.any(|(at, _)| {
            let service = &name[..at];
            source.get(&format!("{service}_SERVICE_HOST")).is_some()
        })
    };
    matches!(protocol, Some("tcp" | "udp" | "sctp")) || has_host("_SERVICE_") || has_host("_PORT")
}

/// What to do about `name`, where `known` is probably meant.
pub(crate) fn renamed(source: &Source, name: &str, known: &'static str) -> Remedy {
    let value = source.get(name);
    if source.get(known).is_some_and(|other| Some(other) != value) {
        return Remedy::note(format!(
            "{known} is set too, to another value: leave the right one of the two, under the name {known}"
        ));
    }
    if !is_refused(source, name, known) {
        return Remedy::rename(name.to_owned(), known);
    }
    Remedy::note(format!(
        "{known} would refuse this value: if it is meant, correct both, name and value; if {name} is another program's, leave it"
    ))
}

/// Whether `known` would refuse the value of `name`.
pub(crate) fn is_refused(source: &Source, name: &str, known: &'static str) -> bool {
    let value = source.get(name).unwrap_or_default();
    let audit = Audit::of(&Source::from_values([(known, value)]));
    audit.problems.iter().any(|one| one.variable == known)
}

pub(crate) fn warnings(source: &Source) -> Vec<Warning> {
    let warning = |(name, known): (&str, &'static str)| Warning {
        variable: name.to_owned(),
        message: format!("is not known and has no effect; did you mean {known}?"),
        remedy: renamed(source, name, known),
    };
    misspelt(source).map(warning).collect()
}

/// The known name that is probably meant, if there is one.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    other_name(name).or_else(|| similar(name))
}

/// The known name for what other programs call so, or in small letters. One word in small letters
/// may be anything.
fn other_name(name: &str) -> Option<&'static str> {
    let large = name.to_ascii_uppercase();
    let synonym = OTHER_NAMES
        .iter()
        .find(|(_, others)| others.contains(&large.as_str()));
    let in_capitals = || {
        let is_other = large != name && name.contains('_');
        known_names().find(|known| is_other && *known == large)
    };
    let previous = || {
        let current = named_as_earlier(&large)?.name;
        let mut secrets = SecretName::ALL.into_iter();
        let secret = secrets.find(|one| one.as_str() == current)?;
        Some(secret.previous())
    };
    synonym
        .map(|(known, _)| *known)
        .or_else(in_capitals)
        .or_else(previous)
}

fn other_name_in_file(name: &str) -> Option<&'static str> {
    let synonym = OTHER_NAMES_IN_FILE
        .iter()
        .find(|(_, others)| others.contains(&name));
    synonym.map(|(known, _)| *known)
}

fn known_names() -> impl Iterator<Item = &'static str> {
    VARIABLES
        .iter()
        .flat_map(|one| [Some(one.name), one.alias])
        .flatten()
}

/// The known name that is most similar to `name`, if it is similar at all.
fn similar(name: &str) -> Option<&'static str> {
    nearest_of(name, known_names())
}

/// The same among the names `known`.
pub(crate) fn nearest_of(
    name: &str,
    known: impl IntoIterator<Item = &'static str>,
) -> Option<&'static str> {
    let (similarity, known) = known
        .into_iter()
        .map(|known| (similarity(name, known), known))
        .max_by(|one, two| one.0.total_cmp(&two.0))?;
    (similarity >= SIMILAR).then_some(known)
}

fn similarity(name: &str, known: &str) -> f64 {
    // Two swapped letters weigh much in a short name.
    let swapped = letters(name) == letters(known) && strsim::damerau_levenshtein(name, known) == 1;
    if swapped && name.len() >= SHORTEST {
        1.0
    } else {
        strsim::jaro_winkler(name, known)
    }
}

fn letters(name: &str) -> Vec<u8> {
    let mut letters = name.as_bytes().to_vec();
    letters.sort_unstable();
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_others_are_not() {
        for (name, known) in [
            ("DATABSE_URL", Some("DATABASE_URL")),
            ("DATABASE_URI", Some("DATABASE_URL")),
            ("PROT", Some("PORT")),
            ("AUTH_SEVER_URL", Some("AUTH_SERVER_URL")),
            ("SERVICE_AUTH_TOKN", Some("SERVICE_AUTH_TOKEN")),
            ("database_url", Some("DATABASE_URL")),
            ("Jwt_Secret", Some("JWT_SECRET")),
            ("DB_URL", Some("DATABASE_URL")),
            ("POSTGRES_URL", Some("DATABASE_URL")),
            ("postgresql_url", Some("DATABASE_URL")),
            ("FERNET_KEY", Some("ENCRYPTION_KEY")),
            ("JWT_SECRET_OLD", Some("JWT_SECRET_PREVIOUS")),
            (
                "OLD_SERVICE_AUTH_TOKEN",
                Some("SERVICE_AUTH_TOKEN_PREVIOUS"),
            ),
            ("ENCRYPTION_KEY_BACKUP", Some("ENCRYPTION_KEY_PREVIOUS")),
            (
                "PREV_SESSION_HASH_SECRET",
                Some("SESSION_HASH_SECRET_PREVIOUS"),
            ),
            ("jwt_secret_bak", Some("JWT_SECRET_PREVIOUS")),
            ("host", None),
            ("HOME", None),
            ("PATH", None),
            ("LANG", None),
        ] {
            assert_eq!(nearest(name), known, "{name}");
        }
        let source = Source::from_values([("DATABSE_URL", "canary"), ("PORT", "1")]);
        let warnings = warnings(&source);
        assert_eq!(warnings.len(), 1);
        assert!(!warnings[0].to_string().contains("canary"));
        // What was put aside, of which no earlier value is read.
        let source = Source::from_values([("DATABASE_URL_OLD", "x"), ("OLD_REDIS_URL", "x")]);
        assert_eq!(misspelt(&source).count(), 0);
        // Which of the two is right, nobody but a person knows.
        let source = Source::from_values([("JWT_SECRT", "x"), ("JWT_SECRET", "y")]);
        let [(name, known)] = misspelt(&source).collect::<Vec<_>>()[..] else {
            panic!("JWT_SECRT is misspelt");
        };
        assert_eq!(renamed(&source, name, known).commands().count(), 0);
        // A platform sets both.
        let source = Source::from_values([("POSTGRES_URL", "x"), ("DATABASE_URL", "x")]);
        assert_eq!(misspelt(&source).count(), 0);
    }
    #[test]
    fn services_of_kubernetes_are_not_misspelt() {
        let source = Source::from_values([
            ("AUTH_SERVER_PORT", "tcp://10.0.0.2:3000"),
            ("AUTH_SERVER_SERVICE_HOST", "10.0.0.2"),
            ("AUTH_SERVER_SERVICE_PORT", "3000"),
            ("REDIS_URI_SERVICE_HOST", "10.0.0.3"),
            ("DATABSE_URL", "udp://10.0.0.4:53"),
        ]);
        assert_eq!(misspelt(&source).collect::<Vec<_>>(), []);
        // Not what another program means by it.
        let source = Source::from_values([("AUTH_SEVER_URL", "ftp://h"), ("DB_URL", "mysql://h")]);
        for warning in warnings(&source) {
            assert_eq!(warning.remedy.commands().count(), 0, "{}", warning.remedy);
        }
        assert_eq!(misspelt(&source).count(), 2);
    }
}
