//! Names that nothing reads and that are probably misspelt. Others may belong to other programs.

use super::error::Warning;
use super::remedy::Remedy;
use super::source::Source;
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

/// Each misspelt name that is set, and the known one that is probably meant.
pub(crate) fn misspelt(source: &Source) -> impl Iterator<Item = (&str, &'static str)> {
    source
        .names()
        .filter(|name| Variable::of(name).is_none())
        .filter_map(|name| match other_name(name) {
            // Another program may read it, where todoctl has its own.
            Some(known) => source.get(known).is_none().then_some((name, known)),
            None => Some((name, similar(name)?)),
        })
}

pub(crate) fn warnings(source: &Source) -> Vec<Warning> {
    let warning = |(name, known): (&str, &'static str)| Warning {
        variable: name.to_owned(),
        message: format!("is not known and has no effect; did you mean {known}?"),
        remedy: Remedy::rename(name.to_owned(), known),
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
    synonym.map(|(known, _)| *known).or_else(in_capitals)
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
        // A platform sets both.
        let source = Source::from_values([("POSTGRES_URL", "x"), ("DATABASE_URL", "x")]);
        assert_eq!(misspelt(&source).count(), 0);
    }
}
