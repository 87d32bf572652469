//! How the pools open their connections.

use std::time::{Duration, Instant};

use crate::config::{DatabaseTarget, PostgresTarget, SqliteTarget};

use super::connect::{BUSY_TIMEOUT, SqliteAccess, open_postgres, open_sqlite_within};
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
        access: SqliteAccess,
        longest: Duration,
    },
    /// Everything on the connection is rolled back in the end.
    Trial(Box<Opener>),
}

impl Opener {
    /// Whether prepared statements are reused.
    pub fn prepares_statements(&self) -> bool {
        match self {
            Self::Postgres { traits, .. } => traits.prepares_statements,
            Self::Sqlite { .. } => true,
            Self::Trial(inner) => inner.prepares_statements(),
        }
    }

    fn longest(&self) -> Duration {
        match self {
            Self::Postgres { longest, .. } | Self::Sqlite { longest, .. } => *longest,
            Self::Trial(inner) => inner.longest(),
        }
    }

    fn target(&self) -> DatabaseTarget {
        match self {
            Self::Postgres { target, .. } => DatabaseTarget::Postgres(target.clone()),
            Self::Sqlite { target, .. } => DatabaseTarget::Sqlite(target.clone()),
            Self::Trial(inner) => inner.target(),
        }
    }

    pub async fn open(&self) -> Result<Session, ConnectError> {
        let named = |error| ConnectError::from_sqlx(&self.target(), &error);
        match self {
            Self::Postgres {
                target,
                traits,
                longest,
            } => {
                let session = open_postgres(target).await?;
                Session::on_server(session, traits.prepares_statements, traits.pooled, *longest)
                    .await
                    .map_err(named)
            }
            Self::Sqlite {
                target,
                access,
                longest,
            } => {
                let wait = BUSY_TIMEOUT.min(*longest);
                let connection = open_sqlite_within(target, *access, wait).await?;
                Session::on_file(connection, wait).await.map_err(named)
            }
            Self::Trial(inner) => {
                let mut session = Box::pin(inner.open()).await?;
                let deadline = Instant::now() + self.longest();
                session.begin_trial(deadline).await.map_err(named)?;
                Ok(session)
            }
        }
    }
}
