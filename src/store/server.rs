//! What a PostgreSQL server, or a pooler before it, can do.

use sqlx::{PgConnection, Postgres};

use crate::config::{DatabaseTarget, PoolerMode, PostgresTarget};

use super::connect::open_postgres;
use super::dialect::Dialect;
use super::error::ConnectError;

/// What one look at a PostgreSQL server tells.
pub(super) struct ServerTraits {
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
                // Two open connections that share a server process have a pooler in between.
                let mut second = open_postgres(target).await?;
                let one = backend_pid(&mut first).await.map_err(named)?;
                let two = backend_pid(&mut second).await.map_err(named)?;
                close_quietly(second).await;
                one == two
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
            persistent: !pooled || target.keeps_prepared_statements(),
            dialect: if icu {
                Dialect::PostgresIcu
            } else {
                Dialect::PostgresLocale
            },
        })
    }
}

pub(super) async fn backend_pid(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
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
