//! What a command runs with: the configuration's source, read once.

use std::path::{Path, PathBuf};

use crate::clock::Clock;
use crate::config::{
    Audit, Config, ConfigError, DEFAULT_ENV_FILE, DaemonPlace, DatabaseConfig, DatabaseTarget,
    HttpConfig, JobsConfig, Loaded, Remedy, RotatingSecret, Source, TelemetryConfig,
    misspelt_warnings, read_source,
};
use crate::services::missing_file::MissingFile;
use crate::store::{Store, compare_urls};
use crate::telemetry::{self, Logging, LoggingError};

use super::hint::Hint;
use super::output;

/// Loads as much of the configuration as a command needs.
#[derive(Debug)]
pub struct Context {
    source: Source,
    broken: Option<ConfigError>,
    /// `None` is the default one.
    env_file: Option<PathBuf>,
    /// The daemon in whose place the command runs.
    place: Option<DaemonPlace>,
    clock: Clock,
}

impl Context {
    /// Reads the environment and `env_file`, or `./.env` if there is one.
    pub fn new(env_file: Option<&Path>, place: Option<&DaemonPlace>) -> anyhow::Result<Self> {
        let read = Self::of_what_can_be_read(env_file, place);
        match read.broken {
            Some(error) => Err(error.into()),
            None => Ok(read),
        }
    }

    /// As [`Context::new`], for diagnostics, which report a file that cannot be read.
    #[must_use]
    pub fn of_what_can_be_read(env_file: Option<&Path>, place: Option<&DaemonPlace>) -> Self {
        let (mut source, broken) = read_source(env_file);
        source.run_in(place.cloned());
        trust_ca_file(&source);
        Self {
            source,
            broken,
            env_file: env_file.map(Path::to_owned),
            place: place.cloned(),
            clock: Clock::system(),
        }
    }

    /// Reads the same sources again, for diagnostics that run several times.
    #[must_use]
    pub fn read_again(&self) -> Self {
        Self::of_what_can_be_read(self.env_file.as_deref(), self.place.as_ref())
    }

    /// Names and values as they are set.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The `.env` file, which need not exist.
    #[must_use]
    pub fn env_file(&self) -> &Path {
        let named = self.env_file.as_deref();
        named.unwrap_or(Path::new(DEFAULT_ENV_FILE))
    }

    /// What is wrong with the `.env` file, where that does not stop the command.
    #[must_use]
    pub fn broken(&self) -> Option<&ConfigError> {
        self.broken.as_ref()
    }

    /// The clock of this process.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// Everything, for the daemon; with SQLite, missing secrets are generated.
    pub fn config(&self) -> anyhow::Result<Loaded<Config>> {
        Ok(Config::load(&self.source)?)
    }

    /// Only the database.
    pub fn database(&self) -> anyhow::Result<DatabaseConfig> {
        let loaded = DatabaseConfig::load(&self.source)?;
        output::warnings(&misspelt_warnings(&self.source));
        Ok(warned(loaded))
    }

    /// The database at its direct address, which migrations need. Fails if the address leads to
    /// another database.
    pub async fn direct_database(&self) -> anyhow::Result<DatabaseTarget> {
        self.refuse_missing_service()?;
        let database = self.database()?;
        compare_urls(&database).await?;
        Ok(database.direct)
    }

    /// The database, and the secret under which session tokens are stored. With SQLite the secret
    /// is generated if it is missing.
    pub fn database_and_session_secret(&self) -> anyhow::Result<(DatabaseConfig, RotatingSecret)> {
        // First, because a secret without its database shows that one was lost.
        if let Ok(database) = DatabaseConfig::load(&self.source) {
            self.refuse_missing_file(&database.value)?;
        }
        Ok(warned(crate::config::load_database_and_session_secret(
            &self.source,
        )?))
    }

    /// What jobs need.
    pub fn jobs(&self) -> anyhow::Result<JobsConfig> {
        Ok(warned(JobsConfig::load(&self.source)?))
    }

    /// Only the listener's settings.
    pub fn http(&self) -> anyhow::Result<HttpConfig> {
        Ok(warned(HttpConfig::load(&self.source)?))
    }

    /// Opens the store. Unlike SQLite itself, does not create an empty database file.
    pub async fn store(&self, database: &DatabaseConfig) -> anyhow::Result<Store> {
        self.refuse_missing_file(database)?;
        Ok(Store::connect(database, self.clock()).await?)
    }

    /// Fails where a new, empty SQLite database would take the place of the service's own.
    pub(super) fn refuse_missing_service(&self) -> Result<(), Hint> {
        let audit = Audit::of(&self.source);
        let missing = audit.target().and_then(|target| self.missing(target));
        match missing.filter(|missing| missing.blocks(audit.environment)) {
            Some(missing) => Err(Hint::new(missing.to_string(), missing.remedy())),
            None => Ok(()),
        }
    }

    fn missing(&self, target: &DatabaseTarget) -> Option<MissingFile> {
        match target {
            DatabaseTarget::Sqlite(file) => MissingFile::find(&self.source, file),
            DatabaseTarget::Postgres(_) => None,
        }
    }

    fn refuse_missing_file(&self, database: &DatabaseConfig) -> anyhow::Result<()> {
        if let Some(missing) = self.missing(&database.target) {
            return Err(Hint::new(missing.to_string(), missing.remedy()).into());
        }
        if let DatabaseTarget::Sqlite(file) = &database.target
            && !file.path.exists()
        {
            let place = file.path.display();
            let what = format!("the database {place} does not exist yet");
            let remedy = self.source.create_database();
            return Err(Hint::new(what, remedy).into());
        }
        Ok(())
    }
}

/// `SSL_CERT_FILE`, for every command that speaks TLS.
fn trust_ca_file(source: &Source) {
    if let Some(file) = crate::config::ca_file(source) {
        crate::services::trust(&file);
    }
}

/// Starts the log of the daemon, or of a job.
pub(super) fn start_logging(config: &TelemetryConfig) -> anyhow::Result<Logging> {
    Ok(telemetry::start_logging(config).map_err(|error| {
        let (what, remedy) = match error {
            LoggingError::Level(_) => (
                "LOG_LEVEL is not a valid log filter",
                Remedy::set("LOG_LEVEL", "info"),
            ),
            LoggingError::Thread(_) => (
                "cannot start logging",
                Remedy::note("raise the limit of threads: ulimit -u"),
            ),
        };
        Hint::of(error, what, remedy)
    })?)
}

fn warned<T>(loaded: Loaded<T>) -> T {
    output::warnings(&loaded.warnings);
    loaded.value
}
