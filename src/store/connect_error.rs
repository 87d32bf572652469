//! Why a database could not be opened.

use std::io;
use std::time::Duration;

use crate::config::{DATABASE_URL, DatabaseTarget, Remedy};

use super::messages::{self, ConnectFault, KnownMessage, Place};

/// A database that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the database {target}: {message}")]
pub struct ConnectError {
    pub(crate) fault: ConnectFault,
    /// The URL without its password.
    pub target: String,
    /// What happened, in one line.
    pub message: String,
    /// What to do about it.
    pub remedy: Remedy,
    /// The catalogue's entry for the message, if it has one.
    pub(crate) known: Option<&'static KnownMessage>,
}

impl ConnectError {
    /// Whether waiting may help: the database is starting or not reachable yet.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.known.is_some_and(KnownMessage::may_heal)
    }

    /// Whether PgBouncer says it itself.
    pub(crate) fn is_of_pgbouncer(&self) -> bool {
        self.known
            .is_some_and(|known| known.id.starts_with("pgbouncer."))
    }

    /// The server did not answer within `limit`.
    pub(crate) fn timed_out(target: &DatabaseTarget, limit: Duration) -> Self {
        Self::new(
            ConnectFault::TimedOut,
            target,
            format!("no answer within {} s", limit.as_secs()),
        )
    }

    /// A file could not be created, opened or locked.
    pub(crate) fn from_io(target: &DatabaseTarget, what: &str, error: &io::Error) -> Self {
        let fault = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                ConnectFault::ReadOnly
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ConnectFault::DiskFull,
            _ => ConnectFault::CannotOpen,
        };
        Self::new(fault, target, format!("{what}: {error}"))
    }

    /// Explains a driver's error while a connection was opened.
    pub(crate) fn from_sqlx(target: &DatabaseTarget, error: &sqlx::Error) -> Self {
        if let (DatabaseTarget::Postgres(_), sqlx::Error::Database(fault)) = (target, error) {
            let known = messages::of_database(&**fault);
            let kind = known.map_or(ConnectFault::Other, |known| known.fault);
            return Self::of_known(kind, target, fault.message().to_owned(), known);
        }
        let (fault, message) = match target {
            DatabaseTarget::Postgres(_) => explain_postgres(error),
            DatabaseTarget::Sqlite(_) => explain_sqlite(error),
        };
        Self::new(fault, target, message)
    }

    pub(crate) fn new(fault: ConnectFault, target: &DatabaseTarget, message: String) -> Self {
        // The message is more specific; the kind of fault has a general entry.
        let known = messages::find(&message)
            .filter(|known| known.fault == fault)
            .or_else(|| messages::by_fault(fault));
        Self::of_known(fault, target, message, known)
    }

    fn of_known(
        fault: ConnectFault,
        target: &DatabaseTarget,
        message: String,
        known: Option<&'static KnownMessage>,
    ) -> Self {
        let place = Place::from(target);
        Self {
            fault,
            target: match place.variable() {
                DATABASE_URL => target.redacted(),
                other => format!("{} of {other}", target.redacted()),
            },
            remedy: known.map_or_else(
                || place.unexplained(),
                |known| known.remedy_at(place, &message),
            ),
            message,
            known,
        }
    }
}

fn explain_postgres(error: &sqlx::Error) -> (ConnectFault, String) {
    match error {
        sqlx::Error::Io(fault) => explain_io(fault),
        sqlx::Error::Tls(fault) => {
            let text = fault.to_string();
            if text.contains("does not support") {
                (
                    ConnectFault::TlsUnsupported,
                    "the server does not offer TLS".to_owned(),
                )
            } else {
                handshake_failed(&text)
            }
        }
        sqlx::Error::Protocol(text) if text.contains("authentication method: ") => (
            ConnectFault::Login,
            format!("todoctl cannot log in as the server asks: {text}"),
        ),
        sqlx::Error::Protocol(text) => (
            ConnectFault::NotPostgres,
            format!("what answers there does not speak PostgreSQL's protocol: {text}"),
        ),
        other => (ConnectFault::Other, other.to_string()),
    }
}

/// What rustls says, and what it means.
fn handshake_failed(text: &str) -> (ConnectFault, String) {
    let meaning =
        messages::find(text).map_or_else(String::new, |known| format!(" ({})", known.meaning));
    (
        ConnectFault::Certificate,
        format!("the TLS handshake failed: {text}{meaning}"),
    )
}

fn explain_io(error: &io::Error) -> (ConnectFault, String) {
    let text = error.to_string();
    match error.kind() {
        io::ErrorKind::ConnectionRefused => (
            ConnectFault::Refused,
            "nothing accepts connections there (connection refused)".to_owned(),
        ),
        io::ErrorKind::NotFound => (ConnectFault::Refused, format!("no server socket: {text}")),
        io::ErrorKind::TimedOut
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable => (ConnectFault::TimedOut, text),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => (
            ConnectFault::NotPostgres,
            "the connection was accepted and then closed without an answer".to_owned(),
        ),
        // rustls reports it so.
        io::ErrorKind::InvalidData if text.contains("certificate") => handshake_failed(&text),
        // The standard library has no error kind for name resolution.
        _ if text.contains("Temporary failure in name resolution") => (
            ConnectFault::TimedOut,
            "the name server did not answer".to_owned(),
        ),
        _ if text.contains("lookup address") => (
            ConnectFault::HostNotFound,
            "the host name does not resolve".to_owned(),
        ),
        _ => (ConnectFault::Other, text),
    }
}

fn explain_sqlite(error: &sqlx::Error) -> (ConnectFault, String) {
    // Each connection has a thread of its own.
    if let sqlx::Error::Io(fault) = error
        && fault.kind() == io::ErrorKind::WouldBlock
    {
        return (
            ConnectFault::NoThreads,
            format!("a thread for it cannot be started: {fault}"),
        );
    }
    let sqlx::Error::Database(fault) = error else {
        return (ConnectFault::Other, error.to_string());
    };
    let message = fault.message().to_owned();
    // https://www.sqlite.org/rescode.html: the low byte is the primary code.
    let primary = fault
        .code()
        .and_then(|code| code.parse::<i32>().ok())
        .map(|code| code & 0xff);
    match primary {
        Some(26) => (
            ConnectFault::NotADatabase,
            "the file is not a SQLite database (or it is encrypted)".to_owned(),
        ),
        Some(14) => (ConnectFault::CannotOpen, message),
        Some(8 | 3) => (ConnectFault::ReadOnly, message),
        Some(5 | 6) => (ConnectFault::Busy, message),
        Some(13) => (ConnectFault::DiskFull, message),
        Some(11) => (ConnectFault::Corrupt, message),
        _ => (ConnectFault::Other, message),
    }
}
