//! What a PostgreSQL server, or a pooler in front of it, can do.

use std::time::{Duration, Instant};

use sqlx::{PgConnection, Postgres};
use tokio::time::timeout;

use crate::config::{DatabaseTarget, PoolerMode, PostgresTarget};

use super::connect::{open_postgres, open_postgres_within};
use super::connect_error::ConnectError;
use super::messages::ConnectFault;

/// How many times two connections are compared.
const ROUNDS: usize = 5;

/// The pause between two comparisons.
const PAUSE: Duration = Duration::from_millis(1);

/// Older releases lack what the schema and the sessions use, and are not tested.
pub(crate) const OLDEST_MAJOR: i32 = 12;

/// Connections that the start needs at the same time.
const LEAST_CONNECTIONS: i32 = 2;

/// How long a second connection may take, at least, while the first one is open.
const SECOND: Duration = Duration::from_secs(1);

/// How many times longer than the first one a second connection may take.
const SLOWER: u32 = 3;

/// What a PostgreSQL server, or the pooler in front of it, can do.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServerTraits {
    /// Whether this is a pooler in transaction mode: session state is lost after a transaction.
    pub pooled: bool,
    /// Whether prepared statements can be reused.
    pub prepares_statements: bool,
}

impl ServerTraits {
    /// Tests the server on one or two new connections.
    pub async fn discover(
        target: &PostgresTarget,
        pooler: PoolerMode,
    ) -> Result<Self, ConnectError> {
        let named =
            |error| ConnectError::from_sqlx(&DatabaseTarget::Postgres(target.clone()), &error);
        let started = Instant::now();
        let mut first = open_postgres(target).await?;
        refuse_unfit(&mut first, target).await?;
        // A pooler in statement mode refuses it.
        run(&mut first, "BEGIN").await.map_err(named)?;
        run(&mut first, "ROLLBACK").await.map_err(named)?;
        let took = started.elapsed();
        let pooled = match pooler {
            PoolerMode::Transaction => true,
            PoolerMode::None => false,
            PoolerMode::Detect => is_pooled(&mut first, target, took).await?,
        };
        if !pooled {
            refuse_low_limit(&mut first, target).await?;
        }
        close_quietly(first).await;
        if pooled {
            tracing::info!(
                prepared_statements = target.keeps_prepared_statements(),
                "connected through a pooler in transaction mode"
            );
        }
        Ok(Self {
            pooled,
            prepares_statements: !pooled || target.keeps_prepared_statements(),
        })
    }
}

/// Fails on a server that is too old, and unless the database's encoding is UTF8: another one
/// lacks characters, or stores bytes without knowing what they mean (`SQL_ASCII`).
pub(super) async fn refuse_unfit(
    session: &mut PgConnection,
    target: &PostgresTarget,
) -> Result<(), ConnectError> {
    const QUESTION: &str = "SELECT getdatabaseencoding()::text,
        current_setting('server_version_num')::int, current_setting('server_version')";
    let named = DatabaseTarget::Postgres(target.clone());
    let (encoding, number, version): (String, i32, String) = row(session, QUESTION)
        .await
        .map_err(|error| ConnectError::from_sqlx(&named, &error))?;
    if number / 10_000 < OLDEST_MAJOR {
        let message = format!(
            "PostgreSQL {version} is too old: todoctl needs PostgreSQL {OLDEST_MAJOR} or newer"
        );
        return Err(ConnectError::new(ConnectFault::Other, &named, message));
    }
    if encoding == "UTF8" {
        return Ok(());
    }
    let message = format!("the database's encoding is {encoding}, and todoctl needs UTF8");
    Err(ConnectError::new(ConnectFault::Encoding, &named, message))
}

/// Fails if the role or the database may not have the connections that the start needs, however
/// long it waits. Superusers have no limit.
async fn refuse_low_limit(
    session: &mut PgConnection,
    target: &PostgresTarget,
) -> Result<(), ConnectError> {
    const QUESTION: &str = "SELECT r.rolconnlimit, d.datconnlimit
        FROM pg_catalog.pg_roles AS r, pg_catalog.pg_database AS d
        WHERE r.rolname = session_user AND d.datname = current_database() AND NOT r.rolsuper
        UNION ALL SELECT -1, -1";
    let named = DatabaseTarget::Postgres(target.clone());
    let (role, database): (i32, i32) = row(session, QUESTION)
        .await
        .map_err(|error| ConnectError::from_sqlx(&named, &error))?;
    for (limit, whose) in [(role, "role"), (database, "database")] {
        if (0..LEAST_CONNECTIONS).contains(&limit) {
            let message = format!(
                "the {whose}'s CONNECTION LIMIT is {limit}, and todoctl needs {LEAST_CONNECTIONS} connections or more"
            );
            let fault = ConnectFault::TooManyConnections;
            return Err(ConnectError::new(fault, &named, message));
        }
    }
    Ok(())
}

/// Whether there is a pooler in transaction mode at `target`. Compares two new connections.
pub(crate) async fn find_pooler(target: &PostgresTarget) -> Result<bool, ConnectError> {
    let started = Instant::now();
    let mut first = open_postgres(target).await?;
    let pooled = is_pooled(&mut first, target, started.elapsed()).await;
    close_quietly(first).await;
    pooled
}

/// The same with an open connection, which took `took` to open, and a new one.
async fn is_pooled(
    first: &mut PgConnection,
    target: &PostgresTarget,
    took: Duration,
) -> Result<bool, ConnectError> {
    let named = DatabaseTarget::Postgres(target.clone());
    let limit = SECOND.max(took * SLOWER);
    let mut second = match open_postgres_within(target, limit).await {
        Ok(second) => second,
        Err(error) if error.fault == ConnectFault::TooManyConnections => {
            refuse_low_limit(first, target).await?;
            return Err(error);
        }
        Err(error) if error.fault == ConnectFault::TimedOut => {
            return Err(alone(first, target).await.unwrap_or(error));
        }
        Err(error) => return Err(error),
    };
    match timeout(limit, share_a_process(first, &mut second)).await {
        Ok(shared) => {
            close_quietly(second).await;
            shared.map_err(|error| ConnectError::from_sqlx(&named, &error))
        }
        Err(_) => Err(alone(first, target)
            .await
            .unwrap_or_else(|| ConnectError::timed_out(&named, limit))),
    }
}

/// The reason why a second connection gets no answer, if the first one still does: a pooler that
/// lends a server connection for a whole session has no other one.
async fn alone(first: &mut PgConnection, target: &PostgresTarget) -> Option<ConnectError> {
    timeout(SECOND, backend_pid(first)).await.ok()?.ok()?;
    let message =
        "a second connection gets no answer while the first one is open: the pooler lends each a server connection, and has no other"
            .to_owned();
    let named = DatabaseTarget::Postgres(target.clone());
    let fault = ConnectFault::TooManyConnections;
    Some(ConnectError::new(fault, &named, message))
}

/// The text that a question is answered with; `None` without a row, before a table exists
/// (42P01), and where the role (42501) or the server (42883) does not allow it.
pub(super) async fn optional(
    session: &mut PgConnection,
    question: &'static str,
) -> Result<Option<String>, sqlx::Error> {
    match ask(session, question).await {
        Ok(answer) => Ok(Some(answer)),
        Err(sqlx::Error::RowNotFound) => Ok(None),
        Err(sqlx::Error::Database(fault))
            if matches!(fault.code().as_deref(), Some("42P01" | "42501" | "42883")) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether two open connections go through a pooler in transaction mode: they share a server
/// process, or one of them changes it.
///
/// They are compared several times, with pauses: a pooler under load assigns its server connections
/// in any order, so two may differ by chance, or in time with another client.
pub(super) async fn share_a_process(
    first: &mut PgConnection,
    second: &mut PgConnection,
) -> Result<bool, sqlx::Error> {
    let mut before = None;
    for _ in 0..ROUNDS {
        let now = (backend_pid(first).await?, backend_pid(second).await?);
        if now.0 == now.1 || before.is_some_and(|before| before != now) {
            return Ok(true);
        }
        before = Some(now);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(false)
}

/// The process that serves a connection at this moment.
pub(crate) async fn backend_pid(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    ask(connection, "SELECT pg_backend_pid()").await
}

/// One row in the simple protocol, which every pooler forwards as a whole.
async fn row<T>(connection: &mut PgConnection, question: &'static str) -> Result<T, sqlx::Error>
where
    T: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
{
    let row = sqlx::raw_sql(question).fetch_one(connection).await?;
    T::from_row(&row)
}

/// One statement without rows, in the simple protocol.
async fn run(connection: &mut PgConnection, statement: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(statement).execute(connection).await.map(drop)
}

/// One value in the simple protocol.
async fn ask<T>(connection: &mut PgConnection, question: &'static str) -> Result<T, sqlx::Error>
where
    T: for<'r> sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres> + Send + Unpin,
{
    let (value,) = row(connection, question).await?;
    Ok(value)
}

/// Closes a connection. The server may already be gone, so an error is only logged.
pub(super) async fn close_quietly(connection: PgConnection) {
    use sqlx::Connection as _;
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "a database connection did not close cleanly");
    }
}
