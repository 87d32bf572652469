//! One entry of the catalogue.

use crate::config::Remedy;

use super::place::Place;

/// Whether the same work may succeed when it is tried again unchanged. `serve` waits at its
/// start for what may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Retry {
    /// In a few seconds.
    Yes,
    /// After the load drops, a limit is raised, or a restart ends.
    Later,
    /// Only after a change of configuration or data.
    No,
}

/// Why a database could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectFault {
    HostNotFound,
    Refused,
    TimedOut,
    /// The client requires TLS, and the server does not offer it.
    TlsUnsupported,
    /// The server's certificate was not accepted.
    Certificate,
    /// SQLSTATE 28P01, 28000.
    Login,
    /// SQLSTATE 3D000.
    NoSuchDatabase,
    /// SQLSTATE 55000: the database accepts no connections.
    Closed,
    /// SQLSTATE 53300.
    TooManyConnections,
    /// SQLSTATE 57P03: the server is starting or waking up.
    Starting,
    /// The connection was accepted, then closed, or the answer was not PostgreSQL's protocol.
    NotPostgres,
    /// A pooler refuses a parameter that is sent when a connection begins.
    StartupParameter,
    /// The file is not a SQLite database.
    NotADatabase,
    Corrupt,
    /// The file or its directory is missing, or may not be opened.
    CannotOpen,
    ReadOnly,
    /// Another process holds the file's lock.
    Busy,
    DiskFull,
    /// The file is gone, and other files show that it was there.
    Lost,
    /// No more threads may be started.
    NoThreads,
    /// SQLite would damage the file with a journal of another one.
    OtherJournal,
    /// The database's encoding is not UTF8.
    Encoding,
    /// Two addresses that should lead to one database lead to two.
    OtherDatabase,
    Other,
}

/// A message of a database, a pooler or the system, and what it means.
#[derive(Debug)]
pub(crate) struct KnownMessage {
    /// Stable, such as `neon.endpoint-disabled`.
    pub(crate) id: &'static str,
    /// The kind of fault when the message ends an attempt to connect.
    pub(crate) fault: ConnectFault,
    /// The message contains one of these texts; `*` stands for anything, and `$` at the end for the
    /// end of a line. Lower case.
    pub(super) patterns: &'static [&'static str],
    /// SQLSTATEs (PostgreSQL, appendix A) that mean this whatever the text is.
    pub(super) codes: &'static [&'static str],
    /// What happened, in one sentence.
    pub(crate) meaning: &'static str,
    pub(crate) retry: Retry,
    /// What to do there.
    pub(crate) remedy: fn(Place<'_>) -> Remedy,
}

impl KnownMessage {
    /// What to do about it at this place, where the database said `message`.
    pub(crate) fn remedy_at(&self, place: Place<'_>, message: &str) -> Remedy {
        match self.id {
            "postgres.no-right" => place.grant_of_system(message),
            "postgres.no-database" => place.database_behind(message),
            "sqlite.malformed-schema" => place.without_entry(message),
            _ => None,
        }
        .unwrap_or_else(|| (self.remedy)(place))
        .of_url(place.variable())
    }

    /// Whether waiting may help.
    pub(crate) fn may_heal(&self) -> bool {
        self.retry != Retry::No
    }

    /// Whether it refuses a connection for what is configured here or there: one that succeeds with
    /// the same configuration shows that it is corrected.
    pub(crate) fn is_of_connecting(&self) -> bool {
        matches!(
            self.fault,
            ConnectFault::HostNotFound
                | ConnectFault::Refused
                | ConnectFault::TimedOut
                | ConnectFault::TlsUnsupported
                | ConnectFault::Certificate
                | ConnectFault::Login
                | ConnectFault::NoSuchDatabase
                | ConnectFault::Closed
                | ConnectFault::NotPostgres
                | ConnectFault::StartupParameter
        )
    }

    /// Whether pages of a SQLite file are damaged, and not only an entry of its schema.
    pub(crate) fn is_of_pages(&self) -> bool {
        self.id == "sqlite.malformed"
    }

    /// Whether a file of the server's is damaged or gone: which table or index it belongs to has
    /// to be asked.
    pub(crate) fn is_of_server_file(&self) -> bool {
        matches!(self.id, "postgres.damaged" | "postgres.data-file")
    }

    /// Whether it names a table, a schema or a right: what the schema or the role lacks has to be asked.
    pub(crate) fn is_of_catalogue(&self) -> bool {
        self.is_of_tables() || self.id == "postgres.no-right"
    }

    /// Whether a name leads to no table or no schema.
    pub(crate) fn is_of_tables(&self) -> bool {
        matches!(self.id, "postgres.no-table" | "postgres.no-schema")
    }

    /// Whether a pooler says no more than that it has no server connection: why has to be asked.
    pub(crate) fn is_of_pooled_login(&self) -> bool {
        matches!(self.id, "pgbouncer.server-login" | "pgbouncer.query-wait")
    }

    /// Whether it says no more than that a limit was reached: who holds the lock, or how long the
    /// limit is, has to be asked.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(
            self.id,
            "postgres.lock-timeout" | "postgres.statement-timeout" | "postgres.transaction-timeout"
        )
    }
}

impl PartialEq for KnownMessage {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for KnownMessage {}
