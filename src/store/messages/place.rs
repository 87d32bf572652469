//! Where a message comes from, and the remedies that depend on it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::config::{
    Barrier, DATABASE_URL, DatabaseTarget, NoFile, PostgresTarget, Remedy, closed_to_owner,
    files_of_others, hand_over, in_place_of_directory, install_for, opened_to_owner, sql_literal,
    sql_name, taken_over, writable_folder,
};

use super::quoted::quoted_name;

/// The database that a message is about, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// As in a log that another machine wrote.
    Unknown,
    Server(&'a PostgresTarget),
    File(&'a Path),
}

/// Ends the idle sessions of the application that has most of them.
const END_IDLE_SESSIONS: &str = "WITH most AS (SELECT usename, application_name FROM pg_stat_activity WHERE backend_type = 'client backend' AND state = 'idle' GROUP BY usename, application_name ORDER BY count(*) DESC LIMIT 1) SELECT usename, application_name, count(*) AS connections, count(pg_terminate_backend(pid)) AS ended FROM pg_stat_activity JOIN most USING (usename, application_name) WHERE state = 'idle' GROUP BY usename, application_name";

/// Who holds how many connections, and what they do.
const HOLDERS: &str = "SELECT usename, application_name, state, count(*) AS connections, max(now() - state_change) AS longest FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY usename, application_name, state ORDER BY connections DESC";

impl<'a> From<&'a DatabaseTarget> for Place<'a> {
    fn from(target: &'a DatabaseTarget) -> Self {
        match target {
            DatabaseTarget::Postgres(server) => Self::Server(server),
            DatabaseTarget::Sqlite(file) => Self::File(&file.path),
        }
    }
}

impl<'a> Place<'a> {
    pub(super) fn server(self) -> Option<&'a PostgresTarget> {
        match self {
            Self::Server(server) => Some(server),
            Self::Unknown | Self::File(_) => None,
        }
    }

    /// The variable that leads there.
    pub(in crate::store) fn variable(self) -> &'static str {
        self.server().map_or(DATABASE_URL, |server| server.variable)
    }

    pub(super) fn file(self) -> Option<&'a Path> {
        match self {
            Self::File(file) => Some(file),
            Self::Unknown | Self::Server(_) => None,
        }
    }

    /// The address or the path, as texts name it.
    pub(super) fn name(self) -> String {
        match self {
            Self::Unknown => "the database".to_owned(),
            Self::Server(server) => server.host_port(),
            Self::File(file) => file.display().to_string(),
        }
    }

    /// A statement for an administrator of the server. `what` says the same where the server is
    /// not known.
    pub(super) fn admin_sql(self, what: &str, statement: fn(&PostgresTarget) -> String) -> Remedy {
        match self.server() {
            Some(server) => Remedy::admin_sql(server, None, statement(server)),
            None => Remedy::note(format!("as an administrator of the database: {what}")),
        }
    }

    /// Removes settings of the role and of the database, wherever they are.
    pub(super) fn reset(self, names: &[&str]) -> Remedy {
        let Some(server) = self.server() else {
            return Remedy::note(format!(
                "as an administrator, from another database: RESET {} of the role and of the database",
                names.join(" and ")
            ));
        };
        let (role, database) = (sql_name(&server.user), sql_name(server.own_name()));
        let owners = [
            format!("ROLE {role}"),
            format!("ROLE {role} IN DATABASE {database}"),
            format!("DATABASE {database}"),
        ];
        let statements: Vec<String> = owners
            .iter()
            .flat_map(|of| {
                names
                    .iter()
                    .map(move |name| format!("ALTER {of} RESET {name}"))
            })
            .collect();
        Remedy::admin_settings(server, &statements.join("; "))
    }

    /// Grants the right on a function, or on a view of the system, that was closed to others: as in
    /// "permission denied for view `pg_settings`".
    pub(super) fn grant_of_system(self, message: &str) -> Option<Remedy> {
        let server = self.server()?;
        let (_, object) = message.split_once("permission denied for ")?;
        let (kind, rest) = object.split_once(' ')?;
        let is_part = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
        let name = rest.split(|sign| !is_part(sign)).next()?;
        let role = sql_name(&server.user);
        let statement = match kind {
            "view" | "table" if name.starts_with("pg_") => {
                format!("GRANT SELECT ON pg_catalog.{name} TO {role}")
            }
            // It may have several signatures.
            "function" if !name.is_empty() => format!(
                "DO $do$ DECLARE one regprocedure; BEGIN FOR one IN SELECT oid FROM pg_proc \
                 WHERE proname = $${name}$$ AND NOT has_function_privilege({}, oid, $$EXECUTE$$) \
                 LOOP EXECUTE format($$GRANT EXECUTE ON FUNCTION %s TO %I$$, one, {0}); END LOOP; END $do$",
                sql_literal(&server.user)
            ),
            _ => return None,
        };
        Some(Remedy::admin_sql(server, None, statement))
    }

    pub(super) fn open_database(self) -> Remedy {
        let Some(server) = self.server() else {
            return Remedy::note(
                "from another database of the server, set ALLOW_CONNECTIONS true for this one",
            );
        };
        let database = sql_name(server.own_name());
        Remedy::note("unless it was closed on purpose, as while it is restored:").then(
            Remedy::admin_sql_in(
                server,
                // The closed one refuses administrators too.
                server.other_database(),
                None,
                format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"),
            ),
        )
    }

    /// The server keeps some connections for superusers.
    pub(super) fn free_connections(self) -> Remedy {
        let Some(server) = self.server() else {
            return Remedy::note(
                "end sessions that nobody needs (pg_stat_activity shows which application holds most), or raise max_connections of the server",
            );
        };
        Remedy::note("names the application with the most idle connections, and ends these; it opens them again unless its pool is made smaller, or its role gets a CONNECTION LIMIT")
            .then(Remedy::admin_sql(server, None, END_IDLE_SESSIONS))
            .then(Remedy::note("where none is idle, the next statement shows who holds them: make their pools smaller, or raise max_connections and restart the server"))
            .or(Remedy::admin_sql(server, None, HOLDERS))
    }

    pub(super) fn raise_role_limit(self) -> Remedy {
        self.admin_sql("raise the role's CONNECTION LIMIT", |server| {
            format!("ALTER ROLE {} CONNECTION LIMIT -1", sql_name(&server.user))
        })
    }

    pub(super) fn raise_database_limit(self) -> Remedy {
        self.admin_sql("raise the database's CONNECTION LIMIT", |server| {
            let database = sql_name(server.own_name());
            format!("ALTER DATABASE {database} CONNECTION LIMIT -1")
        })
    }

    pub(super) fn create_database(self) -> Remedy {
        let note = "correct the name of the database in DATABASE_URL, or create it:";
        let create = self
            .server()
            .map(|server| create_database(server, server.own_name()));
        Remedy::note(note).then(create)
    }

    /// A pooler may look for another database than the one that the URL names.
    pub(super) fn database_behind(self, message: &str) -> Option<Remedy> {
        let server = self.server()?;
        let missing = quoted_name(message)?;
        let is_own = missing == server.database || missing == server.own_name();
        (!is_own).then(|| {
            Remedy::note(format!(
                "a pooler at {} looks for {missing}: correct dbname= of the line {} of [databases] in pgbouncer.ini, then RELOAD",
                self.name(),
                server.database
            ))
        })
    }

    /// How requests get to the primary.
    pub(super) fn lead_to_primary(self) -> String {
        match self.server() {
            Some(server) if server.leads_to_pooler() => format!(
                "correct host= and port= of the line {} of [databases] in pgbouncer.ini to those of the primary, then RELOAD",
                server.database
            ),
            Some(_) | None => "name the primary in DATABASE_URL".to_owned(),
        }
    }

    /// What should listen at the address.
    pub(super) fn program(self) -> &'static str {
        if self.server().is_some_and(PostgresTarget::leads_to_pooler) {
            "the pooler"
        } else {
            "PostgreSQL"
        }
    }

    /// Copies the database into one in UTF8. The old one stays as it is.
    pub(super) fn utf8_copy(self) -> Remedy {
        let Some(server) = self.server() else {
            return Remedy::note("copy the database into one in UTF8, with pg_dump and psql");
        };
        let new = format!("{}_utf8", server.own_name());
        let psql = Remedy::admin_command("psql --quiet --set=ON_ERROR_STOP=1", server, None)
            .arg("-d")
            .arg(&new);
        let dump = Remedy::admin_command("pg_dump --encoding=UTF8", server, None)
            .arg("-d")
            .arg(server.own_name())
            .pipe(&psql);
        Remedy::note("stop the daemons first, so that nothing is written in between")
            .then(create_database(server, &new))
            .then(dump)
            .then(Remedy::set("DATABASE_URL.database", &new))
            .then(server.direct.as_ref().filter(|_| !server.is_neon()).map(|_| {
                Remedy::set("DATABASE_URL_UNPOOLED.database", &new).then(Remedy::note(format!(
                    "if [databases] in pgbouncer.ini has no line *, add one for {new}, then RELOAD"
                )))
            }))
    }

    /// The endpoint is the first label of Neon's host, without `-pooler`.
    pub(super) fn neon_endpoint(self) -> Remedy {
        let label = self
            .server()
            .and_then(|server| server.host.split('.').next());
        match label {
            Some(label) => {
                let endpoint = label.trim_end_matches("-pooler");
                Remedy::set("DATABASE_URL.options", format!("endpoint={endpoint}"))
            }
            None => Remedy::note("name the endpoint in DATABASE_URL, with the parameter options"),
        }
    }

    pub(in crate::store) fn writable_directory(self) -> Remedy {
        match self.file() {
            Some(file) => {
                if file.is_dir() {
                    return self.not_a_database();
                }
                if let Some(directory) = file.parent().filter(|one| one.is_file()) {
                    return in_place_of_directory(directory, file);
                }
                let others = files_of_others(file, &[]);
                let closed = closed_to_owner(rustix::process::geteuid().as_raw(), file);
                if let Some(odd) = NoFile::beside(file) {
                    odd.remedy()
                } else if let Some(barrier) = Barrier::of(file) {
                    barrier.remedy()
                } else if !closed.is_empty() {
                    opened_to_owner(&closed)
                } else if !others.is_empty() {
                    hand_over(&others, file)
                } else {
                    taken_over(file).unwrap_or_else(|| writable_folder(file))
                }
            }
            None => Remedy::note("let the daemon's user write the file and its directory"),
        }
    }

    /// Copies a file that was deleted, from the daemon that has it open.
    pub(super) fn copy_open_file(self) -> Remedy {
        let Some(file) = self.file() else {
            return Remedy::note(
                "move the file back that the daemon opened; if it was deleted, copy it from the daemon's /proc/PID/fd before the daemon is restarted",
            );
        };
        // Links in /proc are absolute.
        let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let deleted = format!("{} (deleted)", path.display());
        let mut rescued = path.clone().into_os_string();
        rescued.push(".rescued");
        let owner = path.parent().and_then(|one| one.metadata().ok());
        let install = install_for(owner.map_or(0, |found| found.uid()), "-m 600");
        let find = Remedy::command("find /proc/[0-9]*/fd -lname")
            .arg(deleted)
            .joined(&format!(" -print -quit | xargs -rI@ {install} @"));
        Remedy::note("if the file was moved, move it back; if it was deleted, copy it before the daemon is restarted:")
            .then(find.arg(&rescued))
            .then(Remedy::note(format!("then move that copy to {}, and restart the daemon", path.display())))
    }

    /// What to do about a message that is not known.
    pub(crate) fn unexplained(self) -> Remedy {
        match self {
            Self::File(file) => Remedy::note("this reads the whole file and says what is wrong with it; the kernel's log (dmesg) has errors of the disk:")
                .then(Remedy::command("sqlite3").arg(file).arg("PRAGMA integrity_check")),
            Self::Server(_) | Self::Unknown => {
                Remedy::note("read the log of the database's server, which says more")
            }
        }
    }

    /// Takes an entry out of the schema of a SQLite file that cannot be read for it: as in "malformed
    /// database schema (name) - table name already exists". Tables stay, so nothing is lost.
    pub(super) fn without_entry(self, message: &str) -> Option<Remedy> {
        let file = self.file()?;
        let (_, rest) = message.split_once("malformed database schema (")?;
        let (name, reason) = rest.split_once(')')?;
        let named = format!("name = {}", sql_literal(name));
        let (what, entries) = if reason.trim_end().ends_with(" already exists") {
            (
                "a dump was read into the database that it was made of; this removes the second entry of the schema:",
                format!(
                    "{named} AND rowid NOT IN (SELECT min(rowid) FROM sqlite_schema GROUP BY type, name)"
                ),
            )
        } else {
            (
                "if it is an index, a trigger or a view, this removes it from the schema, and no row; the checks then say how one of todoctl is made again:",
                format!("{named} AND type <> 'table'"),
            )
        };
        let statement = format!(
            "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE {entries}; PRAGMA writable_schema = RESET; PRAGMA quick_check"
        );
        Some(
            Remedy::note("stop the daemon first")
                .then(Remedy::note(what))
                .then(Remedy::command("sqlite3").arg(file).arg(statement)),
        )
    }
}

fn create_database(server: &PostgresTarget, name: &str) -> Remedy {
    Remedy::admin_command(
        "createdb --template=template0 --encoding=UTF8",
        server,
        None,
    )
    .arg(name)
    // Else its schema public takes no tables of this role (PostgreSQL 15 and newer).
    .arg("--owner")
    .arg(&server.user)
}
