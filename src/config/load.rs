//! What each command needs of the configuration.

use super::audit::Audit;
use super::auth::AuthConfig;
use super::database::{self, DatabaseConfig};
use super::environment::Environment;
use super::error::{ConfigError, Loaded};
use super::fingerprint::{Fingerprints, fingerprints};
use super::http::HttpConfig;
use super::mend;
use super::misspelt;
use super::reader::Reader;
use super::secret::RotatingSecret;
use super::secret_name::SecretName;
use super::secrets::Secrets;
use super::services::{self, ServicesConfig};
use super::source::Source;
use super::telemetry::{self, TelemetryConfig};

/// Everything that `todoctl serve` needs.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each field is documented at its type")]
pub struct Config {
    pub environment: Environment,
    pub database: DatabaseConfig,
    pub auth: AuthConfig,
    pub http: HttpConfig,
    pub services: ServicesConfig,
    pub telemetry: TelemetryConfig,
    /// Of the values in effect, for `GET /status`.
    pub fingerprints: Fingerprints,
}

/// What `todoctl jobs run` needs: no secrets of callers.
#[derive(Debug, Clone)]
pub struct JobsConfig {
    pub database: DatabaseConfig,
    pub services: ServicesConfig,
    pub telemetry: TelemetryConfig,
}

impl Config {
    /// Loads everything that the daemon needs, and generates the secrets that are missing.
    pub fn load(source: &Source) -> Result<Loaded<Self>, ConfigError> {
        let mut audit = Audit::of(source);
        audit.generate_missing_secrets();
        let fingerprints = fingerprints(source, &audit);
        let Audit {
            environment,
            database,
            http,
            services,
            telemetry,
            limits,
            own_secrets,
            problems,
            warnings,
            ..
        } = audit;
        let (Some(database), Some(auth), []) = (
            database,
            AuthConfig::new(limits, own_secrets),
            problems.as_slice(),
        ) else {
            return Err(ConfigError { problems });
        };
        Ok(Loaded {
            value: Self {
                environment,
                database,
                auth,
                http,
                services,
                telemetry,
                fingerprints,
            },
            warnings: [
                source.warnings(),
                &mend::warnings(source),
                &misspelt::warnings(source),
                &warnings,
            ]
            .concat(),
        })
    }
}

impl JobsConfig {
    /// Loads only what jobs need.
    pub fn load(source: &Source) -> Result<Loaded<Self>, ConfigError> {
        let mut reader = Reader::new(source);
        let database = database::read(&mut reader);
        let services = services::read(&mut reader);
        let telemetry = telemetry::read(&mut reader);
        let value = database.map(|database| Self {
            database,
            services,
            telemetry,
        });
        reader.finish(value)
    }
}

/// Loads only the database's variables and the secret under which session tokens are stored,
/// which is generated if it is missing.
pub fn load_database_and_session_secret(
    source: &Source,
) -> Result<Loaded<(DatabaseConfig, RotatingSecret)>, ConfigError> {
    let name = SecretName::SessionHashSecret;
    let mut reader = Reader::new(source);
    let database = database::read(&mut reader);
    let target = database.as_ref().map(|database| &database.target);
    let mut secrets = Secrets::read(&mut reader, target, &[name]);
    if let Some(target) = target
        && reader.problems.is_empty()
    {
        reader.problems = secrets.generate_missing(target);
    }
    reader.finish(database.zip(secrets.take(name)))
}
