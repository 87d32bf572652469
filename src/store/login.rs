//! One login to PostgreSQL.

use std::str::FromStr as _;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::config::{DatabaseTarget, PostgresTarget, TlsMode, read_small_file};

use super::connect_error::ConnectError;
use super::messages::ConnectFault;

/// Logs in, within `limit`.
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
