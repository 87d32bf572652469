//! The sections of [`Config`], each from its variables.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::reader::Reader;
use super::secrets::{SecretName, generated, generated_secret_path, weakness};
use super::{
    AuthConfig, Config, ConfigError, DatabaseConfig, DatabaseTarget, Environment, HttpConfig,
    JobsConfig, Loaded, LogFormat, RotatingSecret, Secret, Source, TelemetryConfig,
};

/// How many previous values of a secret are still tried.
const MAX_PREVIOUS: usize = 8;

impl Config {
    /// Loads everything that the daemon needs.
    ///
    /// Secrets that are missing are made where the store is SQLite, and only if
    /// nothing else is wrong.
    pub fn load(source: &Source) -> Result<Loaded<Self>, ConfigError> {
        let mut reader = Reader::new(source);
        let environment = environment(&mut reader);
        let database = super::database::read(&mut reader, environment);
        let http = http(&mut reader, environment);
        let services = super::services::read(&mut reader);
        let telemetry = telemetry(&mut reader);
        let target = database.as_ref().map(|database| &database.target);
        let auth = auth(&mut reader, environment, target);
        let value = database.zip(auth).map(|(database, auth)| Self {
            environment,
            database,
            auth,
            http,
            services,
            telemetry,
        });
        Ok(with_source_warnings(source, reader.finish(value)?))
    }
}

impl DatabaseConfig {
    /// Loads the database's variables alone.
    pub fn load(source: &Source) -> Result<Loaded<Self>, ConfigError> {
        let mut reader = Reader::new(source);
        let environment = environment(&mut reader);
        let value = super::database::read(&mut reader, environment);
        Ok(with_source_warnings(source, reader.finish(value)?))
    }
}

impl JobsConfig {
    /// Loads what jobs need.
    pub fn load(source: &Source) -> Result<Loaded<Self>, ConfigError> {
        let mut reader = Reader::new(source);
        let environment = environment(&mut reader);
        let database = super::database::read(&mut reader, environment);
        let services = super::services::read(&mut reader);
        let telemetry = telemetry(&mut reader);
        let value = database.map(|database| Self {
            database,
            services,
            telemetry,
        });
        Ok(with_source_warnings(source, reader.finish(value)?))
    }
}

impl HttpConfig {
    /// Loads the listener's variables alone.
    pub fn load(source: &Source) -> Result<Loaded<Self>, ConfigError> {
        let mut reader = Reader::new(source);
        let environment = environment(&mut reader);
        let value = http(&mut reader, environment);
        reader.finish(Some(value))
    }
}

/// The database, and the secret under which session tokens are stored.
pub fn load_database_and_session_secret(
    source: &Source,
) -> Result<Loaded<(DatabaseConfig, RotatingSecret)>, ConfigError> {
    let mut reader = Reader::new(source);
    let environment = environment(&mut reader);
    let database = super::database::read(&mut reader, environment);
    let target = database.as_ref().map(|database| &database.target);
    let secret = required(
        &mut reader,
        environment,
        target,
        SecretName::SessionHashSecret,
    );
    Ok(with_source_warnings(
        source,
        reader.finish(database.zip(secret))?,
    ))
}

fn with_source_warnings<T>(source: &Source, loaded: Loaded<T>) -> Loaded<T> {
    let mut warnings = source.warnings().to_vec();
    warnings.extend(loaded.warnings);
    Loaded {
        value: loaded.value,
        warnings,
    }
}

pub(super) fn environment(reader: &mut Reader<'_>) -> Environment {
    reader.parsed(
        &["ENVIRONMENT"],
        Environment::Development,
        "production",
        |text| match text.to_ascii_lowercase().as_str() {
            "development" | "dev" => Ok(Environment::Development),
            "staging" => Ok(Environment::Staging),
            "production" | "prod" => Ok(Environment::Production),
            _ => Err("is none of development, staging, production".to_owned()),
        },
    )
}

pub(super) fn http(reader: &mut Reader<'_>, environment: Environment) -> HttpConfig {
    let request_timeout = reader.seconds(&["REQUEST_TIMEOUT_SECONDS"], 20, 0.1, 3600.0);
    if request_timeout >= Duration::from_secs(30) {
        reader.warn(
            "REQUEST_TIMEOUT_SECONDS",
            "clients give up and try again after 30 s: stay below that, 20 is usual",
        );
    }
    HttpConfig {
        host: reader.parsed(&["HOST"], [127, 0, 0, 1].into(), "0.0.0.0", host),
        port: reader.number(&["PORT"], 8000, 0, u16::MAX),
        workers: reader.number(&["WORKERS"], cores(), 1, 256),
        cors_origins: cors_origins(reader, environment),
        request_timeout,
        max_body_bytes: reader.number(&["MAX_BODY_BYTES"], 1024 * 1024, 1024, 64 * 1024 * 1024),
        shutdown_delay: reader.seconds(&["SHUTDOWN_DELAY_SECONDS"], 0, 0.0, 3600.0),
        shutdown_grace: reader.seconds(&["SHUTDOWN_GRACE_SECONDS"], 8, 0.0, 3600.0),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn host(text: &str) -> Result<IpAddr, String> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok([127, 0, 0, 1].into());
    }
    let text = text.trim_start_matches('[').trim_end_matches(']');
    text.parse()
        .map_err(|_| "is not an IP address of this machine".to_owned())
}

fn cors_origins(reader: &mut Reader<'_>, environment: Environment) -> BTreeSet<String> {
    let mut default = BTreeSet::new();
    if environment == Environment::Development {
        default.insert("http://localhost:3000".to_owned());
    }
    let right = "https://app.example.com,https://admin.example.com";
    reader.parsed(&["CORS_ORIGINS"], default, right, |text| {
        let entries = text.split(',').map(str::trim);
        entries
            .filter(|entry| !entry.is_empty())
            .map(origin)
            .collect()
    })
}

/// An origin as browsers send it (RFC 6454, section 6.2).
fn origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Err(
            "may not be *: browsers send credentials here, so each origin has to be named"
                .to_owned(),
        );
    }
    let wrong = || format!("holds {text:?}, which is no origin (scheme, host, port; no path)");
    let url = Url::parse(text).map_err(|_| wrong())?;
    let bare = matches!(url.scheme(), "http" | "https")
        && matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty();
    if bare {
        Ok(url.origin().ascii_serialization())
    } else {
        Err(wrong())
    }
}

pub(super) fn telemetry(reader: &mut Reader<'_>) -> TelemetryConfig {
    TelemetryConfig {
        level: reader.parsed(&["LOG_LEVEL"], "info".to_owned(), "info", log_level),
        format: reader.parsed(&["LOG_FORMAT"], None, "json", |text| {
            match text.to_ascii_lowercase().as_str() {
                "pretty" => Ok(Some(LogFormat::Pretty)),
                "json" => Ok(Some(LogFormat::Json)),
                _ => Err("is neither pretty nor json".to_owned()),
            }
        }),
        metrics_addr: reader.parsed(&["METRICS_ADDR"], None, "127.0.0.1:9000", |text| {
            text.parse::<SocketAddr>()
                .map(Some)
                .map_err(|_| "is not ADDRESS:PORT".to_owned())
        }),
    }
}

/// A level, or a list of `target=level`; the old service's names of levels too.
fn log_level(text: &str) -> Result<String, String> {
    let text = match text.to_ascii_lowercase().as_str() {
        "warning" => "warn".to_owned(),
        "critical" | "fatal" => "error".to_owned(),
        level @ ("off" | "error" | "warn" | "info" | "debug" | "trace") => level.to_owned(),
        // A lone word would be taken for the name of a module, and silence the rest.
        word if !word.contains('=') => {
            return Err("is none of error, warn, info, debug, trace".to_owned());
        }
        _ => text.to_owned(),
    };
    EnvFilter::builder()
        .parse(&text)
        .map(|_| text)
        .map_err(|_| "is no list of target=level".to_owned())
}

/// `None` after a problem that was reported.
pub(super) fn auth(
    reader: &mut Reader<'_>,
    environment: Environment,
    target: Option<&DatabaseTarget>,
) -> Option<AuthConfig> {
    reader.parsed(&["JWT_ALGORITHM"], (), "HS256", |text| match text {
        "HS256" => Ok(()),
        _ => Err("is not HS256, the one algorithm of tokens signed with JWT_SECRET (for EdDSA, ES256 and RS256 set AUTH_SERVER_URL)".to_owned()),
    });
    let minutes = reader.number(
        &["JWT_ACCESS_TOKEN_EXPIRE_MINUTES"],
        30_u32,
        1,
        60 * 24 * 365,
    );
    let days = reader.number(&["JWT_REFRESH_TOKEN_EXPIRE_DAYS"], 7_u32, 1, 3650);
    let failures_per_minute = reader.number(&["AUTH_FAILURES_PER_MINUTE"], 600, 0, u32::MAX);
    let requests_per_minute = reader.number(&["RATE_LIMIT_PER_MINUTE"], 0, 0, u32::MAX);
    let trusted_proxies = reader.parsed(&["TRUSTED_PROXIES"], Vec::new(), "10.0.0.0/8", |text| {
        let entries = text.split(',').map(str::trim);
        entries
            .filter(|entry| !entry.is_empty())
            .map(network)
            .collect()
    });
    let jwt_secret = reader
        .is_set(SecretName::JwtSecret.as_str())
        .then(|| rotating(reader, environment, SecretName::JwtSecret));
    // Last, because missing ones are made only if nothing else is wrong.
    let session_hash_secret = required(reader, environment, target, SecretName::SessionHashSecret);
    let service_auth_token = required(reader, environment, target, SecretName::ServiceAuthToken);
    let encryption_key = required(reader, environment, target, SecretName::EncryptionKey);
    Some(AuthConfig {
        session_hash_secret: session_hash_secret?,
        service_auth_token: service_auth_token?,
        encryption_key: encryption_key?,
        jwt_secret: jwt_secret.flatten(),
        access_token_lifetime: Duration::from_secs(u64::from(minutes) * 60),
        refresh_token_lifetime: Duration::from_secs(u64::from(days) * 86_400),
        failures_per_minute,
        requests_per_minute,
        trusted_proxies,
    })
}

/// A range such as `10.0.0.0/8`, or a single address.
fn network(text: &str) -> Result<IpNet, String> {
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| {
            format!("holds {text:?}, which is neither an address nor a range such as 10.0.0.0/8")
        })
}

/// A secret that has to be there; made anew where the store is SQLite.
fn required(
    reader: &mut Reader<'_>,
    environment: Environment,
    target: Option<&DatabaseTarget>,
    name: SecretName,
) -> Option<RotatingSecret> {
    if reader.is_set(name.as_str()) {
        return rotating(reader, environment, name);
    }
    match target? {
        DatabaseTarget::Postgres(_) => {
            reader.problem(
                name.as_str(),
                "is not set; with PostgreSQL no secret is made up, because it would be lost with this machine",
                "todoctl gen-secrets --write .env",
            );
            None
        }
        DatabaseTarget::Sqlite(file) => {
            let known = generated_secret_path(file, name.as_str()).exists();
            if !known && (reader.is_looking() || !reader.is_fine()) {
                return None;
            }
            match generated(file, name) {
                Ok(current) => Some(RotatingSecret {
                    current,
                    previous: previous(reader, environment, name),
                }),
                Err(wrong) => {
                    let path = generated_secret_path(file, name.as_str());
                    let directory = path.parent().unwrap_or(&path).display().to_string();
                    reader.problem(
                        name.as_str(),
                        wrong,
                        format!("let this user read and write the directory {directory}, name another one with TODOCTL_DATA_DIR, or set {}", name.as_str()),
                    );
                    None
                }
            }
        }
    }
}

fn rotating(
    reader: &mut Reader<'_>,
    environment: Environment,
    name: SecretName,
) -> Option<RotatingSecret> {
    let current = reader.secret(name.as_str())?;
    judge(reader, environment, name, name.as_str(), &current);
    Some(RotatingSecret {
        current,
        previous: previous(reader, environment, name),
    })
}

/// The values before; several of them only where the key cannot hold a comma.
fn previous(reader: &mut Reader<'_>, environment: Environment, name: SecretName) -> Vec<Secret> {
    let variable = name.previous();
    let Some(value) = reader.secret(variable) else {
        return Vec::new();
    };
    let values: Vec<Secret> = if name == SecretName::EncryptionKey {
        let keys = value.expose().split(',').map(str::trim);
        keys.filter(|key| !key.is_empty())
            .map(Secret::new)
            .collect()
    } else {
        vec![value]
    };
    if values.len() > MAX_PREVIOUS {
        let wrong = format!("holds more than {MAX_PREVIOUS} keys");
        reader.problem(
            variable,
            wrong,
            "leave out those that nothing is encrypted with",
        );
    }
    for value in &values {
        judge(reader, environment, name, variable, value);
    }
    values
}

/// A weak secret is refused where users are real, and remarked on elsewhere.
fn judge(
    reader: &mut Reader<'_>,
    environment: Environment,
    name: SecretName,
    variable: &str,
    value: &Secret,
) {
    let remedy = name.remedy(variable, value, reader.env_file_of(variable));
    if let Some(fault) = name.fault(value.expose()) {
        reader.problem(variable, fault, remedy);
    } else if let Some(weak) = weakness(value.expose()) {
        if environment == Environment::Development {
            reader.warn(
                variable,
                format!("{weak}; outside development it is refused: {remedy}"),
            );
        } else {
            reader.problem(variable, weak, remedy);
        }
    }
}
