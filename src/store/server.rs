//! What a PostgreSQL server, or a pooler before it, can do.

use sqlx::{PgConnection, Postgres};

use crate::config::{DatabaseTarget, PoolerMode, PostgresTarget};

use super::connect::open_postgres;
use super::connect_error::ConnectError;
use super::dialect::Dialect;

/// How often two connections are compared.
const ROUNDS: usize = 5;

/// What one look at a PostgreSQL server tells.
pub(super) struct ServerTraits {
    /// Whether a transaction-mode pooler answers, behind which no session is one's own.
    pub pooled: bool,
    /// Whether statements may be prepared once and used again.
    pub persistent: bool,
    /// What it speaks.
    pub dialect: Dialect,
}

impl ServerTraits {
    /// Looks, on one or two connections of its own.
    pub async fn discover(
        target: &PostgresTarget,
        pooler: PoolerMode,
    ) -> Result<Self, ConnectError> {
        let named =
            |error| ConnectError::from_sqlx(&DatabaseTarget::Postgres(target.clone()), &error);
        let mut first = open_postgres(target).await?;
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
        let icu: bool = ask(
            &mut first,
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_collation WHERE collname = 'und-x-icu')",
        )
        .await
        .map_err(named)?;
        close_quietly(first).await;
        if pooled {
            tracing::info!(
                prepared_statements = target.keeps_prepared_statements(),
                "a transaction-mode pooler answers"
            );
        }
        Ok(Self {
            pooled,
            persistent: !pooled || target.keeps_prepared_statements(),
            dialect: if icu {
                Dialect::PostgresIcu
            } else {
                Dialect::PostgresLocale
            },
        })
    }
}

/// Whether a pooler in transaction mode is behind two open connections: they share a server
/// process, or one of them changes it.
///
/// Asked several times, because a pooler under load hands its server connections out in any
/// order, and two that differ may do so by chance.
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

/// Makes a session's transactions wait for a locked row and then go on with it, whatever the
/// server's own default is: under a stricter level the wait ends in an error (40001).
pub(super) async fn read_committed(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("SET default_transaction_isolation = 'read committed'")
        .execute(connection)
        .await
        .map(drop)
}

/// The process that serves a connection at this moment.
pub(crate) async fn backend_pid(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    ask(connection, "SELECT pg_backend_pid()").await
}

/// One question by the simple protocol, which any pooler passes on as a whole.
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

/// Says goodbye to the server; that it may already be gone does not matter.
pub(super) async fn close_quietly(connection: PgConnection) {
    use sqlx::Connection as _;
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "a connection did not close cleanly");
    }
}
