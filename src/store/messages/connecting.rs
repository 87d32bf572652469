//! Messages of a server that refuses a connection.

use crate::config::{Remedy, sql_name};

use super::entry::{ConnectFault, KnownMessage, Retry};

pub(super) static CONNECTING: &[KnownMessage] = &[
    KnownMessage {
        id: "postgres.login",
        fault: ConnectFault::Login,
        patterns: &[
            "password authentication failed for",
            "no password supplied",
            "wrong password type",
            "sasl authentication failed for",
        ],
        codes: &["28P01"],
        meaning: "Wrong role or password, or a password that has expired (VALID UNTIL): PostgreSQL does not tell which",
        retry: Retry::No,
        remedy: |at| at.login_refused(),
    },
    KnownMessage {
        id: "postgres.system-user",
        fault: ConnectFault::Login,
        patterns: &[
            "peer authentication failed for",
            "ident authentication failed for",
            "certificate authentication failed for",
            "authentication method: ",
        ],
        codes: &[],
        meaning: "pg_hba.conf asks for something else than the password, as for the system user (peer, ident)",
        retry: Retry::No,
        remedy: |at| at.without_password(),
    },
    KnownMessage {
        id: "postgres.hba",
        fault: ConnectFault::Login,
        patterns: &["no pg_hba.conf entry", "pg_hba.conf rejects"],
        codes: &[],
        meaning: "The server's pg_hba.conf does not allow this connection",
        retry: Retry::No,
        remedy: |at| at.not_allowed(),
    },
    KnownMessage {
        id: "postgres.no-login",
        fault: ConnectFault::Login,
        patterns: &["is not permitted to log in"],
        codes: &[],
        meaning: "The role may not log in",
        retry: Retry::No,
        remedy: |at| {
            at.admin_sql("allow the role to log in", |server| {
                format!("ALTER ROLE {} LOGIN", sql_name(&server.user))
            })
        },
    },
    KnownMessage {
        id: "postgres.no-role",
        fault: ConnectFault::Login,
        patterns: &["role \"*\" does not exist"],
        codes: &["28000"],
        meaning: "The role does not exist",
        retry: Retry::No,
        remedy: |at| {
            Remedy::note("correct the user in DATABASE_URL, or create the role with the password of DATABASE_URL:").then(at.server().map(|server| Remedy::admin_command("createuser --login --pwprompt", server, None).arg(&server.user)))
        },
    },
    KnownMessage {
        id: "postgres.no-database",
        fault: ConnectFault::NoSuchDatabase,
        patterns: &["database \"*\" does not exist"],
        codes: &["3D000"],
        meaning: "The database does not exist",
        retry: Retry::No,
        remedy: |at| at.create_database(),
    },
    KnownMessage {
        id: "postgres.closed-database",
        fault: ConnectFault::Closed,
        patterns: &["is not currently accepting connections"],
        codes: &[],
        meaning: "The database was closed to connections (ALLOW_CONNECTIONS false)",
        retry: Retry::No,
        remedy: |at| at.open_database(),
    },
    KnownMessage {
        id: "postgres.invalid-database",
        fault: ConnectFault::Other,
        patterns: &["cannot connect to invalid database"],
        codes: &[],
        meaning: "DROP DATABASE was interrupted: what is left of the database cannot be used",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note(
                "its rows are gone: restore a backup into a database of another name, and name that one in DATABASE_URL; what is left can only be dropped",
            )
        },
    },
    KnownMessage {
        id: "postgres.encoding",
        fault: ConnectFault::Encoding,
        patterns: &["database's encoding is"],
        codes: &[],
        meaning: "The database's encoding cannot store every character",
        retry: Retry::No,
        remedy: |at| at.utf8_copy(),
    },
    KnownMessage {
        id: "postgres.too-many-connections",
        fault: ConnectFault::TooManyConnections,
        patterns: &[
            "remaining connection slots are reserved",
            "too many clients already",
        ],
        codes: &["53300"],
        meaning: "Every connection that the server allows is in use",
        retry: Retry::Later,
        remedy: |at| at.free_connections(),
    },
    KnownMessage {
        id: "postgres.role-limit",
        fault: ConnectFault::TooManyConnections,
        patterns: &["too many connections for role"],
        codes: &[],
        meaning: "The role has reached its CONNECTION LIMIT",
        retry: Retry::Later,
        remedy: |at| at.raise_role_limit(),
    },
    KnownMessage {
        id: "postgres.database-limit",
        fault: ConnectFault::TooManyConnections,
        patterns: &["too many connections for database"],
        codes: &[],
        meaning: "The database has reached its CONNECTION LIMIT",
        retry: Retry::Later,
        remedy: |at| at.raise_database_limit(),
    },
    KnownMessage {
        id: "postgres.role-limit-low",
        fault: ConnectFault::TooManyConnections,
        patterns: &["the role's connection limit is"],
        codes: &[],
        meaning: "The role's CONNECTION LIMIT is lower than what todoctl needs to start",
        retry: Retry::No,
        remedy: |at| at.raise_role_limit(),
    },
    KnownMessage {
        id: "postgres.database-limit-low",
        fault: ConnectFault::TooManyConnections,
        patterns: &["the database's connection limit is"],
        codes: &[],
        meaning: "The database's CONNECTION LIMIT is lower than what todoctl needs to start",
        retry: Retry::No,
        remedy: |at| at.raise_database_limit(),
    },
    KnownMessage {
        id: "postgres.too-old",
        fault: ConnectFault::Other,
        patterns: &["is too old: todoctl needs postgresql"],
        codes: &[],
        meaning: "The server is older than the oldest PostgreSQL that todoctl supports",
        retry: Retry::No,
        remedy: |at| {
            Remedy::note(format!(
                "upgrade the server at {}, or name another one in DATABASE_URL",
                at.name()
            ))
        },
    },
    KnownMessage {
        id: "postgres.starting",
        fault: ConnectFault::Starting,
        patterns: &[
            "database system is starting up",
            "database system is shutting down",
            "database system is in recovery mode",
            "not yet accepting connections",
        ],
        codes: &["57P03", "57P02"],
        meaning: "The server is starting, stopping or recovering",
        retry: Retry::Yes,
        remedy: |at| {
            Remedy::note(format!(
                "wait until {} accepts connections; if that takes more than a minute, read its log: a server whose disk is full recovers again and again until there is space (df -h)",
                at.name()
            ))
        },
    },
    KnownMessage {
        id: "postgres.transaction-timeout",
        fault: ConnectFault::Starting,
        patterns: &[
            "terminating connection due to idle-in-transaction timeout",
            "terminating connection due to transaction timeout",
        ],
        codes: &["25P03", "25P04"],
        meaning: "A time limit of the server for transactions ended the session",
        retry: Retry::Yes,
        remedy: |_| {
            Remedy::note(
                "nothing, if it happened once: the request's work was rolled back; if it repeats, something delays the daemon between two statements, such as a machine that is overloaded",
            )
        },
    },
    KnownMessage {
        id: "postgres.terminated",
        fault: ConnectFault::Starting,
        patterns: &[
            "terminating connection due to administrator command",
            "server closed the connection unexpectedly",
            "connection reset by peer",
            "terminating connection due to idle",
            "ssl syscall error: eof detected",
            "cached plan must not change result type",
            "server conn crashed",
            "connection to the database was lost",
        ],
        codes: &["57P01", "57P04", "57P05", "40003", "08006"],
        meaning: "The server closed the connection: it restarted or was suspended, or an administrator ended the session",
        retry: Retry::Yes,
        remedy: |_| {
            Remedy::note(
                "nothing, if it happened once: a lost connection is replaced and reads are retried; if it repeats, read the server's log",
            )
        },
    },
    KnownMessage {
        id: "network.not-postgres",
        fault: ConnectFault::NotPostgres,
        patterns: &[
            "does not speak postgresql's protocol",
            "unknown message type",
        ],
        codes: &[],
        meaning: "The server at that address is not PostgreSQL",
        retry: Retry::No,
        remedy: |at| {
            Remedy::note(format!(
                "correct the port in DATABASE_URL: another service listens at {}",
                at.name()
            ))
        },
    },
    KnownMessage {
        id: "network.closed",
        fault: ConnectFault::NotPostgres,
        patterns: &["closed without an answer"],
        codes: &[],
        meaning: "A proxy or another service accepts connections there and closes them: PostgreSQL behind it may be starting",
        retry: Retry::Later,
        remedy: |at| {
            Remedy::note(format!(
                "start PostgreSQL behind {}, or correct the port in DATABASE_URL: another service may listen there",
                at.name()
            ))
        },
    },
];
