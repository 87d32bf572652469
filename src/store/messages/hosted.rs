//! Messages of Neon and PgBouncer.

use crate::config::{Remedy, sql_name};

use super::entry::{ConnectFault, KnownMessage, Retry};

/// With whom a pooler logs in.
const LOGINS: &str = "the pooler's log names the server and the reason; if all connections of the server are in use, end some or raise max_connections; if it refuses the login, correct user= and password= of the line in [databases] of pgbouncer.ini, the auth_file, or auth_user and its line there, then RELOAD";

pub(super) static HOSTED: &[KnownMessage] = &[
    KnownMessage {
        id: "neon.compute",
        fault: ConnectFault::Starting,
        patterns: &[
            "couldn't connect to compute node",
            "could not connect to compute node",
            "failed to wake up the compute",
            "control plane request failed",
            "console request failed",
            "request to console failed",
        ],
        codes: &[],
        meaning: "Neon's proxy could not reach the compute that it is waking",
        retry: Retry::Yes,
        remedy: |_| {
            Remedy::note(
                "try again in a few seconds; if it does not end, see https://neonstatus.com",
            )
        },
    },
    KnownMessage {
        id: "neon.permit",
        fault: ConnectFault::Starting,
        patterns: &["failed to acquire permit"],
        codes: &[],
        meaning: "Too many connections are being opened at Neon's proxy at the same time",
        retry: Retry::Yes,
        remedy: |_| {
            Remedy::note("connect through the -pooler host, and with fewer connections:")
                .then(Remedy::set("SQLALCHEMY_POOL_SIZE", 5))
                .then(Remedy::set("SQLALCHEMY_POOL_OVERFLOW", 0))
        },
    },
    KnownMessage {
        id: "neon.endpoint-not-found",
        fault: ConnectFault::Other,
        patterns: &["endpoint cannot be found", "endpoint could not be found"],
        codes: &[],
        meaning: "Neon has no such endpoint: it was deleted, or the host name is misspelt",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note(
                "copy the connection string from Neon's console; this reads it without showing it: todoctl config set DATABASE_URL=-",
            )
        },
    },
    KnownMessage {
        id: "neon.endpoint-disabled",
        fault: ConnectFault::Other,
        patterns: &["endpoint is disabled", "endpoint has been disabled"],
        codes: &[],
        meaning: "The Neon endpoint is disabled",
        retry: Retry::No,
        remedy: |_| Remedy::note("enable the endpoint in Neon's console: Branches, Computes"),
    },
    KnownMessage {
        id: "neon.quota",
        fault: ConnectFault::Other,
        patterns: &[
            "temporarily unavailable*check your quotas",
            "exceeded the * quota",
            "exceeded * time quota",
        ],
        codes: &[],
        meaning: "The Neon project has used up a quota and is suspended until the next billing period",
        retry: Retry::No,
        remedy: |_| Remedy::note("raise the quota or the plan in Neon's console: Billing"),
    },
    KnownMessage {
        id: "neon.ip-not-allowed",
        fault: ConnectFault::Other,
        patterns: &["this ip address*is not allowed"],
        codes: &[],
        meaning: "This machine's address is not in Neon's IP allow-list",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note(
                "allow this machine's address in Neon's console: Settings, Network Security, IP Allow",
            )
        },
    },
    KnownMessage {
        id: "neon.active-endpoints",
        fault: ConnectFault::TooManyConnections,
        patterns: &["exceeded the limit of concurrently active endpoints"],
        codes: &[],
        meaning: "The Neon plan's limit of active endpoints is reached",
        retry: Retry::Later,
        remedy: |_| {
            Remedy::note("suspend another endpoint in Neon's console, or raise the plan's limit")
        },
    },
    KnownMessage {
        id: "neon.sni",
        fault: ConnectFault::Other,
        patterns: &["endpoint id is not specified", "inconsistent project name"],
        codes: &[],
        meaning: "Neon cannot tell which endpoint is meant, because the host name was not sent (no SNI)",
        retry: Retry::No,
        remedy: |at| at.neon_endpoint(),
    },
    KnownMessage {
        id: "neon.insecure",
        fault: ConnectFault::Other,
        patterns: &["connection is insecure"],
        codes: &[],
        meaning: "Neon requires TLS, and DATABASE_URL turns it off",
        retry: Retry::No,
        remedy: |_| Remedy::set("DATABASE_URL.sslmode", "verify-full"),
    },
    // ---------------------------------------------------------------------- PgBouncer ---
    KnownMessage {
        id: "pgbouncer.startup-parameter",
        fault: ConnectFault::StartupParameter,
        patterns: &["unsupported startup parameter"],
        codes: &[],
        meaning: "The pooler refuses a parameter that the client sends when it connects",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note("let the pooler ignore the parameter (ignore_startup_parameters in pgbouncer.ini, then RELOAD), or do without it:").then(Remedy::unset("DATABASE_URL.options"))
        },
    },
    KnownMessage {
        id: "pgbouncer.login",
        fault: ConnectFault::Login,
        // PostgreSQL's own message goes on: for user "…".
        patterns: &[
            "password authentication failed$",
            "sasl authentication failed$",
            "\"trust\" authentication failed",
            "no such user",
        ],
        codes: &[],
        meaning: "The pooler refuses user or password: its auth_file or auth_query knows others than DATABASE_URL",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note("correct user and password in DATABASE_URL; this asks for the password, and encodes it: todoctl config set DATABASE_URL.password=-").then(Remedy::note("if they are right, correct the line of the user in the auth_file of pgbouncer.ini (or auth_query, auth_type), then RELOAD"))
        },
    },
    KnownMessage {
        id: "pgbouncer.hba",
        fault: ConnectFault::Login,
        patterns: &["login rejected"],
        codes: &[],
        meaning: "The pooler does not let this user into this database from this address (auth_hba_file)",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note(
                "allow it in the file that auth_hba_file of pgbouncer.ini names (the first line that fits decides), then RELOAD",
            )
        },
    },
    KnownMessage {
        id: "pgbouncer.no-database",
        fault: ConnectFault::NoSuchDatabase,
        patterns: &["no such database"],
        codes: &[],
        meaning: "The pooler's list of databases does not have this one",
        retry: Retry::No,
        remedy: |at| match at.server() {
            Some(server) => Remedy::note(format!(
                "add the database {} with the address of its server to [databases] in pgbouncer.ini, then RELOAD; or correct its name in DATABASE_URL",
                server.database
            )),
            None => Remedy::note(
                "add the database to [databases] of pgbouncer.ini, then RELOAD; or correct its name in DATABASE_URL",
            ),
        },
    },
    KnownMessage {
        id: "pgbouncer.disabled",
        fault: ConnectFault::Closed,
        patterns: &["database \"*\" is disabled"],
        codes: &[],
        meaning: "The database was disabled in the pooler's console (DISABLE)",
        retry: Retry::No,
        remedy: |at| match at.server() {
            Some(server) => {
                Remedy::note("as a role of admin_users in pgbouncer.ini, here postgres:").then(
                    Remedy::pooler_admin(server, "postgres")
                        .joined(" -c")
                        .arg(format!("ENABLE {}", sql_name(&server.database))),
                )
            }
            None => Remedy::note("in the pooler's console, as a role of admin_users: ENABLE it"),
        },
    },
    KnownMessage {
        id: "pgbouncer.statement-mode",
        fault: ConnectFault::Other,
        patterns: &["transaction blocks not allowed in statement pooling mode"],
        codes: &[],
        meaning: "The pooler is in statement mode, in which there are no transactions",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note(
                "set pool_mode = transaction in pgbouncer.ini (for this database or user too, if it is set there), then RELOAD",
            )
        },
    },
    KnownMessage {
        id: "pgbouncer.query-wait",
        fault: ConnectFault::TooManyConnections,
        patterns: &["query_wait_timeout"],
        codes: &[],
        meaning: "The pooler had no free server connection in time",
        retry: Retry::Later,
        remedy: |_| {
            Remedy::note(
                "if PostgreSQL behind the pooler is down, or the pooler is paused, start or RESUME it; otherwise raise default_pool_size of the pooler, or end the transactions that hold its connections",
            )
            .then(Remedy::note(format!("if it cannot log in: {LOGINS}")))
        },
    },
    KnownMessage {
        id: "pgbouncer.time-limit",
        fault: ConnectFault::Other,
        patterns: &["query timeout", "query_timeout", "idle transaction timeout"],
        codes: &[],
        meaning: "A time limit of the pooler ended the connection",
        retry: Retry::Later,
        remedy: |_| {
            Remedy::note(
                "raise query_timeout and idle_transaction_timeout in pgbouncer.ini above the seconds that a request may take (REQUEST_TIMEOUT_SECONDS), or set them to 0, then RELOAD: todoctl and PostgreSQL have limits of their own",
            )
        },
    },
    KnownMessage {
        id: "pgbouncer.one-connection",
        fault: ConnectFault::TooManyConnections,
        patterns: &["a second connection gets no answer"],
        codes: &[],
        meaning: "The pooler lends each client a server connection (session mode) and has no other one, and todoctl needs several",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note(
                "in pgbouncer.ini, set pool_mode = transaction, or raise default_pool_size above SQLALCHEMY_POOL_SIZE and SQLALCHEMY_POOL_OVERFLOW together; then RELOAD",
            )
        },
    },
    KnownMessage {
        id: "pgbouncer.max-clients",
        fault: ConnectFault::TooManyConnections,
        patterns: &["max_client_conn", "client connections exceeded"],
        codes: &[],
        meaning: "The pooler has reached its limit of clients",
        retry: Retry::Later,
        remedy: |_| {
            Remedy::note(
                "raise max_client_conn in pgbouncer.ini above what all its clients open together (each daemon up to SQLALCHEMY_POOL_SIZE and SQLALCHEMY_POOL_OVERFLOW, and a few more), then RELOAD",
            )
        },
    },
    KnownMessage {
        id: "pgbouncer.server-password",
        fault: ConnectFault::Login,
        patterns: &[
            "server login failed: wrong password type",
            "server login failed: invalid server signature",
            "server login failed: none of the server's sasl",
        ],
        codes: &[],
        meaning: "The pooler has the password in a form with which it cannot log in to PostgreSQL, as an md5 hash in its auth_file where PostgreSQL asks for SCRAM",
        retry: Retry::No,
        remedy: |at| at.password_of_pooler(),
    },
    KnownMessage {
        id: "pgbouncer.configuration",
        fault: ConnectFault::Login,
        patterns: &["bouncer config error", "auth_type=any requires forced user"],
        codes: &[],
        meaning: "The pooler cannot look up the user: its auth_user, auth_query or auth_type does not work",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note(
                "the pooler's log says why: auth_user needs a line with its password in the auth_file of pgbouncer.ini, and has to be allowed to run auth_query in the database (or in auth_dbname); correct that, then RELOAD",
            )
        },
    },
    KnownMessage {
        id: "pgbouncer.tls",
        fault: ConnectFault::TlsUnsupported,
        patterns: &["ssl required", "tls connection required"],
        codes: &[],
        meaning: "The pooler accepts encrypted connections alone (client_tls_sslmode), and DATABASE_URL turns TLS off",
        retry: Retry::No,
        remedy: |_| Remedy::set("DATABASE_URL.sslmode", "require"),
    },
    KnownMessage {
        id: "pgbouncer.simple-queries",
        fault: ConnectFault::Other,
        patterns: &["pqexec disallowed"],
        codes: &[],
        meaning: "The pooler refuses simple queries (disable_pqexec), with which transactions begin",
        retry: Retry::No,
        remedy: |_| Remedy::note("set disable_pqexec = 0 in pgbouncer.ini, then RELOAD"),
    },
    KnownMessage {
        id: "pgbouncer.server-login",
        fault: ConnectFault::Starting,
        patterns: &[
            "server_login_retry",
            "server login has been failing",
            "server login failed",
            "pgbouncer cannot connect to server",
            "client_login_timeout",
            "server dns lookup failed",
        ],
        codes: &[],
        meaning: "The pooler cannot log in to PostgreSQL",
        retry: Retry::Later,
        remedy: |_| Remedy::note(LOGINS),
    },
    KnownMessage {
        id: "pgbouncer.ended",
        fault: ConnectFault::Other,
        patterns: &[],
        // PgBouncer has this code in all that it says itself.
        codes: &["08P01"],
        meaning: "A pooler ended the connection",
        retry: Retry::Later,
        remedy: |_| {
            Remedy::note(
                "the pooler's log has the reason; where that is a time limit, raise it in pgbouncer.ini or set it to 0, then RELOAD",
            )
        },
    },
    KnownMessage {
        id: "pgbouncer.prepared-statement",
        fault: ConnectFault::Other,
        patterns: &[
            "prepared statement \"*\" does not exist",
            "prepared statement \"*\" already exists",
        ],
        codes: &["26000", "42P05"],
        meaning: "A pooler in transaction mode switched the server connection, and prepared statements were lost",
        retry: Retry::No,
        remedy: |_| Remedy::set("DB_POOLER", "transaction"),
    },
];
