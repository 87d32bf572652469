//! Single statements through a pooler that gives each transaction another server connection.
//!
//! sqlx parses a statement in one exchange and runs it in the next. Between the two such a
//! pooler may lend the server connection to another client, whose statement would then be
//! run with these parameters. So where statements are not prepared for good
//! ([`Lease::persistent`]), a lone one is put into a transaction too; BEGIN, COMMIT and
//! ROLLBACK are sent by the simple protocol, which is one exchange.

use super::pool::Lease;
use super::{PostgresBackend, SqliteBackend};

impl Lease<'_, PostgresBackend> {
    /// Holds on to one server connection, where a pooler might give another.
    pub async fn pin(&mut self) -> Result<(), sqlx::Error> {
        if self.persistent() {
            return Ok(());
        }
        let begin = sqlx::raw_sql("BEGIN ISOLATION LEVEL READ COMMITTED");
        begin.execute(&mut **self).await.map(drop)
    }

    /// Lets go of it again: what was done stands only if the statement succeeded.
    pub async fn unpin<T>(&mut self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if self.persistent() {
            return outcome;
        }
        match outcome {
            Ok(answer) => {
                sqlx::raw_sql("COMMIT").execute(&mut **self).await?;
                Ok(answer)
            }
            Err(error) => {
                let ended = sqlx::raw_sql("ROLLBACK").execute(&mut **self).await;
                if ended.is_err() {
                    self.spoil();
                }
                Err(error)
            }
        }
    }
}

/// There is nothing between SQLite and its file.
impl Lease<'_, SqliteBackend> {
    #[allow(clippy::unused_async, reason = "what PostgreSQL's does is waited for")]
    pub async fn pin(&mut self) -> Result<(), sqlx::Error> {
        Ok(())
    }

    #[allow(clippy::unused_async, reason = "what PostgreSQL's does is waited for")]
    pub async fn unpin<T>(&mut self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        outcome
    }
}
