//! How the pools open their connections.

use sqlx::PgConnection;

use crate::config::{DatabaseTarget, PostgresTarget, SqliteTarget};

use super::connect::{SqliteAccess, open_postgres, open_sqlite};
use super::connect_error::ConnectError;
use super::connection::Connection;
use super::server::ServerTraits;

/// Opens connections to one database.
pub(super) enum Opener {
    Postgres {
        target: PostgresTarget,
        traits: ServerTraits,
    },
    Sqlite(SqliteTarget),
}

impl Opener {
    /// Whether prepared statements are reused.
    pub fn prepares_statements(&self) -> bool {
        match self {
            Self::Postgres { traits, .. } => traits.prepares_statements,
            Self::Sqlite(_) => true,
        }
    }

    pub async fn open(&self) -> Result<Connection, ConnectError> {
        match self {
            Self::Postgres { target, traits } => {
                let mut session = open_postgres(target).await?;
                if !traits.pooled {
                    read_committed(&mut session).await.map_err(|error| {
                        ConnectError::from_sqlx(&DatabaseTarget::Postgres(target.clone()), &error)
                    })?;
                }
                Ok(Connection::Postgres {
                    session,
                    prepares: traits.prepares_statements,
                })
            }
            Self::Sqlite(target) => open_sqlite(target, SqliteAccess::Write)
                .await
                .map(Connection::Sqlite),
        }
    }
}

/// Makes single statements wait for a locked row and then continue, whatever the server's
/// own default is: under a stricter level the wait ends in an error (40001).
async fn read_committed(session: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("SET default_transaction_isolation = 'read committed'")
        .execute(session)
        .await
        .map(drop)
}
