//! Which database, and how to use it.

use std::mem::discriminant;
use std::path::PathBuf;
use std::time::Duration;

use super::blanks_in_url::without_blanks;
use super::database_url::{
    self, BadUrl, DatabaseTarget, Parsed, PostgresTarget, SqliteTarget, TlsMode,
};
use super::environment::Environment;
use super::error::{ConfigError, Loaded};
use super::other_places::warn_of_folder;
use super::parse::{is_remote_host, number, seconds, switch};
use super::reader::Reader;
use super::remedy::Remedy;
use super::respell::respelt;
use super::source::Source;
use super::variable::{Defaulted, Fault, Kind, Optional, Section, Variable, declare};

/// The database and how to use it.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// What requests use.
    pub target: DatabaseTarget,
    /// What migrations use: never through a pooler.
    pub direct: DatabaseTarget,
    /// The `SQLALCHEMY_POOL_*` (or `DB_POOL_*`) variables.
    pub pool: PoolConfig,
    /// `DB_POOLER`, and what `DATABASE_URL` says about a pooler.
    pub pooler: PoolerMode,
    /// Whether `serve` migrates before it listens.
    pub auto_migrate: bool,
    /// `HEALTH_DB_PROBE`.
    pub health_probe: HealthProbe,
}

impl DatabaseConfig {
    /// Whether requests and migrations use the same address of a server.
    pub(crate) fn has_one_address(&self) -> bool {
        match (&self.target, &self.direct) {
            (DatabaseTarget::Postgres(one), DatabaseTarget::Postgres(other)) => {
                one.address() == other.address()
            }
            _ => false,
        }
    }
}

/// Sizes and times of the connection pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolConfig {
    /// Connections kept open.
    pub size: usize,
    /// Connections above `size` under load.
    pub overflow: usize,
    /// How long a request waits for a connection.
    pub timeout: Duration,
    /// The age at which a connection is replaced.
    pub recycle: Duration,
    /// How long a statement may take; see [`statement_timeout`].
    pub statement_timeout: Duration,
}

/// How long a statement may take where nobody waits for it.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(18);

/// How long a statement may take whose client is answered after `request_timeout`: it ends
/// before that.
#[must_use]
pub fn statement_timeout(request_timeout: Duration) -> Duration {
    let ahead = (request_timeout / 10).min(Duration::from_secs(2));
    request_timeout.saturating_sub(ahead)
}

impl PoolConfig {
    /// The most connections that this process opens for requests.
    #[must_use]
    pub fn max(&self) -> usize {
        self.size + self.overflow
    }
}

/// What is known about a pooler between this process and PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PoolerMode {
    /// Nothing points to one; the store finds out when it connects.
    #[default]
    Detect,
    /// A transaction-mode pooler: `-pooler` host, `pgbouncer=true`,
    /// `prepared_statement_cache_size=0` or `DB_POOLER=transaction`.
    Transaction,
    /// There is none, and the store does not look for one.
    None,
}

/// How `/health` learns about the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HealthProbe {
    /// Each probe runs a query.
    #[default]
    Active,
    /// A probe reports the outcome of the last request's query, so that probes never wake a
    /// suspended database; idle connections are closed after 60 s.
    Passive,
}

/// The most connections that one process may open.
const MAX_CONNECTIONS: usize = 1000;

/// The embedded database's file in `TODOCTL_DATA_DIR`.
const SQLITE_FILE: &str = "todo.db";

const fn variable(name: &'static str, help: &'static str) -> Variable {
    Variable::new(Section::Database, name, help)
}

declare! {
    pub(super) static DATABASE_URL: Optional<Parsed> = variable(
        "DATABASE_URL",
        "URL of the database: postgresql://, postgres://, postgresql+asyncpg://, \
         postgresql+psycopg:// or sqlite://. Percent-encode characters such as @ : / # in the \
         password. Without sslmode the server's certificate is verified, unless the server is \
         on this machine; ?sslmode=disable turns TLS off, ?sslrootcert=FILE adds a CA. Default \
         in development: todo.db in TODOCTL_DATA_DIR.",
    )
    .kind(Kind::DatabaseUrl)
    .example("postgresql://todo:PASSWORD@db.example.com:5432/todo")
    .optional(|text| database_url::parse(text).map_err(|wrong| fault("DATABASE_URL", text, wrong)));

    static DATABASE_URL_UNPOOLED: Optional<Parsed> = variable(
        "DATABASE_URL_UNPOOLED",
        "The database server's own URL, where DATABASE_URL leads to a pooler: migrations need a \
         direct connection. Not needed for Neon, whose direct host is the pooler's without \
         -pooler.",
    )
    .kind(Kind::DatabaseUrl)
    .example("postgresql://todo:PASSWORD@db.example.com:5432/todo")
    .optional(|text| {
        database_url::parse(text).map_err(|wrong| fault("DATABASE_URL_UNPOOLED", text, wrong))
    });

    static TODOCTL_DATA_DIR: Defaulted<PathBuf> = variable(
        "TODOCTL_DATA_DIR",
        "Directory of the SQLite database and its generated secrets. Only used when DATABASE_URL \
         is not set.",
    )
    .default("data", |text| Ok(PathBuf::from(text)));

    static AUTO_MIGRATE: Defaulted<bool> = variable(
        "AUTO_MIGRATE",
        "Whether serve migrates the database before it listens. false: run todoctl migrate up.",
    )
    .default("true", switch);

    static POOL_SIZE: Defaulted<usize> = variable(
        "SQLALCHEMY_POOL_SIZE",
        "Connections that are kept open.",
    )
    .alias("DB_POOL_SIZE")
    .default("10", |text| number(text, 1, MAX_CONNECTIONS));

    static POOL_OVERFLOW: Defaulted<usize> = variable(
        "SQLALCHEMY_POOL_OVERFLOW",
        "Additional connections under load.",
    )
    .alias("DB_POOL_OVERFLOW")
    .default("20", |text| number(text, 0, MAX_CONNECTIONS));

    static POOL_TIMEOUT: Defaulted<Duration> = variable(
        "SQLALCHEMY_POOL_TIMEOUT",
        "Seconds that a request waits for a connection.",
    )
    .alias("DB_POOL_TIMEOUT")
    .default("10", |text| seconds(text, 0.05, 3600.0));

    static POOL_RECYCLE: Defaulted<Duration> = variable(
        "SQLALCHEMY_POOL_RECYCLE",
        "Seconds after which a connection is replaced.",
    )
    .alias("DB_POOL_RECYCLE")
    .default("1800", |text| seconds(text, 1.0, 1e9));

    static DB_POOLER: Defaulted<PoolerMode> = variable(
        "DB_POOLER",
        "transaction: DATABASE_URL leads to a pooler in transaction mode; none: there is no \
         pooler; detect: find out when connecting.",
    )
    .example("transaction")
    .default("detect", |text| match text.to_ascii_lowercase().as_str() {
        "transaction" => Ok(PoolerMode::Transaction),
        "none" => Ok(PoolerMode::None),
        "detect" | "auto" => Ok(PoolerMode::Detect),
        _ => Err("is not detect, transaction or none".into()),
    });

    static HEALTH_DB_PROBE: Defaulted<HealthProbe> = variable(
        "HEALTH_DB_PROBE",
        "active: /health queries the database. passive: /health reports the outcome of the last \
         request's query, so that health checks never wake a suspended database.",
    )
    .example("passive")
    .default("active", |text| match text.to_ascii_lowercase().as_str() {
        "active" => Ok(HealthProbe::Active),
        "passive" => Ok(HealthProbe::Passive),
        _ => Err("is not active or passive".into()),
    });
}

/// `text` is the value of `name`.
fn fault(name: &'static str, text: &str, wrong: BadUrl) -> Fault {
    let remedy = if respelt(name, text).is_some() {
        let is_slip = without_blanks(text) != text;
        Remedy::respell(name, wrong.advice).then(is_slip.then(|| {
            Remedy::note(format!(
                "it leaves that out; if it belongs to the password: todoctl config set {name}.password=-"
            ))
        }))
    } else {
        Remedy::note(format!("correct {name}: {}", wrong.advice))
    };
    Fault {
        message: wrong.message,
        remedy: Some(remedy),
    }
}

/// `None` after a problem with `DATABASE_URL` that was reported.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<DatabaseConfig> {
    let pool = PoolConfig {
        size: reader.value(&POOL_SIZE),
        overflow: reader.value(&POOL_OVERFLOW),
        timeout: reader.value(&POOL_TIMEOUT),
        recycle: reader.value(&POOL_RECYCLE),
        statement_timeout: STATEMENT_TIMEOUT,
    };
    let mut pooler = reader.value(&DB_POOLER);
    let auto_migrate = reader.value(&AUTO_MIGRATE);
    let health_probe = reader.value(&HEALTH_DB_PROBE);
    let target = target(reader);
    let unpooled = url(reader, &DATABASE_URL_UNPOOLED);
    for (name, target) in [
        (DATABASE_URL.variable.name, &target),
        (DATABASE_URL_UNPOOLED.variable.name, &unpooled),
    ] {
        if let Some(DatabaseTarget::Postgres(server)) = target {
            warn_of_plain_connection(reader, name, server);
        }
    }
    let mut target = target?;
    if let DatabaseTarget::Postgres(server) = &target
        && server.pooled
        && pooler == PoolerMode::Detect
    {
        pooler = PoolerMode::Transaction;
    }
    if let DatabaseTarget::Postgres(server) = &mut target {
        server.pooled |= pooler == PoolerMode::Transaction;
    }
    let direct = unpooled.unwrap_or_else(|| direct(&target));
    if discriminant(&direct) != discriminant(&target) {
        reader.problem(
            DATABASE_URL_UNPOOLED.variable.name,
            "is another kind of database than DATABASE_URL",
            Remedy::unset(DATABASE_URL_UNPOOLED.variable.name),
        );
    }
    if let (DatabaseTarget::Postgres(server), DatabaseTarget::Postgres(direct)) =
        (&mut target, &direct)
        && server.address() != direct.address()
    {
        server.direct = Some(Box::new(direct.clone()));
    }
    Some(DatabaseConfig {
        target,
        direct,
        pool,
        pooler,
        auto_migrate,
        health_probe,
    })
}

impl DatabaseConfig {
    /// Loads only the database's variables.
    pub fn load(source: &Source) -> Result<Loaded<Self>, ConfigError> {
        let mut reader = Reader::new(source);
        let value = read(&mut reader);
        reader.finish(value)
    }
}

fn target(reader: &mut Reader<'_>) -> Option<DatabaseTarget> {
    let path = reader.value(&TODOCTL_DATA_DIR).join(SQLITE_FILE);
    if reader.is_set(&DATABASE_URL.variable) {
        let target = url(reader, &DATABASE_URL);
        if let Some(DatabaseTarget::Sqlite(file)) = &target {
            warn_of_folder(reader, DATABASE_URL.variable.name, &file.path);
        }
        return target;
    }
    if reader.environment == Environment::Development {
        return Some(DatabaseTarget::Sqlite(SqliteTarget { path }));
    }
    reader.problem(
        DATABASE_URL.variable.name,
        format!("is required when ENVIRONMENT={}", reader.environment),
        // Which database it is must not be guessed: an empty one would be served.
        Remedy::note("give DATABASE_URL the URL of the server; this reads it without showing it: todoctl config set DATABASE_URL=-")
            .then(Remedy::note(format!(
                "or name the file of the embedded database: todoctl config set DATABASE_URL=sqlite://{}",
                path.display()
            ))),
    );
    None
}

/// `sslmode=prefer` encrypts only where nobody on the way objects.
fn warn_of_plain_connection(reader: &mut Reader<'_>, name: &'static str, server: &PostgresTarget) {
    let mode = match server.tls {
        TlsMode::Disable => "disable",
        TlsMode::Prefer => "prefer",
        _ => return,
    };
    // A path is the directory of a socket.
    if server.host.starts_with('/') || !is_remote_host(&server.host) {
        return;
    }
    reader.warn(
        name,
        format!(
            "has sslmode={mode} and leads to another machine: the password and every task can be read on the way; use sslmode=verify-full"
        ),
        Remedy::note("if the server speaks TLS:")
            .then(Remedy::set(format!("{name}.sslmode"), "verify-full")),
    );
}

fn url(reader: &mut Reader<'_>, declaration: &Optional<Parsed>) -> Option<DatabaseTarget> {
    let Parsed { mut value, remarks } = reader.optional(declaration)?;
    if let DatabaseTarget::Postgres(server) = &mut value {
        server.variable = declaration.variable.name;
    }
    for remark in remarks {
        let name = declaration.variable.name;
        let remedy = Remedy::note(format!("remove it from {name}"));
        reader.warn(name, remark, remedy);
    }
    Some(value)
}

/// The server itself, where its address follows from the pooler's: Neon's direct host has no
/// `-pooler`.
fn direct(target: &DatabaseTarget) -> DatabaseTarget {
    let DatabaseTarget::Postgres(server) = target else {
        return target.clone();
    };
    let mut direct = server.clone();
    if server.is_neon()
        && let Some((endpoint, domain)) = server.host.split_once("-pooler.")
    {
        direct.host = format!("{endpoint}.{domain}");
        direct.pooled = false;
    }
    DatabaseTarget::Postgres(direct)
}
