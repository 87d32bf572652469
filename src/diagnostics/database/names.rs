//! The checks' names, in the order of a report.

use crate::diagnostics::check::Name;
use crate::diagnostics::migrations::MIGRATIONS;

macro_rules! names {
    ($($constant:ident = $id:literal, $title:literal;)*) => {
        $(pub(super) const $constant: Name = Name { id: $id, title: $title };)*
        /// Every check of a database, of either engine.
        pub const NAMES: &[Name] = &[$($constant,)* MIGRATIONS];
    };
}

names! {
    URL = "database.url", "URL";
    DNS = "database.dns", "Host name";
    CONNECTION = "database.connection", "Connection";
    TLS = "database.tls", "TLS";
    STARTUP = "database.startup", "Startup";
    DIRECTORY = "database.directory", "Directory";
    FILE_SYSTEM = "database.file_system", "File system";
    MODES = "database.modes", "File modes";
    DISK = "database.disk", "Free disk";
    LOGIN = "database.login", "Login";
    QUERY = "database.query", "Query";
    LATENCY = "database.latency", "Latency";
    VERSION = "database.version", "Version";
    ROLE = "database.role", "Role";
    POOLER = "database.pooler", "Pooler";
    CONNECTIONS = "database.connections", "Capacity";
    CLOCK = "database.clock", "Clock";
    SETTINGS = "database.settings", "Settings";
    JOURNAL = "database.journal", "Journal";
    WAL = "database.wal", "Write-ahead log";
    INTEGRITY = "database.integrity", "Integrity";
}

/// Of a URL that is not understood.
pub(super) const UNKNOWN_ORDER: &[Name] =
    &[URL, CONNECTION, LOGIN, QUERY, LATENCY, VERSION, MIGRATIONS];

/// Of a PostgreSQL server.
pub(super) const SERVER_ORDER: &[Name] = &[
    URL,
    DNS,
    CONNECTION,
    TLS,
    STARTUP,
    LOGIN,
    QUERY,
    LATENCY,
    VERSION,
    ROLE,
    POOLER,
    CONNECTIONS,
    CLOCK,
    SETTINGS,
    MIGRATIONS,
];

/// Of a SQLite file.
pub(super) const FILE_ORDER: &[Name] = &[
    URL,
    CONNECTION,
    DIRECTORY,
    FILE_SYSTEM,
    MODES,
    DISK,
    LOGIN,
    QUERY,
    LATENCY,
    VERSION,
    JOURNAL,
    WAL,
    INTEGRITY,
    MIGRATIONS,
];
