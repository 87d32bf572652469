//! A connection of a pool, and what limits its statements.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, PgConnection, Row as _, SqliteConnection};

use super::arg::Arg;
use super::connection::Connection;
use super::file_limits::{FileLimits, Interrupt};
use super::late::{COMMIT_TIME, ServerClock, commit_in_time, in_time};
use super::row::QueryResult;
use super::sql::Sql;
use super::trial_unit;

/// How often PostgreSQL checks, while a statement runs, whether its client is still there.
const CLIENT_CHECK: Duration = Duration::from_secs(1);

/// The longest time that a transaction may hold its locks without a statement.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);

/// A connection of a pool.
pub(super) struct Session {
    connection: Connection,
    limits: SessionLimits,
    /// When the present unit of work must have ended.
    deadline: Instant,
    trial: Option<Trial>,
}

/// Everything on the connection runs in one transaction that is never committed.
#[derive(Clone, Copy)]
struct Trial {
    /// Whether a unit of work is open: it is a savepoint.
    in_unit: bool,
}

enum SessionLimits {
    Server {
        backend: Option<Backend>,
        clock: ServerClock,
        /// What begins a transaction where settings last no longer than one, and the server's
        /// process neither.
        begin: Option<Arc<str>>,
    },
    File(FileLimits),
}

/// A process of the server: its number may be used again, but not with the same start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backend {
    pub pid: i64,
    /// When the process started, or behind a pooler the transaction, in microseconds since 1970.
    pub started: i64,
}

impl Session {
    /// Prepares a connection to a server whose statements take at most `longest`.
    ///
    /// A pooler in transaction mode keeps no settings, so there each transaction sets its own.
    pub async fn on_server(
        mut session: PgConnection,
        prepares: bool,
        pooled: bool,
        longest: Duration,
    ) -> Result<Self, sqlx::Error> {
        let (backend, clock) = if pooled {
            set_up(&mut session, "").await?
        } else {
            match set_up(&mut session, &settings(longest, true)).await {
                // Some systems cannot tell whether a client is still there.
                Err(sqlx::Error::Database(_)) => {
                    set_up(&mut session, &settings(longest, false)).await?
                }
                done => done?,
            }
        };
        let begin = pooled.then(|| {
            let (statement, lock, idle) = server_limits(longest);
            format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = {statement};
                 SET LOCAL lock_timeout = {lock};
                 SET LOCAL idle_in_transaction_session_timeout = {idle};
                 SELECT pg_backend_pid()::bigint AS pid,
                     (extract(epoch FROM now()) * 1000000)::bigint AS started"
            )
            .into()
        });
        Ok(Self {
            connection: Connection::Postgres { session, prepares },
            limits: SessionLimits::Server {
                backend: backend.filter(|_| !pooled),
                clock,
                begin,
            },
            deadline: Instant::now(),
            trial: None,
        })
    }

    /// Prepares a connection to a SQLite file, which waits for `lock_wait` for its lock.
    pub async fn on_file(
        mut connection: SqliteConnection,
        lock_wait: Duration,
    ) -> Result<Self, sqlx::Error> {
        let limits = FileLimits::of(&mut connection, lock_wait).await?;
        Ok(Self {
            connection: Connection::Sqlite(connection),
            limits: SessionLimits::File(limits),
            deadline: Instant::now(),
            trial: None,
        })
    }

    /// Begins a transaction that is never committed. Units of work are savepoints in it from
    /// now on, so that one that fails leaves the others as they are.
    pub async fn begin_trial(&mut self, deadline: Instant) -> Result<(), sqlx::Error> {
        self.limit(deadline);
        self.begin().await?;
        self.trial = Some(Trial { in_unit: false });
        Ok(())
    }

    /// Rolls back what was not committed and closes the connection.
    pub async fn close(mut self) {
        if let Err(error) = self.connection.end(false).await {
            tracing::debug!(%error, "a transaction was not rolled back; the database does it");
        }
        self.connection.close().await;
    }

    /// The server's process that serves this connection or its transaction, where that is known.
    pub fn backend(&self) -> Option<Backend> {
        match &self.limits {
            SessionLimits::Server { backend, .. } => *backend,
            SessionLimits::File(_) => None,
        }
    }

    /// What ends SQLite's statement while it runs.
    pub fn interrupt(&self) -> Option<Interrupt> {
        match &self.limits {
            SessionLimits::Server { .. } => None,
            SessionLimits::File(file) => Some(file.interrupt.clone()),
        }
    }

    /// Begins a unit of work that must have ended by `deadline`.
    pub fn limit(&mut self, deadline: Instant) {
        self.deadline = deadline;
        // Behind a pooler, the process of the unit before.
        if let SessionLimits::Server {
            backend,
            begin: Some(_),
            ..
        } = &mut self.limits
        {
            *backend = None;
        }
    }

    /// When the server no longer accepts a change of this unit of work.
    pub fn last_change(&self) -> Instant {
        self.deadline
            .checked_sub(COMMIT_TIME)
            .unwrap_or(self.deadline)
    }

    /// Runs a statement to its end, or until the deadline.
    pub async fn run(&mut self, sql: &Sql, args: &[Arg<'_>]) -> Result<QueryResult, sqlx::Error> {
        if !matches!(self.trial, Some(Trial { in_unit: false })) {
            return self.run_in_unit(sql, args).await;
        }
        self.begin().await?;
        let outcome = self.run_in_unit(sql, args).await;
        let ended = self.end(outcome.is_ok()).await;
        outcome.and_then(|result| ended.map(|()| result))
    }

    async fn run_in_unit(
        &mut self,
        sql: &Sql,
        args: &[Arg<'_>],
    ) -> Result<QueryResult, sqlx::Error> {
        let Self {
            connection,
            limits,
            deadline,
            ..
        } = self;
        let outcome = limits.wait(*deadline, connection.run(sql, args)).await;
        limits.expect_lock(connection, &outcome).await;
        outcome
    }

    /// Runs a single statement that writes, and that the server refuses after
    /// [`Self::last_change`], however late it arrives; see [`super::late`].
    pub async fn run_in_time(
        &mut self,
        sql: &Sql,
        args: &[Arg<'_>],
    ) -> Result<QueryResult, sqlx::Error> {
        let SessionLimits::Server { clock, .. } = &self.limits else {
            return self.run(sql, args).await;
        };
        let latest = clock.at(self.last_change()).into();
        let args: Vec<_> = args.iter().map(Arg::borrowed).chain([latest]).collect();
        let guarded = in_time(sql, args.len());
        self.run(&guarded, &args).await
    }

    /// Begins a transaction.
    pub async fn begin(&mut self) -> Result<(), sqlx::Error> {
        let Self {
            connection,
            limits,
            deadline,
            trial,
        } = self;
        let script = match limits {
            SessionLimits::Server { begin, .. } => begin.clone(),
            SessionLimits::File(_) => None,
        };
        let mut serving = None;
        let begun = async {
            match script {
                _ if trial.is_some() => trial_unit::begin(connection).await,
                Some(script) => {
                    let begun = connection.run_script(&script).await?;
                    serving = Some(Backend {
                        pid: begun.value("pid")?,
                        started: begun.value("started")?,
                    });
                    Ok(())
                }
                None => connection.begin().await,
            }
        };
        let outcome = limits.wait(*deadline, begun).await;
        limits.expect_lock(connection, &outcome).await;
        outcome?;
        if let (SessionLimits::Server { backend, .. }, Some(_)) = (limits, serving) {
            *backend = serving;
        }
        if let Some(trial) = trial {
            trial.in_unit = true;
        }
        Ok(())
    }

    /// Ends a transaction. The server refuses its commit after [`Self::last_change`], however late
    /// that arrives; see [`super::late`].
    pub async fn end(&mut self, commit: bool) -> Result<(), sqlx::Error> {
        let last_change = self.last_change();
        let Self {
            connection,
            limits,
            deadline,
            trial,
        } = self;
        let ended = async {
            match (&trial, commit) {
                (Some(_), true) => trial_unit::keep(connection).await,
                (Some(_), false) => trial_unit::undo(connection).await,
                (None, true) => match &*limits {
                    SessionLimits::Server { clock, .. } => {
                        let commit = commit_in_time(clock.at(last_change));
                        connection.run_script(&commit).await.map(drop)
                    }
                    SessionLimits::File(_) => connection.end(true).await,
                },
                (None, false) => connection.end(false).await,
            }
        };
        let ended = limits.wait(*deadline, ended).await;
        if let Some(trial) = trial {
            trial.in_unit = false;
        }
        ended
    }

    pub async fn ping(&mut self) -> Result<(), sqlx::Error> {
        self.connection.ping().await
    }
}

impl SessionLimits {
    /// Adapts the wait for a file that another process may have locked.
    async fn expect_lock<T>(
        &mut self,
        connection: &mut Connection,
        outcome: &Result<T, sqlx::Error>,
    ) {
        if let Self::File(file) = self {
            file.expect_lock(connection, outcome).await;
        }
    }

    /// Waits for `work` until `deadline`.
    ///
    /// SQLite is told to stop, and its answer is waited for, so that the outcome is known.
    async fn wait<T>(
        &self,
        deadline: Instant,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        match self {
            Self::Server { .. } => tokio::time::timeout_at(deadline.into(), work)
                .await
                .unwrap_or_else(|_| Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into()))),
            Self::File(file) => {
                file.interrupt.set(deadline);
                work.await
            }
        }
    }
}

/// `statement_timeout`, `lock_timeout` and `idle_in_transaction_session_timeout` in
/// milliseconds, the second a little shorter: its message says more.
fn server_limits(longest: Duration) -> (u128, u128, u128) {
    (
        longest.as_millis(),
        (longest / 10 * 9).as_millis(),
        longest.min(IDLE_IN_TRANSACTION).as_millis(),
    )
}

/// The script that limits a session, as far as the server knows the setting and the
/// administrator or the URL has not set a lower limit. Sessions of a pool are idle on purpose, so no
/// limit ends them for that.
fn settings(longest: Duration, watch_client: bool) -> String {
    let (statement, lock, idle) = server_limits(longest);
    let check = CLIENT_CHECK.as_millis();
    let watch = if watch_client {
        format!(", ('client_connection_check_interval', {check})")
    } else {
        String::new()
    };
    // A stricter isolation level would end the wait for a locked row in an error (40001).
    format!(
        "SET default_transaction_isolation = 'read committed';
         SELECT set_config(wanted.name, wanted.value::text, false)
         FROM (VALUES ('statement_timeout', {statement}), ('lock_timeout', {lock}),
             ('idle_in_transaction_session_timeout', {idle}),
             ('tcp_user_timeout', {statement}), ('tcp_keepalives_idle', 15),
             ('tcp_keepalives_interval', 5), ('tcp_keepalives_count', 3){watch}
         ) AS wanted (name, value) JOIN pg_catalog.pg_settings AS present USING (name)
         WHERE CASE WHEN present.setting ~ '^[0-9]+$'
             THEN present.setting::bigint = 0 OR present.setting::bigint > wanted.value END;
         SELECT set_config(name, '0', false) FROM pg_catalog.pg_settings
         WHERE name = 'idle_session_timeout' AND setting <> '0';"
    )
}

/// Runs `script` and asks who answers, in one exchange.
async fn set_up(
    session: &mut PgConnection,
    script: &str,
) -> Result<(Option<Backend>, ServerClock), sqlx::Error> {
    let script = format!(
        "{script}
         SELECT pg_backend_pid()::bigint AS pid,
             (SELECT (extract(epoch FROM backend_start) * 1000000)::bigint
              FROM pg_catalog.pg_stat_activity WHERE pid = pg_backend_pid()) AS started,
             (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now"
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(script))
        .fetch_all(session)
        .await?;
    let row = rows.last().ok_or(sqlx::Error::RowNotFound)?;
    let pid = row.try_get("pid")?;
    let started: Option<i64> = row.try_get("started")?;
    let clock = ServerClock::shows(row.try_get("now")?);
    Ok((started.map(|started| Backend { pid, started }), clock))
}
