//! Opening one connection, with an explanation for each error.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use crate::config::{
    ClaimError, DatabaseTarget, PostgresTarget, SqliteTarget, TlsMode, claim, read_small_file,
    with_suffix,
};

use super::connect_error::ConnectError;
use super::messages::ConnectFault;
use super::namesake;

/// The time limit for one attempt; a suspended Neon database needs 10 to 15 s to wake.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Opens one connection to a PostgreSQL server.
pub async fn open_postgres(target: &PostgresTarget) -> Result<PgConnection, ConnectError> {
    open_postgres_within(target, CONNECT_TIMEOUT).await
}

/// As [`open_postgres`], within `limit`.
pub(crate) async fn open_postgres_within(
    target: &PostgresTarget,
    limit: Duration,
) -> Result<PgConnection, ConnectError> {
    match attempt(target, limit).await {
        Err(error) if error.fault == ConnectFault::NoSuchDatabase => {
            Err(namesake::named(error, target).await)
        }
        result => result,
    }
}

/// The same without a look at the server's other databases.
pub(super) async fn attempt(
    target: &PostgresTarget,
    limit: Duration,
) -> Result<PgConnection, ConnectError> {
    let named = || DatabaseTarget::Postgres(target.clone());
    if matches!(target.tls, TlsMode::VerifyCa | TlsMode::VerifyFull) {
        // The driver's error does not name the file, nor what is wrong with it.
        root_certificates(target)
            .map_err(|message| ConnectError::new(ConnectFault::Certificate, &named(), message))?;
    }
    let options =
        postgres_options(target).map_err(|error| ConnectError::from_sqlx(&named(), &error))?;
    match tokio::time::timeout(limit, PgConnection::connect_with(&options)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(ConnectError::from_sqlx(&named(), &error)),
        Err(_) => Err(ConnectError::timed_out(&named(), limit)),
    }
}

/// The certificates of `sslrootcert=`.
pub(crate) fn root_certificates(
    target: &PostgresTarget,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let Some(path) = &target.root_cert else {
        return Ok(Vec::new());
    };
    let unusable = |reason: String| {
        let place = path.display();
        format!("the root certificate file {place} cannot be used: {reason}")
    };
    let pem = read_small_file(path).map_err(|error| unusable(error.to_string()))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(error.to_string()))?;
    // Whether each can be a root is known only to who adds it.
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots
            .add(certificate.clone())
            .map_err(|error| unusable(error.to_string()))?;
    }
    if certificates.is_empty() {
        return Err(unusable(
            "it contains no certificate in PEM form".to_owned(),
        ));
    }
    Ok(certificates)
}

/// The driver's options for `target`.
fn postgres_options(target: &PostgresTarget) -> Result<PgConnectOptions, sqlx::Error> {
    // Raw `options` (Neon's `endpoint=…`) can be given to the driver in a URL only. PgBouncer
    // refuses them, empty ones too.
    let url = match target.options.as_deref() {
        None | Some("") => "postgres://".to_owned(),
        Some(raw) => format!(
            "postgres://?options={}",
            utf8_percent_encode(raw, NON_ALPHANUMERIC)
        ),
    };
    let mut options = PgConnectOptions::from_str(&url)?
        .host(&target.host)
        .port(target.port)
        .username(&target.user)
        .password(
            target
                .password
                .as_ref()
                .map_or("", |password| password.expose()),
        )
        .database(&target.database)
        .application_name(&target.application_name)
        .ssl_mode(match target.tls {
            TlsMode::Disable => PgSslMode::Disable,
            TlsMode::Prefer => PgSslMode::Prefer,
            TlsMode::Require => PgSslMode::Require,
            TlsMode::VerifyCa => PgSslMode::VerifyCa,
            TlsMode::VerifyFull => PgSslMode::VerifyFull,
        })
        // PgBouncer before 1.20 refuses it, and PostgreSQL 12 and newer do not need it.
        .extra_float_digits(None)
        .disable_statement_logging();
    if let Some(path) = &target.root_cert {
        options = options.ssl_root_cert(path);
    }
    Ok(options)
}

/// What a SQLite connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqliteAccess {
    /// The file must exist, see [`create_file`]; foreign keys are enforced.
    Write,
    /// Like `Write`, but without foreign keys: a rebuilt table would cascade.
    Migrate,
    /// Like `Write`, for changes that are rolled back: the file keeps its journal mode.
    Trial,
    /// Reads the file of a running daemon; the file must exist. No write-ahead log is created if
    /// there is none.
    Read,
}

/// So many rows may wait for the task that reads them. With fewer, a connection's thread stops
/// and goes on several times for one statement.
const ROWS: usize = 256;

/// How long a statement waits for another process to unlock a SQLite file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens one connection to a SQLite file, in WAL mode with full synchronisation.
pub async fn open_sqlite(
    target: &SqliteTarget,
    access: SqliteAccess,
) -> Result<SqliteConnection, ConnectError> {
    open_sqlite_within(target, access, BUSY_TIMEOUT).await
}

/// The same, where no statement waits for a lock longer than `wait`.
pub(super) async fn open_sqlite_within(
    target: &SqliteTarget,
    access: SqliteAccess,
    wait: Duration,
) -> Result<SqliteConnection, ConnectError> {
    let named = DatabaseTarget::Sqlite(target.clone());
    let mut options = SqliteConnectOptions::new()
        .filename(&target.path)
        .busy_timeout(wait.min(BUSY_TIMEOUT))
        .foreign_keys(access != SqliteAccess::Migrate)
        .row_buffer_size(ROWS)
        .disable_statement_logging();
    match access {
        SqliteAccess::Read => {
            if !target.path.exists() {
                let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
                let what = format!("{} does not exist yet", target.path.display());
                return Err(ConnectError::from_io(&named, &what, &missing));
            }
            options = options.read_only(true);
            // Without a write-ahead log no process has the file open. A reader would create one
            // and leave it behind.
            if !wal_path(&target.path).exists() {
                options = options.immutable(true);
            }
        }
        SqliteAccess::Write | SqliteAccess::Migrate => {
            options = options
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full);
        }
        SqliteAccess::Trial => {}
    }
    SqliteConnection::connect_with(&options)
        .await
        .map_err(|error| ConnectError::from_sqlx(&named, &error))
}

/// The write-ahead log of a SQLite file.
pub(crate) fn wal_path(database: &Path) -> PathBuf {
    with_suffix(database, "-wal")
}

/// The index of the write-ahead log, in shared memory.
pub(crate) fn index_path(database: &Path) -> PathBuf {
    with_suffix(database, "-shm")
}

/// Creates a SQLite file that is missing, and its directory. Fails where a database was lost.
pub(super) fn create_file(target: &SqliteTarget) -> Result<(), ConnectError> {
    let named = || DatabaseTarget::Sqlite(target.clone());
    claim(target).map_err(|error| match error {
        ClaimError::Lost(lost) => {
            let message = lost.to_string();
            let mut error = ConnectError::new(ConnectFault::Lost, &named(), message);
            error.remedy = lost.remedy();
            error
        }
        ClaimError::Io { what, source } => ConnectError::from_io(&named(), &what, &source),
    })
}
