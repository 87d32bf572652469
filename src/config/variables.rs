//! Every variable that there is: for whoever lists them.
//!
//! The readers of the sections have the rules; a test compares the defaults here with what
//! they make of an empty environment.

/// What a variable belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// `ENVIRONMENT`.
    Environment,
    /// The database and its pool.
    Database,
    /// Secrets of todoctl's own.
    Secrets,
    /// Who may call from a browser.
    Cors,
    /// The listener, callers and limits.
    Http,
    /// Other services.
    Services,
    /// Logs and metrics.
    Telemetry,
}

/// What a value may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All of it.
    Plain,
    /// Nothing; it may also come from `NAME_FILE`.
    Secret,
    /// A database's URL: all but the password; it may also come from `NAME_FILE`.
    DatabaseUrl,
    /// Another URL with a password in it: scheme, host and path.
    SecretUrl,
    /// A URL: all but user, password and query.
    Url,
}

/// One variable.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name, or the first of several.
    pub name: &'static str,
    /// Another name for the same.
    pub alias: Option<&'static str>,
    /// What it belongs to.
    pub section: Section,
    /// What it may show.
    pub kind: Kind,
    /// What it is when it is not set, where that does not depend on anything.
    pub default: Option<&'static str>,
}

const fn plain(section: Section, name: &'static str, default: &'static str) -> Variable {
    Variable {
        name,
        alias: None,
        section,
        kind: Kind::Plain,
        default: Some(default),
    }
}

const fn of_kind(section: Section, kind: Kind, name: &'static str) -> Variable {
    Variable {
        name,
        alias: None,
        section,
        kind,
        default: None,
    }
}

const fn pool(name: &'static str, alias: &'static str, default: &'static str) -> Variable {
    Variable {
        alias: Some(alias),
        ..plain(Section::Database, name, default)
    }
}

use Kind::{DatabaseUrl, Plain, Secret, SecretUrl, Url};
use Section::{Cors, Database, Environment, Http, Secrets, Services, Telemetry};

/// All of them, in the order of `.env.example`.
pub static VARIABLES: &[Variable] = &[
    plain(Environment, "ENVIRONMENT", "development"),
    plain(Http, "HOST", "127.0.0.1"),
    plain(Http, "PORT", "8000"),
    of_kind(Http, Plain, "WORKERS"),
    of_kind(Database, DatabaseUrl, "DATABASE_URL"),
    of_kind(Database, DatabaseUrl, "DATABASE_URL_UNPOOLED"),
    plain(Database, "TODOCTL_DATA_DIR", "data"),
    plain(Database, "AUTO_MIGRATE", "true"),
    pool("SQLALCHEMY_POOL_SIZE", "DB_POOL_SIZE", "10"),
    pool("SQLALCHEMY_POOL_OVERFLOW", "DB_POOL_OVERFLOW", "20"),
    pool("SQLALCHEMY_POOL_TIMEOUT", "DB_POOL_TIMEOUT", "10"),
    pool("SQLALCHEMY_POOL_RECYCLE", "DB_POOL_RECYCLE", "1800"),
    plain(Database, "DB_POOLER", "detect"),
    plain(Database, "HEALTH_DB_PROBE", "active"),
    of_kind(Secrets, Secret, "SESSION_HASH_SECRET"),
    of_kind(Secrets, Secret, "SERVICE_AUTH_TOKEN"),
    of_kind(Secrets, Secret, "ENCRYPTION_KEY"),
    of_kind(Secrets, Secret, "JWT_SECRET"),
    of_kind(Secrets, Secret, "SESSION_HASH_SECRET_PREVIOUS"),
    of_kind(Secrets, Secret, "SERVICE_AUTH_TOKEN_PREVIOUS"),
    of_kind(Secrets, Secret, "ENCRYPTION_KEY_PREVIOUS"),
    of_kind(Secrets, Secret, "JWT_SECRET_PREVIOUS"),
    plain(Http, "JWT_ALGORITHM", "HS256"),
    plain(Http, "JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "30"),
    plain(Http, "JWT_REFRESH_TOKEN_EXPIRE_DAYS", "7"),
    of_kind(Cors, Plain, "CORS_ORIGINS"),
    of_kind(Http, Plain, "TRUSTED_PROXIES"),
    plain(Http, "RATE_LIMIT_PER_MINUTE", "0"),
    plain(Http, "AUTH_FAILURES_PER_MINUTE", "600"),
    of_kind(Services, Url, "AUTH_SERVER_URL"),
    of_kind(Services, SecretUrl, "REDIS_URL"),
    of_kind(Services, Secret, "RESEND_API_KEY"),
    of_kind(Services, Plain, "EMAIL_FROM"),
    of_kind(Services, Url, "RESEND_API_URL"),
    of_kind(Services, Url, "GEMINI_API_URL"),
    plain(Http, "REQUEST_TIMEOUT_SECONDS", "20"),
    plain(Http, "MAX_BODY_BYTES", "1048576"),
    plain(Http, "SHUTDOWN_DELAY_SECONDS", "0"),
    plain(Http, "SHUTDOWN_GRACE_SECONDS", "8"),
    plain(Telemetry, "LOG_LEVEL", "info"),
    of_kind(Telemetry, Plain, "LOG_FORMAT"),
    of_kind(Telemetry, Plain, "METRICS_ADDR"),
];

impl Kind {
    /// Whether it may come from a file, by `NAME_FILE`.
    #[must_use]
    pub fn has_file(self) -> bool {
        matches!(self, Secret | DatabaseUrl | SecretUrl)
    }
}

impl Variable {
    /// The variable that `name` sets: by its name, its alias or `NAME_FILE`.
    #[must_use]
    pub fn of(name: &str) -> Option<&'static Self> {
        VARIABLES.iter().find(|one| {
            one.name == name
                || one.alias == Some(name)
                || (one.kind.has_file() && name.strip_suffix("_FILE") == Some(one.name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DatabaseConfig, HttpConfig, Source};

    #[test]
    fn defaults_are_what_the_readers_take() {
        let all = VARIABLES
            .iter()
            .filter_map(|one| Some((one.name, one.default?)));
        let (empty, spelled) = (Source::from_values([]), Source::from_values(all));
        let database = |source| format!("{:?}", DatabaseConfig::load(source).unwrap().value);
        assert_eq!(database(&empty), database(&spelled));
        let http = |source| format!("{:?}", HttpConfig::load(source).unwrap().value);
        assert_eq!(http(&empty), http(&spelled));
    }

    #[test]
    fn the_example_has_every_variable() {
        let example = include_str!("../../.env.example");
        let mut named: Vec<&str> = example
            .lines()
            .filter_map(|line| line.trim_start_matches('#').split_once('='))
            .map(|(name, _)| name)
            .filter(|name| {
                !name.is_empty()
                    && name
                        .bytes()
                        .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
            })
            .collect();
        named.sort_unstable();
        named.dedup();
        let mut ours: Vec<&str> = VARIABLES.iter().map(|one| one.name).collect();
        ours.sort_unstable();
        for name in &ours {
            assert!(named.contains(name), "{name} is not in .env.example");
        }
        for name in named {
            assert!(Variable::of(name).is_some(), "{name} is not in the table");
        }
    }
}
