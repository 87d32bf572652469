//! How PgBouncer is given commands, and its files changed.

use std::net::IpAddr;
use std::path::Path;

use crate::config::{PostgresTarget, Remedy, sed, shell_word, sql_literal, sql_name};
use crate::diagnostics::probe::{PgBouncer, PoolerFiles, Stored, account_of};

/// What follows a change of pgbouncer.ini where its process is not on this machine.
pub(in crate::diagnostics::database) const RELOAD: &str =
    "then RELOAD in its console, or reload its service";

/// The role whose password is asked for where `admin_users` is not known.
const ADMINISTRATOR: &str = "postgres";

/// Where PgBouncer has its socket without `unix_socket_dir`.
const SOCKETS: &str = "/tmp";

/// Commands for the console, which only a role of `admin_users` may give, and PgBouncer's own user
/// through its socket.
pub(in crate::diagnostics::database) fn in_console(
    pooler: &PgBouncer,
    server: &PostgresTarget,
    commands: &[&str],
) -> Remedy {
    if pooler.is_admin() {
        let [first, rest @ ..] = commands else {
            return Remedy::default();
        };
        let remedy = Remedy::pooler_console(first);
        return rest
            .iter()
            .fold(remedy, |remedy, next| remedy.joined(" -c").arg(next));
    }
    if let Some(remedy) = pooler
        .files
        .as_ref()
        .and_then(|files| by_socket(files, server))
    {
        return given(remedy, commands);
    }
    let admin = pooler.admin();
    let note = match (&admin, &pooler.files) {
        (Some(admin), _) => format!("{admin} is in admin_users of pgbouncer.ini:"),
        (None, Some(files)) => {
            return Remedy::note(format!(
                "{} names nobody in admin_users: restart PgBouncer, which ends PAUSE and DISABLE and opens new server connections",
                files.ini.display()
            ));
        }
        (None, None) => format!("as a role of admin_users in pgbouncer.ini, here {ADMINISTRATOR}:"),
    };
    let admin = admin.as_deref().unwrap_or(ADMINISTRATOR);
    Remedy::note(note).then(given(Remedy::pooler_admin(server, admin), commands))
}

/// `RECONNECT`: new server connections take the place of those that are there.
pub(in crate::diagnostics::database) fn reconnect(
    pooler: &PgBouncer,
    server: &PostgresTarget,
) -> Remedy {
    let command = format!("RECONNECT {}", sql_name(&server.database));
    in_console(pooler, server, &[&command])
}

fn given(psql: Remedy, commands: &[&str]) -> Remedy {
    commands
        .iter()
        .fold(psql, |remedy, next| remedy.joined(" -c").arg(next))
}

/// PgBouncer lets its own system user in without a password.
fn by_socket(files: &PoolerFiles, server: &PostgresTarget) -> Option<Remedy> {
    let directory = files.setting("unix_socket_dir").unwrap_or(SOCKETS);
    let socket = Path::new(directory).join(format!(".s.PGSQL.{}", server.port));
    let user = account_of(files.pid?)?.user;
    let own = rustix::process::geteuid().as_raw();
    let psql = match own {
        _ if own == user => "psql".to_owned(),
        0 => format!("setpriv --reuid={user} --clear-groups psql"),
        _ => return None,
    };
    socket.exists().then(|| {
        Remedy::command(format!("{psql} -U pgbouncer -h"))
            .arg(directory)
            .joined(&format!(" -p {} -d pgbouncer", server.port))
    })
}

/// The files of a pooler and its line of a database, in words and commands.
pub(super) struct Configuration<'a> {
    files: Option<&'a PoolerFiles>,
    database: &'a str,
}

impl<'a> Configuration<'a> {
    pub(super) fn of(pooler: &'a PgBouncer, server: &'a PostgresTarget) -> Self {
        Self {
            files: pooler.files.as_ref(),
            database: &server.database,
        }
    }

    /// The line of the database, for a person.
    pub(super) fn line(&self) -> String {
        let found = self.files.and_then(|files| files.line(self.database));
        match found {
            Some(line) => format!(
                "line {} of {} (that of {} in [databases])",
                line.number,
                line.file.display(),
                line.name
            ),
            None => format!("the line {} of [databases] in pgbouncer.ini", self.database),
        }
    }

    pub(super) fn file(&self) -> String {
        self.files.map_or("pgbouncer.ini".to_owned(), |files| {
            files.ini.display().to_string()
        })
    }

    /// How PgBouncer reads a file again that a person has changed.
    pub(super) fn reload(&self) -> String {
        match self.signal() {
            Some(signal) => format!("then: {signal}"),
            None => RELOAD.to_owned(),
        }
    }

    fn signal(&self) -> Option<String> {
        Some(format!("kill -HUP {}", self.files?.pid?))
    }

    /// Gives a setting another value.
    pub(super) fn set(&self, name: &str, value: impl std::fmt::Display) -> Remedy {
        let command = self.signal().zip(self.files).map(|(signal, files)| {
            let edit = if files.has(name) {
                format!("'s/^[[:space:]]*{name}[[:space:]]*=.*/{name} = {value}/'")
            } else {
                format!("'/^[[:space:]]*\\[pgbouncer\\]/a {name} = {value}'")
            };
            let file = files.file_of(name);
            Remedy::command(format!("{} && {signal}", sed(&edit, file)))
        });
        command.unwrap_or_else(|| {
            Remedy::note(format!(
                "set {name} = {value} in {}, {}",
                self.file(),
                self.reload()
            ))
        })
    }

    /// Gives the line of the database another value, or a setting where it has none of its own.
    pub(super) fn set_of_line(
        &self,
        parameter: &str,
        setting: &str,
        value: impl std::fmt::Display,
    ) -> Remedy {
        let Some((files, signal)) = self.files.zip(self.signal()) else {
            return Remedy::note(format!(
                "set {setting} = {value} in {} ({parameter} of {}, where it has one), {}",
                self.file(),
                self.line(),
                self.reload()
            ));
        };
        let line = files.line(self.database);
        let Some(line) = line.filter(|line| line.parameter(parameter).is_some()) else {
            return self.set(setting, value);
        };
        let edit = format!(
            "'{}s/{parameter}[[:space:]]*=[[:space:]]*[^[:space:]]*/{parameter}={value}/'",
            line.number
        );
        Remedy::command(format!("{} && {signal}", sed(&edit, &line.file)))
    }

    /// What the `auth_file` has for the user of `DATABASE_URL`, in words.
    pub(super) fn stored(&self, server: &PostgresTarget) -> String {
        let password = server.password.as_ref().map_or("", |one| one.expose());
        let file = self.files.and_then(|files| files.path_of("auth_file"));
        let stored = self
            .files
            .and_then(|files| files.stored(&server.user, password));
        let Some((file, stored)) = file.zip(stored) else {
            return String::new();
        };
        let what = match stored {
            Stored::Nothing => "has no line for",
            Stored::Other => "has another password for",
            Stored::Secret => "has a hash, or the secret of another password, for",
            Stored::Same => return String::new(),
        };
        format!(": {} {what} {}", file.display(), server.user)
    }

    /// Lets the user of `DATABASE_URL` into the database from this machine, as the first line of an
    /// `auth_hba_file`.
    pub(super) fn allow(&self, server: &PostgresTarget, file: &Path) -> Option<Remedy> {
        let signal = self.signal()?;
        if ![self.database, &server.user].into_iter().all(is_plain) || !server.is_loopback() {
            return None;
        }
        let address = match server.host.parse() {
            Ok(IpAddr::V6(_)) => "::1/128",
            _ => "127.0.0.1/32",
        };
        let (database, user) = (self.database, &server.user);
        let line = format!("host {database} {user} {address} scram-sha-256");
        Some(Remedy::command(format!(
            "{} && {signal}",
            sed(&format!("'1i {line}'"), file)
        )))
    }

    /// Adds a line for the database.
    pub(super) fn add_line(&self, behind: &PostgresTarget) -> Option<Remedy> {
        let (files, signal) = (self.files?, self.signal()?);
        let host = behind.host.trim_matches(['[', ']']);
        if ![self.database, host, &behind.database]
            .into_iter()
            .all(is_plain)
        {
            return None;
        }
        let line = format!(
            "{} = host={host} port={} dbname={}",
            self.database, behind.port, behind.database
        );
        let edit = format!("'/^[[:space:]]*\\[databases\\]/a {line}'");
        Some(Remedy::command(format!(
            "{} && {signal}",
            sed(&edit, &files.ini)
        )))
    }

    /// Gives the `auth_file` what PostgreSQL has for the role; of several lines the last one counts.
    pub(super) fn renew_password(
        &self,
        server: &PostgresTarget,
        behind: &PostgresTarget,
    ) -> Option<Remedy> {
        let (files, signal) = (self.files?, self.signal()?);
        // The client's own login gives PgBouncer what it needs to use a SCRAM secret.
        if !["md5", "scram-sha-256", "hba"].contains(&files.setting("auth_type").unwrap_or("md5")) {
            return None;
        }
        let file = files.path_of("auth_file")?;
        let secret = Remedy::admin_command("psql -At", behind, None)
            .arg("-d")
            .arg(behind.other_database())
            .arg("-c")
            .arg(format!(
                "SELECT format('\"%s\" \"%s\"', rolname, rolpassword) FROM pg_authid WHERE rolname = {} AND rolpassword IS NOT NULL",
                sql_literal(&server.user)
            ));
        Some(
            Remedy::note("this gives it the secret that PostgreSQL has for the role; of several lines the last one counts:")
                .then(secret.joined(&format!(" >> {} && {signal}", shell_word(&file)))),
        )
    }
}

/// Whether a file of PgBouncer can have the word without quotes.
fn is_plain(text: &str) -> bool {
    let is_part = |sign: char| sign.is_ascii_alphanumeric() || "._-:".contains(sign);
    !text.is_empty() && text.chars().all(is_part)
}
