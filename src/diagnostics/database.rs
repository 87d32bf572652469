//! Checks of the database, step by step.

use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget};

use super::check::{Check, Run, run};
use super::context::Context;
use super::verdict::Outcome::{Fail, Pass, Skip, Warn};
use super::verdict::Verdict;

mod behind;
mod clusters;
mod continuity;
mod daemon_rights;
mod damage;
mod fault;
mod file;
mod file_clock;
mod file_log;
pub(super) mod former;
mod integrity;
mod kept_file;
mod lent;
pub(super) mod migrations;
mod modes;
mod network;
mod old_key;
mod other_log;
mod other_names;
mod other_port;
mod other_way;
mod overrides;
mod passwords;
pub(super) mod pooled_remedies;
mod pooler;
mod provider_keys;
mod questions;
pub(super) mod replaced;
mod role;
mod schema;
mod search;
mod server;
pub(super) mod service;
mod settings;
pub(super) mod socket_user;
mod tls;
mod trial;
mod unexplained;
mod unmounted;
mod url;
pub(super) mod work;

/// A suspended database needs 10 to 15 s to wake up.
const LOGIN_SECONDS: u64 = 20;

pub(crate) use other_log::refuse_log_of_another;
pub(super) use schema::CHECKS as SCHEMA_CHECKS;
pub(super) use unexplained::{lacking, with_cause};

pub(super) static CHECKS: &[Check] = &[
    Check::new("database.url", "URL", Run::Now(url::url))
        .about(
            "DATABASE_URL is parsed, and the parts that todoctl uses are shown without the \
         password. All other checks of the database depend on it. Usual causes of a \
         failure are a missing scheme and a password that is not percent-encoded.",
        )
        .outcomes(&[Pass, Warn, Fail])
        .needs(&["config.env_file"]),
    Check::new("database.dns", "Host name", run!(Server, network::name))
        .about(
            "The host name of DATABASE_URL is resolved. Without an address no connection is \
         possible. Usual causes are a typing error, a container that is not in the \
         database's network, and a project that was deleted at the provider.",
        )
        .outcomes(&[Pass, Fail])
        .needs(&["database.url"]),
    Check::new(
        "database.connection",
        "Connection",
        run!(Database, connection),
    )
    .about(
        "Whether anything accepts connections at the server's address, or whether the \
         SQLite file can be opened. Usual causes of a failure are a server that is not \
         running, a wrong port, a firewall or allow list, a DATABASE_URL that names a directory, \
         and a file that does not exist yet, or whose disk was unmounted under the daemon.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .needs(&["database.url", "database.dns"]),
    Check::new("database.tls", "TLS", run!(Server, tls::tls))
        .about(
            "The TLS handshake is made, and the certificate is examined whatever sslmode \
         asks for. Without TLS, or without checking the certificate, others on the \
         network path can read the password and every task. Usual causes are \
         sslmode=disable or require, a private certificate authority without \
         sslrootcert, and an expired certificate.",
        )
        .outcomes(&[Pass, Warn, Fail])
        .needs(&["database.connection"]),
    Check::new("database.startup", "Startup", run!(Server, server::startup))
        .about(
            "Whether the server accepts the parameters with which a session begins. Some \
         poolers refuse parameters that PostgreSQL accepts, and then no login succeeds. \
         The usual cause is options in DATABASE_URL that a pooler does not forward.",
        )
        .outcomes(&[Pass, Fail, Skip])
        .needs(&["database.tls"])
        .within(LOGIN_SECONDS),
    Check::new(
        "database.directory",
        "Directory",
        run!(File, file::directory),
    )
    .about(
        "Whether the SQLite file and its directory are writable for this user. SQLite \
         creates its write-ahead log beside the file, so a read-only directory makes \
         the database read-only, and one file with two names gets two logs. Its owner must also \
         be able to use what is beside it, and the files of secrets. Usual causes are a file that \
         another user, often root, created, a hard link as a backup, and a mount that has made a \
         directory where the log should be.",
    )
    .outcomes(&[Pass, Warn, Fail])
    .needs(&["database.url"]),
    Check::new(
        "database.file_system",
        "File system",
        run!(File, file::file_system),
    )
    .about(
        "The kind of file system that holds the SQLite file. On network file systems \
         locks are not reliable and databases get damaged; in memory or inside a \
         container every task is lost with it, and a file that is mounted without its directory \
         loses its log. The usual cause is a mount that is missing or is of the wrong kind.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .needs(FILE),
    Check::new("database.modes", "File modes", run!(File, modes::modes))
        .about(
            "Modes and owners of the SQLite file, its log and its directory. Users who may \
         read the file can read every task, and users who may write the directory can \
         replace the file. The usual cause is a file that was copied with the default \
         mode.",
        )
        .outcomes(&[Pass, Warn, Skip])
    .fix("Takes the permissions of other users from files of this user, and their permission to write from the directory.")
        .needs(FILE),
    Check::new("database.disk", "Free disk", run!(File, file::disk))
        .about(
            "The free space of the file system that holds the SQLite file. When it is used \
         up, every change fails. Usual causes are logs and backups on the same disk, \
         and a write-ahead log that is not emptied.",
        )
        .outcomes(&[Pass, Warn, Fail, Skip])
        .needs(FILE),
    Check::new("database.login", "Login", run!(Database, login))
        .about(
            "A session is opened as the daemon opens it, or the SQLite file is opened. \
         Usual causes of a failure are a wrong password, a role or database that does \
         not exist, no connection that is free, and a suspended or deleted project at \
         the provider.",
        )
        .outcomes(&[Pass, Fail, Skip])
        .needs(&["database.connection", "database.tls"])
        .within(LOGIN_SECONDS),
    Check::new("database.query", "Query", run!(Database, questions::query))
        .about(
            "One query is run. It shows that the session works and not only the login. \
         Usual causes of a failure are a server that is starting or shutting down, and \
         a pooler without a server connection.",
        )
        .outcomes(&[Pass, Fail])
        .needs(LOGIN)
        .within(8)
        .taking_turns(),
    Check::new(
        "database.latency",
        "Latency",
        run!(Database, questions::latency),
    )
    .about(
        "Twenty queries are timed one after the other. A request waits for several \
         queries, so a slow round trip makes every request slow. The usual cause is a \
         database in another region, or a pooler that is overloaded.",
    )
    .outcomes(&[Pass, Warn, Fail])
    .needs(QUERY)
    .taking_turns()
    .within(10),
    Check::new(
        "database.version",
        "Version",
        run!(Database, questions::version),
    )
    .about(
        "The version of the database server. Releases before PostgreSQL 12 are not \
         tested. The usual cause of a warning is a server that was not upgraded for \
         years.",
    )
    .outcomes(&[Pass, Warn, Fail])
    .needs(QUERY)
    .taking_turns(),
    Check::new("database.session", "Session", run!(Server, lent::session))
        .about(
            "Whether the sessions that a pooler lends are as role and database have them: a pooler in \
         transaction mode gives what one client has changed with SET to the next one. Several \
         server connections are looked at together, each in a transaction that changes nothing. Usual \
         causes of a failure are a client that makes its sessions read-only, temporary tables with \
         names of todoctl's, pg_dump and dumps that are read in through the pooler, and connect_query \
         in pgbouncer.ini.",
        )
        .outcomes(&[Pass, Warn, Fail, Skip])
        .needs(QUERY),
    Check::new("database.role", "Role", run!(Server, role::role))
        .about(
            "Whether the role of DATABASE_URL may use the schema, the tables and the \
         sequences, may create tables for migrations, and may write at all. Usual \
         causes of a failure are a standby server, read-only transactions, tables that \
         another role created, and row-level security without a policy.",
        )
        .outcomes(&[Pass, Warn, Fail])
        .needs(SESSION)
        .taking_turns(),
    Check::new("database.pooler", "Pooler", run!(Server, pooler::pooler))
        .about(
            "Whether a pooler is between todoctl and the server, and in which mode it \
         works. Prepared statements and session locks do not work through every pooler, \
         and migrations need a direct connection. The usual cause of a failure is the \
         pooled URL of a provider without DATABASE_URL_UNPOOLED.",
        )
        .outcomes(&[Pass, Warn, Fail])
        .needs(QUERY)
        .within(10),
    Check::new("database.clock", "Clock", run!(Database, clock))
        .about(
            "The clock of this machine is compared with the server's. Tokens, sessions and \
         reminders depend on it. The usual cause of a difference is a machine without \
         time synchronization. A SQLite file has no clock of its own: rows that were written later \
         than now show that this machine's is behind, or was ahead when they were written.",
        )
        .outcomes(&[Pass, Warn, Fail, Skip])
        .needs(QUERY)
        .taking_turns(),
    Check::new(
        "database.settings",
        "Settings",
        run!(Server, settings::settings),
    )
    .about(
        "Whether the session has the settings that todoctl asked for, whether the \
         database's encoding is UTF8, and whether role or database switch off indexes or \
         choose another isolation of transactions. With such settings times and texts are \
         misread, and requests get slow or fail. Usual causes are a pooler that ignores \
         startup parameters, a database that was created with the encoding SQL_ASCII, and \
         ALTER ROLE for an experiment.",
    )
    .outcomes(&[Pass, Warn, Fail])
    .needs(SESSION)
    .taking_turns(),
    Check::new(
        "database.integrity",
        "Integrity",
        run!(File, integrity::integrity),
    )
    .about(
        "SQLite checks the pages, indexes and constraints of the file. A damaged file \
         loses tasks. Usual causes are a copy that was made while the database was in \
         use, a network file system, and a failing disk.",
    )
    .outcomes(&[Pass, Warn, Fail])
    .fix("Makes the index of searches again, where it alone is damaged.")
    .needs(QUERY)
    .taking_turns()
    .within(10),
    Check::new("database.search", "Search", run!(Database, search::search))
        .about(
            "Which index finds the tasks that a search asks for, without which each search \
         reads all tasks of its user, and whether the copies of titles that searches compare are right. \
         Usual causes are a server without the extension pg_trgm, a role that may not create it, an \
         event trigger that freezes the schema, and a script that copies rows. On SQLite, whether its \
         index is sound and has every task and nothing else, which INSERT OR REPLACE leaves in it; it is \
         made from the tasks, so nothing is lost with it.",
        )
        .outcomes(&[Pass, Warn, Fail, Skip])
        .fix("Makes the index of a SQLite file again, and removes wrong copies, which the daemon then makes.")
        .needs(&["database.query", "database.integrity"])
        .taking_turns(),
    Check::new("database.journal", "Journal", run!(File, file::journal))
        .about(
            "Whether the SQLite file is in WAL mode. Without it readers and the writer wait \
         for each other. The usual cause is a file that another program created or \
         converted.",
        )
        .outcomes(&[Pass, Warn, Skip])
    .fix("Sets WAL mode, as the daemon does when it opens the file.")
        .needs(&["database.login", "database.integrity"]),
    Check::new("database.wal", "Write-ahead log", run!(File, file_log::wal))
        .about(
            "The size of SQLite's write-ahead log. A log that is never emptied slows every \
         read and fills the disk. The usual cause is a process that reads for hours, \
         such as a backup tool or an open sqlite3 shell.",
        )
        .outcomes(&[Pass, Warn, Skip])
    .fix("Empties the log, as far as no process reads from it.")
        .needs(FILE),
];

const FILE: &[&str] = &["database.connection"];
const LOGIN: &[&str] = &["database.login"];
const QUERY: &[&str] = &["database.query"];
const SESSION: &[&str] = &["database.query", "database.session"];

/// Whether the server accepts connections, or the file can be read.
async fn connection(context: &Context, config: &DatabaseConfig, limit: Duration) -> Verdict {
    match &config.target {
        DatabaseTarget::Postgres(server) => network::connection(context, server, limit).await,
        DatabaseTarget::Sqlite(file) => file::connection(context, config, file).await,
    }
}

async fn login(context: &Context, config: &DatabaseConfig, limit: Duration) -> Verdict {
    match &config.target {
        DatabaseTarget::Postgres(server) => server::login(context, server, limit).await,
        DatabaseTarget::Sqlite(file) => file::login(context, file, limit).await,
    }
}

async fn clock(context: &Context, config: &DatabaseConfig, limit: Duration) -> Verdict {
    match &config.target {
        DatabaseTarget::Postgres(server) => server::clock(context, server, limit).await,
        DatabaseTarget::Sqlite(file) => file_clock::clock(context, file, limit).await,
    }
}

#[cfg(test)]
mod tests;
