//! Messages of an open database, of todoctl and of the system.

use crate::config::{Remedy, sql_name};

use super::entry::{ConnectFault, KnownMessage, Retry};

pub(super) static WORKING: &[KnownMessage] = &[
    // --------------------------------------------------------------------- PostgreSQL ---
    KnownMessage {
        id: "postgres.read-only",
        fault: ConnectFault::Other,
        patterns: &["cannot execute * in a read-only transaction"],
        codes: &["25006"],
        meaning: "The server is a standby, or set to read-only",
        retry: Retry::Later,
        remedy: |at| {
            Remedy::note(format!(
                "if the server is a standby, {}; if it was set to read-only:",
                at.lead_to_primary()
            ))
            .then(at.reset(&["default_transaction_read_only"]))
        },
    },
    KnownMessage {
        id: "postgres.no-connect",
        fault: ConnectFault::Other,
        patterns: &["permission denied for database"],
        codes: &[],
        meaning: "The role may not connect to the database, or may not create objects in it",
        retry: Retry::No,
        remedy: |at| {
            at.admin_sql(
                "GRANT CONNECT, CREATE on the database to the role in DATABASE_URL",
                |server| {
                    format!(
                        "GRANT CONNECT, CREATE ON DATABASE {} TO {}",
                        sql_name(server.own_name()),
                        sql_name(&server.user)
                    )
                },
            )
        },
    },
    KnownMessage {
        id: "postgres.row-security-off",
        fault: ConnectFault::Other,
        patterns: &["query would be affected by row-level security policy"],
        codes: &[],
        meaning: "row_security is off for the role, and a policy applies to the table",
        retry: Retry::No,
        remedy: |at| {
            at.reset(&["row_security"]).then(Remedy::note(
                "restart the daemon: its sessions keep the old setting",
            ))
        },
    },
    KnownMessage {
        id: "postgres.no-right",
        fault: ConnectFault::Other,
        patterns: &["permission denied for"],
        codes: &["42501"],
        meaning: "The role lacks a privilege",
        retry: Retry::No,
        remedy: |at| {
            at.admin_sql("grant the role in DATABASE_URL the rights on the schema, its tables and its sequences", |server| { let role = sql_name(&server.user); format!("GRANT CREATE, USAGE ON SCHEMA public TO {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}; GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}") })
        },
    },
    KnownMessage {
        id: "postgres.no-schema",
        fault: ConnectFault::Other,
        patterns: &["no schema has been selected"],
        codes: &["3F000"],
        meaning: "The role may not use the schema that its search path names, or the schema does not exist",
        retry: Retry::No,
        remedy: |at| {
            at.admin_sql("GRANT USAGE, CREATE on the schema to the role in DATABASE_URL", |server| {
                format!("GRANT USAGE, CREATE ON SCHEMA public TO {}", sql_name(&server.user))
            })
            .then(Remedy::note("where the tables are in another schema, or the search path was changed, this says so:"))
            .then(Remedy::command("todoctl doctor --only database.role"))
        },
    },
    KnownMessage {
        id: "postgres.unset-parameter",
        fault: ConnectFault::Other,
        patterns: &["unrecognized configuration parameter"],
        codes: &[],
        meaning: "Something that others added to the tables, as a policy, reads a parameter that todoctl does not set",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note("these name what was added, and how it is removed:")
                .then(Remedy::command("todoctl doctor --only database.row_security --only database.triggers --only database.schema"))
        },
    },
    KnownMessage {
        id: "postgres.not-owner",
        fault: ConnectFault::Other,
        patterns: &["must be owner of"],
        codes: &[],
        meaning: "A migration changes a table that another role owns",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note(
                "migrate as the role that owns the tables: give DATABASE_URL_UNPOOLED a URL with it; this reads it without showing it: todoctl config set DATABASE_URL_UNPOOLED=-",
            )
        },
    },
    KnownMessage {
        id: "postgres.no-table",
        fault: ConnectFault::Other,
        patterns: &[
            "relation \"*\" does not exist",
            "column * does not exist",
            "no such table",
            "no such column",
            "has no column named",
        ],
        codes: &["42P01", "42703"],
        meaning: "The schema is older than the program, or this is the wrong database",
        retry: Retry::No,
        remedy: |_| Remedy::command("todoctl migrate up"),
    },
    KnownMessage {
        id: "postgres.sequence-behind",
        fault: ConnectFault::Other,
        patterns: &["duplicate key value violates unique constraint \"*_pkey\""],
        codes: &[],
        meaning: "The sequence that numbers a table's rows lags behind the table, as after rows were copied with their ids",
        retry: Retry::No,
        remedy: |_| Remedy::command("todoctl doctor --only database.sequences --fix --yes"),
    },
    KnownMessage {
        id: "postgres.deadlock",
        fault: ConnectFault::Other,
        patterns: &["deadlock detected", "could not serialize access"],
        codes: &["40P01", "40001"],
        meaning: "Two transactions waited for each other, and one was cancelled so that the other could continue",
        retry: Retry::Yes,
        remedy: |_| {
            Remedy::note(
                "nothing, if it happened once: the same request succeeds when it is sent again",
            )
        },
    },
    KnownMessage {
        id: "postgres.lock-timeout",
        fault: ConnectFault::Other,
        patterns: &[
            "canceling statement due to lock timeout",
            "could not obtain lock",
        ],
        codes: &["55P03"],
        meaning: "Another session holds a lock for too long",
        retry: Retry::Later,
        remedy: |_| {
            Remedy::note("this names the session that holds the lock, and how to end it:")
                .then(Remedy::command("todoctl doctor --only database.locks"))
        },
    },
    KnownMessage {
        id: "postgres.statement-timeout",
        fault: ConnectFault::Other,
        patterns: &["canceling statement due to statement timeout"],
        codes: &["57014"],
        meaning: "A query took longer than statement_timeout",
        retry: Retry::Later,
        remedy: |_| {
            Remedy::note("this names a limit that is too short, the session that was waited for, or what keeps the server busy:")
                .then(Remedy::command("todoctl doctor --only database.timeouts --only database.locks --only database.sessions"))
        },
    },
    KnownMessage {
        id: "postgres.library",
        fault: ConnectFault::Other,
        patterns: &["could not access file", "could not load library"],
        codes: &[],
        meaning: "The server has no library that it shall load for each session",
        retry: Retry::No,
        remedy: |at| {
            Remedy::note("install the library on the server, or let sessions do without:")
                .then(at.reset(&["session_preload_libraries", "local_preload_libraries"]))
        },
    },
    KnownMessage {
        id: "postgres.damaged",
        fault: ConnectFault::Other,
        patterns: &[
            "invalid page in block",
            "could not read block",
            "contains unexpected zero page",
            "contains corrupted page",
            "missing chunk number",
        ],
        codes: &["XX001", "XX002"],
        meaning: "A page of a table or an index is damaged on the server's disk",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note("switch to a standby, or restore a backup (with the log since then, nothing is lost); look for errors of the disk in the kernel's log (dmesg). This names the table or the index; an index is made again from its table:")
                .then(Remedy::command("todoctl doctor --only database.trial"))
        },
    },
    KnownMessage {
        id: "postgres.data-file",
        fault: ConnectFault::Other,
        patterns: &[
            "could not open file \"pg_tblspc/",
            "could not open file \"base/",
            "could not open file \"global/",
        ],
        codes: &[],
        meaning: "A file of the database is missing on the server, as where the volume of a tablespace is not mounted",
        retry: Retry::No,
        remedy: |at| {
            Remedy::note(format!(
                "on {}: mount the volume of the tablespace again (the table pg_tablespace names them), or restore a backup",
                at.name()
            ))
        },
    },
    KnownMessage {
        id: "postgres.lock-table",
        fault: ConnectFault::Other,
        patterns: &["out of shared memory"],
        codes: &["53200"],
        meaning: "The server has no room for more locks",
        retry: Retry::Later,
        remedy: |_| Remedy::note("raise max_locks_per_transaction, and restart the server"),
    },
    KnownMessage {
        id: "postgres.temporary-files",
        fault: ConnectFault::Other,
        patterns: &["temporary file size exceeds temp_file_limit"],
        codes: &["53400"],
        meaning: "A query needs more temporary space than temp_file_limit allows",
        retry: Retry::No,
        remedy: |at| at.reset(&["temp_file_limit", "work_mem"]),
    },
    KnownMessage {
        id: "postgres.disk-full",
        fault: ConnectFault::Other,
        patterns: &["could not extend file", "could not write to file"],
        codes: &["53100"],
        meaning: "The server's disk is full",
        retry: Retry::Later,
        remedy: |at| {
            Remedy::note(format!(
                "free some space on the disk of {}, or enlarge it",
                at.name()
            ))
        },
    },
    KnownMessage {
        id: "todoctl.pool-timeout",
        fault: ConnectFault::Other,
        patterns: &[
            "no database connection became free within",
            "queuepool limit of size",
            "pool timed out",
        ],
        codes: &[],
        meaning: "Every connection of this process's pool was in use for too long",
        retry: Retry::Later,
        remedy: |_| {
            Remedy::note("this shows what holds the connections; raise SQLALCHEMY_POOL_SIZE as far as max_connections of the server allows:").then(Remedy::command("todoctl doctor --only daemon.pool --only database.connections"))
        },
    },
    KnownMessage {
        id: "todoctl.advisory-lock",
        fault: ConnectFault::Other,
        patterns: &[
            "another process is migrating this database",
            "pg_advisory_lock",
        ],
        codes: &[],
        meaning: "Another process holds the migration lock, or a pooler keeps it for a process that has ended",
        retry: Retry::Later,
        remedy: |_| {
            Remedy::note("wait until the other process has finished; this names the session that holds the lock:").then(Remedy::command("todoctl migrate up --wait 0s"))
        },
    },
    KnownMessage {
        id: "todoctl.through-pooler",
        fault: ConnectFault::Other,
        patterns: &["migrations cannot run through the pooler"],
        codes: &[],
        meaning: "Migrations need session locks and settings, which a pooler in transaction mode does not keep",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note(
                "give DATABASE_URL_UNPOOLED the URL of the server itself, not the pooler's; this reads it without showing it: todoctl config set DATABASE_URL_UNPOOLED=-",
            )
        },
    },
    KnownMessage {
        id: "todoctl.other-database",
        fault: ConnectFault::OtherDatabase,
        patterns: &["leads to another database than database_url"],
        codes: &[],
        meaning: "DATABASE_URL and DATABASE_URL_UNPOOLED lead to two databases, so the wrong one would be migrated",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note(
                "give DATABASE_URL_UNPOOLED the direct address of the database in DATABASE_URL; without a pooler: todoctl config unset DATABASE_URL_UNPOOLED",
            )
        },
    },
    KnownMessage {
        id: "todoctl.two-servers",
        fault: ConnectFault::OtherDatabase,
        patterns: &["leads to another server than database_url_unpooled"],
        codes: &[],
        meaning: "The pooler still leads to the server from before a move or an upgrade, or DATABASE_URL_UNPOOLED does: requests change one copy, migrations and backups use the other",
        retry: Retry::No,
        remedy: |at| {
            let name = at
                .server()
                .map_or("the database", |server| server.database.as_str());
            Remedy::note("stop the daemons that write to the wrong copy, and copy what they have stored there into the right one")
                .then(Remedy::note(format!(
                    "if the pooler leads to the wrong one: correct host= and port= of the line {name} in pgbouncer.ini and RELOAD; then, in the pooler's console, as a role of admin_users: RECONNECT {name}"
                )))
                .then(Remedy::note(
                    "if DATABASE_URL_UNPOOLED does; this reads it without showing it: todoctl config set DATABASE_URL_UNPOOLED=-",
                ))
        },
    },
    KnownMessage {
        id: "todoctl.other-search-path",
        fault: ConnectFault::OtherDatabase,
        patterns: &["have another search path than those at"],
        codes: &[],
        meaning: "Sessions of DATABASE_URL and of DATABASE_URL_UNPOOLED search the tables in different schemas of one database",
        retry: Retry::No,
        remedy: |at| {
            let name = at
                .server()
                .map_or("the database", |server| server.database.as_str());
            Remedy::note("if options in one of the two URLs sets search_path, set it in both alike")
                .then(Remedy::note(format!(
                    "otherwise a client of the pooler has set it, or connect_query of the line {name} in pgbouncer.ini: take it out there and RELOAD; then, in the pooler's console, as a role of admin_users: RECONNECT {name}"
                )))
        },
    },
    KnownMessage {
        id: "todoctl.newer-database",
        fault: ConnectFault::Other,
        patterns: &["the database is at version * and this todoctl knows versions up to"],
        codes: &[],
        meaning: "A newer todoctl has migrated this database",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note(
                "deploy the newer todoctl that migrated the database; to go on with this one, without migrating: todoctl serve --allow-newer",
            )
        },
    },
    KnownMessage {
        id: "todoctl.unknown-signing-key",
        fault: ConnectFault::Other,
        patterns: &["the token's key id is unknown", "unknown_signing_key"],
        codes: &[],
        meaning: "A token names a key that the auth server did not publish when its keys were fetched, less than a minute before",
        retry: Retry::Yes,
        remedy: |_| {
            Remedy::note(
                "the daemon fetches the keys again as soon as a minute has passed, and accepts the token if its key is among them; otherwise what the auth server publishes is stale: keep /api/auth/jwks out of the caches in front of it (Cache-Control, CDN), and restart its instances that have old keys",
            )
        },
    },
    // ------------------------------------------------------------------------ the rest ---
    KnownMessage {
        id: "system.address-in-use",
        fault: ConnectFault::Other,
        patterns: &["address already in use", "eaddrinuse", "address in use"],
        codes: &[],
        meaning: "Another process listens on that port",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note("this shows who listens on which port; stop that process, or choose another port: todoctl config set PORT=8001").then(Remedy::command("ss -ltnp"))
        },
    },
    KnownMessage {
        id: "system.too-many-files",
        fault: ConnectFault::Other,
        patterns: &["too many open files"],
        codes: &[],
        meaning: "The process has reached its limit of open files and connections",
        retry: Retry::Later,
        remedy: |_| {
            Remedy::command("ulimit -n 65536").then(Remedy::note("then start the daemon from this shell; systemd: LimitNOFILE=65536; Docker: --ulimit nofile=65536"))
        },
    },
];
