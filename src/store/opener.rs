//! How the pools open their connections.

use std::time::Duration;

use crate::config::{DatabaseTarget, PostgresTarget, SqliteTarget};

use super::connect::{SqliteAccess, open_postgres, open_sqlite_within};
use super::connect_error::ConnectError;
use super::server::ServerTraits;
use super::session::Session;

/// Opens connections to one database.
pub(super) enum Opener {
    Postgres {
        target: PostgresTarget,
        traits: ServerTraits,
        /// How long a statement may take.
        longest: Duration,
    },
    Sqlite {
        target: SqliteTarget,
        longest: Duration,
    },
}

impl Opener {
    /// Whether prepared statements are reused.
    pub fn prepares_statements(&self) -> bool {
        match self {
            Self::Postgres { traits, .. } => traits.prepares_statements,
            Self::Sqlite { .. } => true,
        }
    }

    pub async fn open(&self) -> Result<Session, ConnectError> {
        match self {
            Self::Postgres {
                target,
                traits,
                longest,
            } => {
                let session = open_postgres(target).await?;
                Session::on_server(session, traits.prepares_statements, traits.pooled, *longest)
                    .await
                    .map_err(|error| {
                        ConnectError::from_sqlx(&DatabaseTarget::Postgres(target.clone()), &error)
                    })
            }
            Self::Sqlite { target, longest } => {
                let connection = open_sqlite_within(target, SqliteAccess::Write, *longest).await?;
                Session::on_file(connection).await.map_err(|error| {
                    ConnectError::from_sqlx(&DatabaseTarget::Sqlite(target.clone()), &error)
                })
            }
        }
    }
}
