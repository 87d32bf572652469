//! What a PostgreSQL server, or a pooler in front of it, can do.

use sqlx::{PgConnection, Postgres};

use crate::config::{DatabaseTarget, PoolerMode, PostgresTarget};

use super::connect::open_postgres;
use super::connect_error::ConnectError;
use super::messages::ConnectFault;

/// How many times two connections are compared.
const ROUNDS: usize = 5;

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
        let mut first = open_postgres(target).await?;
        refuse_other_encoding(&mut first, target).await?;
        let pooled = match pooler {
            PoolerMode::Transaction => true,
            PoolerMode::None => false,
            PoolerMode::Detect => {
                let mut second = open_postgres(target).await?;
                let shared = share_a_process(&mut first, &mut second).await;
                close_quietly(second).await;
                shared.map_err(named)?
            }
        };
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

/// Fails unless the database's encoding is UTF8: another one lacks characters, or stores bytes
/// without knowing what they mean (`SQL_ASCII`).
pub(super) async fn refuse_other_encoding(
    session: &mut PgConnection,
    target: &PostgresTarget,
) -> Result<(), ConnectError> {
    let named = || DatabaseTarget::Postgres(target.clone());
    let encoding: String = ask(session, "SELECT getdatabaseencoding()::text")
        .await
        .map_err(|error| ConnectError::from_sqlx(&named(), &error))?;
    if encoding == "UTF8" {
        return Ok(());
    }
    let message = format!("the database's encoding is {encoding}, and todoctl needs UTF8");
    Err(ConnectError::new(ConnectFault::Encoding, &named(), message))
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
/// They are compared several times: a pooler under load assigns its server connections in any
/// order, so two may differ by chance.
pub(crate) async fn share_a_process(
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
    }
    Ok(false)
}

/// The process that serves a connection at this moment.
pub(crate) async fn backend_pid(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    ask(connection, "SELECT pg_backend_pid()").await
}

/// One query in the simple protocol, which every pooler forwards as a whole.
async fn ask<T>(connection: &mut PgConnection, question: &'static str) -> Result<T, sqlx::Error>
where
    T: for<'r> sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>,
{
    use sqlx::Row as _;
    sqlx::raw_sql(question)
        .fetch_one(connection)
        .await?
        .try_get(0)
}

/// Closes a connection. The server may already be gone, so an error is only logged.
pub(super) async fn close_quietly(connection: PgConnection) {
    use sqlx::Connection as _;
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "a database connection did not close cleanly");
    }
}
