//! The environment becomes one typed [`Config`], or a list of everything that is wrong with it.
//!
//! Values come from the real environment and, behind it, from one `.env` file
//! (`source`). Sections can be loaded alone, so that `todoctl db check` does
//! not ask for secrets that it does not use. Every problem of a load is reported
//! at once ([`ConfigError`]); what is merely unwise is a [`Warning`]. Neither
//! ever holds a secret's value, nor any part of one.
//!
//! The table of all variables is in `.env.example`.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

mod audit;
mod database;
pub mod database_url;
pub mod env_file;
mod error;
mod inventory;
mod reader;
pub mod secret;
mod secrets;
mod services;
mod settings;
mod source;
#[cfg(test)]
mod tests;
mod variables;

pub use audit::Audit;
pub use database_url::{DatabaseTarget, PostgresTarget, SqliteTarget, TlsMode};
pub use error::{ConfigError, Loaded, Problem, Warning};
pub use inventory::{Entry, Shown, fingerprint, inventory};
pub use secret::{RotatingSecret, Secret};
pub use secrets::{SecretName, generated_secret_path, is_placeholder};
pub use settings::load_database_and_session_secret;
pub use source::{Origin, Source};
pub use variables::{Kind, Section, VARIABLES, Variable};

/// Where this process runs. Anything but development refuses weak secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Environment {
    /// A developer's machine: generated secrets and hints are fine.
    #[default]
    Development,
    /// A rehearsal of production, with production's rules.
    Staging,
    /// Real users.
    Production,
}

/// Everything that `todoctl serve` needs.
#[derive(Debug, Clone)]
pub struct Config {
    /// `ENVIRONMENT`.
    pub environment: Environment,
    /// `DATABASE_URL` and how to use it.
    pub database: DatabaseConfig,
    /// Who may call, and the keys that prove it.
    pub auth: AuthConfig,
    /// The listener and its limits.
    pub http: HttpConfig,
    /// Services reached over the network.
    pub services: ServicesConfig,
    /// Logs and the metrics listener.
    pub telemetry: TelemetryConfig,
}

/// What `todoctl jobs run` needs: no secrets of callers.
#[derive(Debug, Clone)]
pub struct JobsConfig {
    /// `DATABASE_URL` and how to use it.
    pub database: DatabaseConfig,
    /// Services reached over the network.
    pub services: ServicesConfig,
    /// Logs.
    pub telemetry: TelemetryConfig,
}

/// `DATABASE_URL`, `DATABASE_URL_UNPOOLED`, the `SQLALCHEMY_POOL_*` (or
/// `DB_POOL_*`) family, `DB_POOLER`, `AUTO_MIGRATE` and `HEALTH_DB_PROBE`.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// What requests use.
    pub target: DatabaseTarget,
    /// What migrations use: never through a pooler.
    pub direct: DatabaseTarget,
    /// How many connections, for how long.
    pub pool: PoolConfig,
    /// Whether each transaction may land on another server connection.
    pub pooler: PoolerMode,
    /// `AUTO_MIGRATE`: `serve` migrates before it listens.
    pub auto_migrate: bool,
    /// `HEALTH_DB_PROBE`.
    pub health_probe: HealthProbe,
}

/// Sizes and times of the connection pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolConfig {
    /// Connections kept open (`SQLALCHEMY_POOL_SIZE`, 10).
    pub size: usize,
    /// Extra connections above `size` under load (`SQLALCHEMY_POOL_OVERFLOW`, 20).
    pub overflow: usize,
    /// How long a request waits for one (`SQLALCHEMY_POOL_TIMEOUT`, 10 s).
    pub timeout: Duration,
    /// The age at which a connection is replaced (`SQLALCHEMY_POOL_RECYCLE`, 1800 s).
    pub recycle: Duration,
}

impl PoolConfig {
    /// The most connections that this process ever opens for requests.
    #[must_use]
    pub fn max(&self) -> usize {
        self.size + self.overflow
    }
}

/// What is known about a pooler between this process and PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PoolerMode {
    /// Nothing points to one; the store looks for itself when it connects.
    #[default]
    Detect,
    /// A transaction-mode pooler: `-pooler` host, `pgbouncer=true`,
    /// `prepared_statement_cache_size=0` or `DB_POOLER=transaction`.
    Transaction,
    /// `DB_POOLER=none`: there is none, do not look.
    None,
}

/// How `/health` learns about the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HealthProbe {
    /// Each probe runs a query.
    #[default]
    Active,
    /// Tells the outcome of the last real query, so that probes never wake a
    /// suspended database; idle connections close after 60 s.
    Passive,
}

/// The secrets and lifetimes of `JWT_*`, `SERVICE_AUTH_TOKEN`,
/// `SESSION_HASH_SECRET` and `ENCRYPTION_KEY`.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// Keys the HMAC under which session tokens are stored.
    pub session_hash_secret: RotatingSecret,
    /// What trusted services send as their bearer token.
    pub service_auth_token: RotatingSecret,
    /// Encrypts provider keys at rest; a Fernet key.
    pub encryption_key: RotatingSecret,
    /// Signs user tokens (HS256). Unset: every HS256 token is 401.
    pub jwt_secret: Option<RotatingSecret>,
    /// `JWT_ACCESS_TOKEN_EXPIRE_MINUTES`, 30 min.
    pub access_token_lifetime: Duration,
    /// `JWT_REFRESH_TOKEN_EXPIRE_DAYS`, 7 d.
    pub refresh_token_lifetime: Duration,
    /// Wrong credentials a minute an address (`AUTH_FAILURES_PER_MINUTE`, 600; 0 is off).
    pub failures_per_minute: u32,
    /// Requests a minute a caller (`RATE_LIMIT_PER_MINUTE`, 0 is off).
    pub requests_per_minute: u32,
    /// Networks whose `X-Forwarded-For` counts (`TRUSTED_PROXIES`).
    pub trusted_proxies: Vec<IpNet>,
}

/// The listener and its limits.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// `HOST`, 127.0.0.1.
    pub host: IpAddr,
    /// `PORT`, 8000.
    pub port: u16,
    /// `WORKERS`: threads that serve requests; by default one a core.
    pub workers: usize,
    /// `CORS_ORIGINS`, each an origin such as `https://app.example.com`.
    pub cors_origins: BTreeSet<String>,
    /// `REQUEST_TIMEOUT_SECONDS`, 20 s.
    pub request_timeout: Duration,
    /// `MAX_BODY_BYTES`, 1 MiB.
    pub max_body_bytes: usize,
    /// `SHUTDOWN_DELAY_SECONDS`, 0 s: ready answers 503 this long before the listener closes.
    pub shutdown_delay: Duration,
    /// `SHUTDOWN_GRACE_SECONDS`, 8 s: what running requests get after that.
    pub shutdown_grace: Duration,
}

/// Services reached over the network. All are optional.
#[derive(Debug, Clone, Default)]
pub struct ServicesConfig {
    /// `AUTH_SERVER_URL`, an origin.
    pub auth_server_url: Option<url::Url>,
    /// `REDIS_URL`; may hold a password, so it is a secret.
    pub redis_url: Option<Secret>,
    /// `RESEND_API_KEY`. Unset: no mail.
    pub resend_api_key: Option<Secret>,
    /// `EMAIL_FROM`.
    pub email_from: Option<String>,
    /// `RESEND_API_URL`: another endpoint than the provider's.
    pub resend_api_url: Option<url::Url>,
    /// `GEMINI_API_URL`: another endpoint than the provider's.
    pub gemini_api_url: Option<url::Url>,
}

/// `LOG_LEVEL`, `LOG_FORMAT`, `METRICS_ADDR`.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// A tracing filter such as `info` or `info,sqlx=debug`.
    pub level: String,
    /// Pretty lines or JSON; `None`: pretty on a terminal, JSON otherwise.
    pub format: Option<LogFormat>,
    /// `/metrics` on its own listener instead of the public one.
    pub metrics_addr: Option<SocketAddr>,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines: one JSON object a line.
    Json,
}
