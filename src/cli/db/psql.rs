//! `todoctl db psql`: PostgreSQL's own client with the configured URL.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

use crate::cli::context::Context;
use crate::cli::hint::Hint;
use crate::cli::output;
use crate::config::{DatabaseTarget, PSQL_PACKAGES, PostgresTarget, Remedy, SYSTEM_ROOTS, TlsMode};
use crate::store::run_statements;

pub(crate) const EXAMPLES: &str = "\
Examples:
  todoctl db psql
  todoctl db psql -c 'SELECT count(*) FROM tasks'
  todoctl db psql -c 'SELECT 1' -c 'SELECT 2'
  todoctl db psql -f report.sql
  todoctl db psql --pooler -c 'SHOW POOLS'

psql connects to DATABASE_URL_UNPOOLED if that is set, otherwise to DATABASE_URL.
The password is in its environment, not in its arguments. Where psql is not
installed, statements of -c run on todoctl's own connection.

Exit codes: those of psql; 2 if it cannot be started.";

/// The first process of a container. It has no defaults for SIGTERM and SIGINT, so psql is a child
/// there, and ends with this process.
const FIRST_PROCESS: u32 = 1;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connect to PgBouncer's console, at the pooler's address.
    #[arg(long)]
    pub(crate) pooler: bool,

    /// Options and arguments of psql.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    pub(crate) arguments: Vec<OsString>,
}

pub(crate) async fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let database = context.database()?;
    let configured = if options.pooler {
        &database.target
    } else {
        &database.direct
    };
    let server = match configured {
        DatabaseTarget::Postgres(server) if options.pooler => &server.console(),
        DatabaseTarget::Postgres(server) => server,
        DatabaseTarget::Sqlite(file) => {
            return Err(Hint::new(
                format!(
                    "psql is for PostgreSQL, and the database is the SQLite file {}",
                    file.path.display()
                ),
                Remedy::command("sqlite3 -readonly").arg(&file.path),
            )
            .into());
        }
    };
    let mut command = Command::new("psql");
    command.args(&options.arguments);
    for (name, value) in environment(server) {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let error = if std::process::id() == FIRST_PROCESS {
        match command.status() {
            Ok(status) => return Ok(exit_code(status)),
            Err(error) => error,
        }
    } else {
        // Takes the place of this process, so that psql has the terminal and its signals. Returns
        // only if that fails.
        command.exec()
    };
    if error.kind() != io::ErrorKind::NotFound {
        return Err(Hint::of(error, "psql cannot be started", install()).into());
    }
    match statements(&options.arguments) {
        Some(statements) => print(server, &statements).await,
        None => Err(Hint::new(
            "psql is not installed, and without it only statements of -c can be run",
            install(),
        )
        .into()),
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

fn install() -> Remedy {
    Remedy::note(format!("install psql: the package {PSQL_PACKAGES}"))
}

/// What libpq reads instead of a URL (PostgreSQL, "Environment Variables"); `None` where a value
/// of this process's environment would interfere.
fn environment(server: &PostgresTarget) -> Vec<(&'static str, Option<OsString>)> {
    let mode = match server.tls {
        TlsMode::Disable => "disable",
        TlsMode::Prefer => "prefer",
        TlsMode::Require => "require",
        TlsMode::VerifyCa => "verify-ca",
        TlsMode::VerifyFull => "verify-full",
    };
    let password = server.password.as_ref().map(|one| one.expose().into());
    vec![
        ("PGHOST", Some(server.host.trim_matches(['[', ']']).into())),
        ("PGPORT", Some(server.port.to_string().into())),
        ("PGUSER", Some((&server.user).into())),
        ("PGDATABASE", Some((&server.database).into())),
        ("PGPASSWORD", password),
        ("PGSSLMODE", Some(mode.into())),
        ("PGSSLROOTCERT", roots(server)),
        ("PGOPTIONS", server.options.as_ref().map(Into::into)),
        ("PGAPPNAME", Some((&server.application_name).into())),
        ("PGHOSTADDR", None),
        ("PGSERVICE", None),
        ("PGREQUIRESSL", None),
    ]
}

/// The CAs that sign the server's certificate. todoctl has roots of its own where no file is
/// named; libpq takes the system's, before its release 16 only from a file.
fn roots(server: &PostgresTarget) -> Option<OsString> {
    if let Some(file) = &server.root_cert {
        return Some(file.into());
    }
    if !matches!(server.tls, TlsMode::VerifyCa | TlsMode::VerifyFull) {
        return None;
    }
    let file = SYSTEM_ROOTS
        .into_iter()
        .find(|file| Path::new(file).is_file());
    Some(file.unwrap_or("system").into())
}

/// The statements, if the arguments are nothing else.
fn statements(arguments: &[OsString]) -> Option<Vec<String>> {
    let mut statements = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let argument = argument.to_str()?;
        let text = match argument.strip_prefix("--command=") {
            Some(text) => text,
            None if argument == "-c" || argument == "--command" => rest.next()?.to_str()?,
            None => argument.strip_prefix("-c")?,
        };
        statements.push(text.to_owned());
    }
    (!statements.is_empty()).then_some(statements)
}

async fn print(server: &PostgresTarget, statements: &[String]) -> anyhow::Result<ExitCode> {
    for answer in run_statements(server, statements).await? {
        if answer.columns.is_empty() {
            output::data(&format!("{} rows", answer.affected))?;
        } else {
            let heading: Vec<&str> = answer.columns.iter().map(String::as_str).collect();
            let rows = answer.rows.into_iter();
            let printable =
                |row: Vec<String>| row.iter().map(|one| output::printable(one)).collect();
            output::table(&heading, rows.map(printable).collect())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::database_url;

    fn environment_of(url: &str) -> Vec<(&'static str, Option<OsString>)> {
        let DatabaseTarget::Postgres(server) = database_url::parse(url).unwrap().value else {
            panic!("not PostgreSQL");
        };
        environment(&server)
    }

    fn value(environment: &[(&str, Option<OsString>)], name: &str) -> Option<String> {
        let found = environment.iter().find(|(one, _)| *one == name).unwrap();
        let value = found.1.as_ref();
        value.map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_url_becomes_the_environment_of_libpq() {
        let found = environment_of(
            "postgresql://u:p%40ss@[::1]:5433/d?sslmode=verify-ca&sslrootcert=/ca.pem&options=endpoint%3De",
        );
        for (name, expected) in [
            ("PGHOST", "::1"),
            ("PGPORT", "5433"),
            ("PGUSER", "u"),
            ("PGDATABASE", "d"),
            ("PGPASSWORD", "p@ss"),
            ("PGSSLMODE", "verify-ca"),
            ("PGSSLROOTCERT", "/ca.pem"),
            ("PGOPTIONS", "endpoint=e"),
        ] {
            assert_eq!(value(&found, name).as_deref(), Some(expected), "{name}");
        }
        assert_eq!(value(&found, "PGSERVICE"), None);
        let found = environment_of("postgresql://u@db.example.com/d?sslrootcert=system");
        assert_eq!(value(&found, "PGSSLMODE").as_deref(), Some("verify-full"));
        assert!(value(&found, "PGSSLROOTCERT").is_some());
        assert_eq!(value(&found, "PGPASSWORD"), None);
        let found = environment_of("postgresql://u@localhost/d");
        assert_eq!(value(&found, "PGSSLROOTCERT"), None);
    }

    #[test]
    fn only_statements_can_be_run_without_psql() {
        let of = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            statements(&words)
        };
        let two = Some(vec!["SELECT 1".to_owned(), "SELECT 2".to_owned()]);
        assert_eq!(of(&["-c", "SELECT 1", "--command=SELECT 2"]), two);
        assert_eq!(of(&["-cSELECT 1", "--command", "SELECT 2"]), two);
        for words in [
            &[][..],
            &["-c"],
            &["-f", "x.sql"],
            &["-A", "-c", "SELECT 1"],
        ] {
            assert_eq!(of(words), None, "{words:?}");
        }
    }
}
