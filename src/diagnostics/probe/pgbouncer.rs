//! PgBouncer's console (PgBouncer's manual, "Admin console").

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::{Column as _, PgConnection, Row as _, ValueRef as _};
use tokio::time::timeout;

use crate::config::PostgresTarget;
use crate::store::{ConnectFault, open_postgres_within};

use super::connection::close;
use super::pooler_files::{Database, PoolerFiles};

/// What PgBouncer says to users that are neither in `admin_users` nor in `stats_users`.
const DENIED: &str = "not allowed";

/// A PgBouncer, and what it tells of itself.
#[derive(Debug)]
pub(crate) struct PgBouncer {
    /// What its console tells; `None` where the role may not use it.
    pub(crate) console: Option<Console>,
    /// Its files, where it runs on this machine and they can be read.
    pub(crate) files: Option<PoolerFiles>,
}

/// What the console tells about a database and a role.
#[derive(Debug, Default)]
pub(crate) struct Console {
    /// Whether the role may give commands there.
    pub(crate) is_admin: bool,
    /// Those that may.
    admins: Vec<String>,
    /// The database's line; `None` for one that matches `*` and has no client.
    pub(crate) database: Option<Database>,
    /// Server connections of all roles, and those in use.
    pub(crate) servers: u32,
    pub(crate) busy: u32,
    /// Clients that wait for one.
    pub(crate) waiting: u32,
    /// Server connections of the role in all databases, and `max_user_connections`: zero for no limit.
    pub(crate) of_user: u32,
    pub(crate) max_of_user: u32,
    /// Time limits that end ordinary requests, such as `query_timeout = 1`.
    short_limits: Vec<String>,
}

/// In seconds; ordinary statements and transactions take less.
const SHORTEST: f64 = 5.0;

impl PgBouncer {
    /// Asks the console at the address of `server`, as its role; `None` where PgBouncer does not answer.
    pub(crate) async fn ask(server: &PostgresTarget, limit: Duration) -> Option<Self> {
        let console = match open_postgres_within(&server.console(), limit).await {
            Ok(mut connection) => {
                let answer = timeout(limit, tell(&mut connection, server)).await;
                close(connection).await;
                // Otherwise an ordinary database of this name.
                Some(answer.ok()?.ok()?)
            }
            Err(error) if error.message == DENIED || error.is_of_pgbouncer() => None,
            // PostgreSQL words a refusal in the same way, and a failing auth_query keeps a login
            // waiting, so the process has to tell.
            Err(error) if matches!(error.fault, ConnectFault::Login | ConnectFault::TimedOut) => {
                let files = PoolerFiles::at(server).await?;
                return files.is_running.then_some(Self {
                    console: None,
                    files: Some(files),
                });
            }
            Err(_) => return None,
        };
        Some(Self {
            console,
            files: PoolerFiles::at(server).await,
        })
    }

    /// What is known of a database: by the console, or else by the file.
    pub(crate) fn database(&self, name: &str) -> Option<Database> {
        let told = self.console.as_ref().and_then(|one| one.database.clone());
        told.or_else(|| self.files.as_ref()?.database(name))
    }

    /// Whether the configured role may give commands in the console.
    pub(crate) fn is_admin(&self) -> bool {
        self.console
            .as_ref()
            .is_some_and(|console| console.is_admin)
    }

    /// Time limits that end ordinary requests, such as `query_timeout = 1`.
    pub(crate) fn short_limits(&self) -> Vec<String> {
        match (&self.console, &self.files) {
            (Some(console), _) => console.short_limits.clone(),
            (None, Some(files)) => short_limits(|name| files.setting(name).unwrap_or_default()),
            (None, None) => Vec::new(),
        }
    }

    /// A role that may, as far as it is known.
    pub(crate) fn admin(&self) -> Option<String> {
        let told = self
            .console
            .iter()
            .flat_map(|console| console.admins.clone());
        let named = self
            .files
            .iter()
            .flat_map(|files| files.names("admin_users"));
        told.chain(named).next()
    }
}

/// Time limits that end ordinary requests, such as `query_timeout = 1`.
fn short_limits<'a>(setting: impl Fn(&str) -> &'a str) -> Vec<String> {
    let limits = [
        "query_timeout",
        "idle_transaction_timeout",
        "transaction_timeout",
    ];
    let is_short = |name: &&str| {
        let seconds = setting(name).parse::<f64>();
        seconds.is_ok_and(|seconds| seconds > 0.0 && seconds < SHORTEST)
    };
    let short = limits.into_iter().filter(is_short);
    short
        .map(|name| format!("{name} = {}", setting(name)))
        .collect()
}

async fn tell(
    connection: &mut PgConnection,
    server: &PostgresTarget,
) -> Result<Console, sqlx::Error> {
    let config = rows(connection, "SHOW CONFIG").await?;
    let setting = |name: &str| {
        let row = config.iter().find(|row| row.text("key") == name);
        row.map_or("", |row| row.text("value"))
    };
    let admins = setting("admin_users").split(',').map(str::trim);
    let admins: Vec<String> = admins
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    let mut told = Console {
        short_limits: short_limits(setting),
        is_admin: admins.contains(&server.user),
        admins,
        max_of_user: setting("max_user_connections").parse().unwrap_or_default(),
        ..Console::default()
    };
    let databases = rows(connection, "SHOW DATABASES").await?;
    told.database = databases
        .iter()
        .find(|row| row.text("name") == server.database)
        .map(|row| Database {
            pool_mode: Some(row.text("pool_mode"))
                .filter(|mode| !mode.is_empty())
                .unwrap_or_else(|| setting("pool_mode"))
                .to_owned(),
            host: Some(row.text("host").to_owned()).filter(|host| !host.is_empty()),
            port: row.number("port"),
            own_name: row.text("database").to_owned(),
            force_user: Some(row.text("force_user").to_owned()).filter(|name| !name.is_empty()),
            pool_size: row.number("pool_size"),
            max_connections: row.number("max_connections"),
            connections: row.number("current_connections"),
            paused: row.number::<u32>("paused") > 0,
            disabled: row.number::<u32>("disabled") > 0,
        });
    for pool in rows(connection, "SHOW POOLS").await? {
        let [active, idle, used, tested] =
            ["sv_active", "sv_idle", "sv_used", "sv_tested"].map(|name| pool.number::<u32>(name));
        let servers = active + idle + used + tested;
        if pool.text("user") == server.user {
            told.of_user += servers;
        }
        if pool.text("database") == server.database {
            told.busy += active;
            told.servers += servers;
            told.waiting += pool.number::<u32>("cl_waiting");
        }
    }
    Ok(told)
}

/// A row of an answer, as text.
struct Told(BTreeMap<String, String>);

impl Told {
    fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn number<T: std::str::FromStr + Default>(&self, name: &str) -> T {
        self.text(name).parse().unwrap_or_default()
    }
}

async fn rows(
    connection: &mut PgConnection,
    question: &'static str,
) -> Result<Vec<Told>, sqlx::Error> {
    let found = sqlx::raw_sql(question).fetch_all(connection).await?;
    let told = found.iter().map(|row| {
        let values = row.columns().iter().map(|column| {
            let value = row.try_get_raw(column.ordinal())?;
            let text = if value.is_null() {
                ""
            } else {
                value.as_str().map_err(sqlx::Error::Decode)?
            };
            Ok((column.name().to_owned(), text.to_owned()))
        });
        Ok(Told(values.collect::<Result<_, sqlx::Error>>()?))
    });
    told.collect()
}
