//! Commands of an administrator, and where they lead.

use std::path::Path;

use super::{Command, Remedy, Step};
use crate::config::database_url::PostgresTarget;
use crate::config::shell::shell_word;

/// The role of an administrator where the server's own is not known.
const ADMINISTRATOR: &str = "postgres";

/// What follows the name of a client program of PostgreSQL, before the role.
fn options(host: &str, port: u16) -> String {
    let host = shell_word(Path::new(host.trim_matches(['[', ']'])));
    format!(" -h {host} -p {port} -U")
}

/// PostgreSQL's client programs that remedies name.
const PROGRAMS: [&str; 5] = ["psql", "createdb", "createuser", "pg_dump", "vacuumdb"];

const BY_ROOT: &str = "runuser -u postgres -- ";

/// `text` with each program that has the options `wrong` run as the system user, with the options
/// `right` before the role.
fn as_system_user(text: &str, wrong: &str, right: &str) -> String {
    let mut rest = text;
    let mut whole = String::new();
    while let Some(at) = rest.find(wrong) {
        let (before, after) = rest.split_at(at);
        let programs = PROGRAMS.iter().filter_map(|program| {
            let begin = before.rfind(&format!("{program} ")).or_else(|| {
                let is_last = before.ends_with(program);
                is_last.then(|| before.len() - program.len())
            })?;
            Some(begin)
        });
        let begin = programs.max().unwrap_or(before.len());
        let (kept, command) = before.split_at(begin);
        let is_done = kept.ends_with(BY_ROOT) || command.is_empty();
        let user = if is_done { "" } else { BY_ROOT };
        whole += &format!("{kept}{user}{command}{right} {ADMINISTRATOR}");
        rest = &after[wrong.len()..];
    }
    whole + rest
}

impl Remedy {
    /// A statement for an administrator of the server, or for the owner of what it changes.
    #[must_use]
    pub fn admin_sql(
        server: &PostgresTarget,
        administrator: Option<&str>,
        statement: impl AsRef<str>,
    ) -> Self {
        Self::admin_sql_in(server, server.own_name(), administrator, statement)
    }

    /// The same in another database.
    #[must_use]
    pub fn admin_sql_in(
        server: &PostgresTarget,
        database: &str,
        administrator: Option<&str>,
        statement: impl AsRef<str>,
    ) -> Self {
        Self::admin_command("psql", server, administrator)
            .arg("-d")
            .arg(database)
            .statement(statement.as_ref())
    }

    /// Statements of an administrator that change settings of roles or databases. The settings of
    /// this database would apply to the administrator's session, so it is opened in another one.
    #[must_use]
    pub fn admin_settings(server: &PostgresTarget, statements: &str) -> Self {
        // Those of all roles apply there as well.
        let writes = if statements.contains("transaction_read_only") {
            "SET transaction_read_only = off; "
        } else if statements.contains("statement_timeout") {
            "SET statement_timeout = 0; "
        } else {
            ""
        };
        Self::admin_sql_in(
            server,
            server.other_database(),
            None,
            format!("{writes}{statements}"),
        )
    }

    /// A client program of PostgreSQL, with the options that lead to the server itself: a pooler
    /// often knows no administrator.
    #[must_use]
    pub fn admin_command(
        program: &str,
        server: &PostgresTarget,
        administrator: Option<&str>,
    ) -> Self {
        let server = server.server();
        Self::command(program)
            .joined(&options(&server.host, server.port))
            .arg(administrator.unwrap_or(ADMINISTRATOR))
    }

    /// psql for the console of the pooler at this address, as a role of `admin_users`. The order of its
    /// options tells it from commands for the server.
    #[must_use]
    pub fn pooler_admin(pooler: &PostgresTarget, administrator: &str) -> Self {
        Self::command("psql -U")
            .arg(administrator)
            .joined(" -h")
            .arg(pooler.host.trim_matches(['[', ']']))
            .joined(&format!(" -p {} -d pgbouncer", pooler.port))
    }

    /// Whether a command of an administrator leads to this address.
    pub(crate) fn is_administered_at(&self, server: &PostgresTarget) -> bool {
        let options = options(&server.host, server.port);
        self.0.iter().any(|step| match step {
            Step::Command(Command { line: text, .. }) | Step::Note(text) => text.contains(&options),
            Step::Or(other) => other.is_administered_at(server),
            Step::Set(..) => false,
        })
    }

    /// With the commands of the administrator at this address as root runs them, where the server's
    /// socket is in `directory`: as the system user of the same name, who needs no password.
    pub(crate) fn administered_by_root(self, server: &PostgresTarget, directory: &str) -> Self {
        let right = options(directory, server.port);
        let by_root = |text: &str| {
            [options(&server.host, server.port), right.clone()]
                .iter()
                .fold(text.to_owned(), |text, wrong| {
                    as_system_user(&text, &format!("{wrong} {ADMINISTRATOR}"), &right)
                })
        };
        let steps = self.0.into_iter().map(|step| match step {
            Step::Command(Command { line, statements }) => Step::Command(Command {
                line: by_root(&line),
                statements,
            }),
            Step::Note(text) => Step::Note(by_root(&text)),
            Step::Or(other) => Step::Or(other.administered_by_root(server, directory)),
            Step::Set(..) => step,
        });
        Self(steps.collect())
    }

    /// Whether a command changes what new sessions of a role, a database or the server begin with.
    pub(crate) fn changes_settings(&self) -> bool {
        let is_one = |line: &str| {
            ["ALTER ROLE ", "ALTER DATABASE ", "ALTER SYSTEM "]
                .iter()
                .any(|alter| line.contains(alter))
                && [" SET ", " RESET "].iter().any(|word| line.contains(word))
        };
        self.commands().any(is_one)
    }

    /// With the commands of an administrator that lead to a pooler at the address of the server
    /// behind it, or without an address, as comments, where that is not known.
    pub(crate) fn administered_behind(
        self,
        pooler: &PostgresTarget,
        own: Option<(&str, u16)>,
    ) -> Self {
        let wrong = options(&pooler.host, pooler.port);
        let right = own.map_or_else(|| " -U".to_owned(), |(host, port)| options(host, port));
        let steps = self.0.into_iter().map(|step| match step {
            Step::Command(Command { line, .. }) if line.contains(&wrong) && own.is_none() => {
                Step::Note(line.replace(&wrong, &right))
            }
            Step::Command(Command { line, statements }) => Step::Command(Command {
                line: line.replace(&wrong, &right),
                statements,
            }),
            Step::Note(text) => Step::Note(text.replace(&wrong, &right)),
            Step::Or(other) => Step::Or(other.administered_behind(pooler, own)),
            Step::Set(..) => step,
        });
        Self(steps.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_for_the_server_behind_a_pooler() {
        let pooler = PostgresTarget::fixture("pooler", 6432);
        let create = Remedy::admin_command("createdb", &pooler, None).arg("todo");
        let remedy = Remedy::note(format!("or: {create}"))
            .then(create)
            .then(Remedy::sql("SELECT 1"));
        assert!(remedy.is_administered_at(&pooler));
        assert!(!remedy.changes_settings());
        assert!(Remedy::sql("ALTER ROLE todo RESET role").changes_settings());
        let known = remedy
            .clone()
            .administered_behind(&pooler, Some(("::1", 5432)));
        assert_eq!(
            known.to_string(),
            "# or: createdb -h ::1 -p 5432 -U postgres todo\n\
             createdb -h ::1 -p 5432 -U postgres todo\n\
             todoctl db psql -c 'SELECT 1'"
        );
        assert!(!known.is_administered_at(&pooler));
        let unknown = remedy.administered_behind(&pooler, None).to_string();
        assert!(
            unknown.contains("\n# createdb -U postgres todo\n"),
            "{unknown}"
        );
    }

    #[test]
    fn commands_of_root() {
        let server = PostgresTarget::fixture("127.0.0.1", 5432);
        let create = Remedy::admin_command("createdb --encoding=UTF8", &server, None).arg("a");
        let read = Remedy::admin_command("psql --quiet", &server, None)
            .arg("-d")
            .arg("psql");
        let dump = Remedy::admin_command("pg_dump", &server, None)
            .arg("b")
            .pipe(&read);
        let other = Remedy::admin_sql(&server, Some("owner"), "SELECT 1");
        let remedy = Remedy::note(format!("with {read}"))
            .then(create)
            .then(dump)
            .then(other.clone())
            .administered_by_root(&server, "/run/pg");
        let expected = format!(
            "# with runuser -u postgres -- psql --quiet -h /run/pg -p 5432 -U postgres -d psql\n\
             runuser -u postgres -- createdb --encoding=UTF8 -h /run/pg -p 5432 -U postgres a\n\
             runuser -u postgres -- pg_dump -h /run/pg -p 5432 -U postgres b | runuser -u postgres -- psql --quiet -h /run/pg -p 5432 -U postgres -d psql\n\
             {other}"
        );
        assert_eq!(remedy.to_string(), expected);
        let again = remedy.administered_by_root(&server, "/run/pg");
        assert_eq!(again.to_string(), expected);
    }

    #[test]
    fn the_direct_address_is_the_servers() {
        let mut server = PostgresTarget::fixture("pooler", 6432);
        let mut direct = PostgresTarget::fixture("db.example.com", 5433);
        direct.database = "todo_prod".to_owned();
        server.direct = Some(Box::new(direct));
        assert_eq!(
            Remedy::admin_sql(&server, None, "SELECT 1").to_string(),
            "psql -h db.example.com -p 5433 -U postgres -d todo_prod -c 'SELECT 1'"
        );
    }
}
