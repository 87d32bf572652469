//! One connection to either engine.

use futures_util::{Stream, TryStreamExt as _};
use sqlx::postgres::{PgArguments, PgQueryResult};
use sqlx::sqlite::{SqliteArguments, SqliteQueryResult};
use sqlx::{
    AssertSqlSafe, Connection as _, Either, Executor as _, PgConnection, SqlSafeStr,
    SqliteConnection,
};
use tokio::task::yield_now;

use super::arg::{Arg, encode};
use super::row::{QueryResult, Row};
use super::sql::{Sql, parameters};

/// After so many rows the other requests of this thread, such as probes, get a turn.
pub(super) const ROWS_AT_A_TIME: usize = 128;

/// An open connection.
pub(super) enum Connection {
    Postgres {
        session: PgConnection,
        /// Whether prepared statements are reused.
        prepares: bool,
    },
    Sqlite(SqliteConnection),
}

impl Connection {
    /// Runs a statement to its end.
    ///
    /// All rows are read, even if only one is needed: sqlx's `fetch_one` and `fetch_optional`
    /// stop SQLite's statement after the first row and drop the error of the commit that
    /// follows. With a full disk, a write that was reported as done would be lost.
    ///
    /// Every statement of the store is awaited here. Debug builds, and so the tests, find an
    /// argument that its text does not use: the drivers ignore it.
    pub async fn run(&mut self, sql: &Sql, args: &[Arg<'_>]) -> Result<QueryResult, sqlx::Error> {
        match self {
            Self::Postgres { session, prepares } => {
                let text = sql.for_postgres();
                debug_assert_eq!(parameters(text.as_str()), args.len(), "{text:?}");
                let args: PgArguments = encode(args).map_err(sqlx::Error::Encode)?;
                let query = sqlx::query_with(text, args).persistent(*prepares && sql.is_prepared());
                let stream = session.fetch_many(query);
                collect(stream, Row::Postgres, PgQueryResult::rows_affected).await
            }
            Self::Sqlite(connection) => {
                let text = sql.for_sqlite();
                debug_assert_eq!(parameters(text.as_str()), args.len(), "{text:?}");
                let args: SqliteArguments = encode(args).map_err(sqlx::Error::Encode)?;
                let stream = connection.fetch_many(sqlx::query_with(text, args));
                let outcome = collect(stream, Row::Sqlite, SqliteQueryResult::rows_affected).await;
                replace_unsynced(connection, &outcome).await;
                outcome
            }
        }
    }

    /// Runs a script of this program: any number of statements that take no arguments. PostgreSQL
    /// gets it in one exchange (the simple protocol), and leaves out what follows one that fails.
    pub async fn run_script(&mut self, script: &str) -> Result<QueryResult, sqlx::Error> {
        self.run_text(AssertSqlSafe(script)).await
    }

    /// Starts a transaction that may write.
    ///
    /// PostgreSQL's isolation level is set explicitly: the server's default may be stricter, and
    /// then waiting for a locked row ends in an error. SQLite takes the write lock at once,
    /// because a transaction that reads first may fail to get it later.
    pub async fn begin(&mut self) -> Result<(), sqlx::Error> {
        let begin = match self {
            Self::Postgres { .. } => "BEGIN ISOLATION LEVEL READ COMMITTED",
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
        };
        self.run_text(begin).await.map(drop)
    }

    /// Ends a transaction.
    pub async fn end(&mut self, commit: bool) -> Result<(), sqlx::Error> {
        self.run_text(if commit { "COMMIT" } else { "ROLLBACK" })
            .await
            .map(drop)
    }

    pub async fn ping(&mut self) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres { session, .. } => session.ping().await,
            Self::Sqlite(connection) => connection.ping().await,
        }
    }

    /// Closes the connection. The other side may already be gone, so an error is only logged.
    pub async fn close(self) {
        let closed = match self {
            Self::Postgres { session, .. } => session.close().await,
            Self::Sqlite(connection) => connection.close().await,
        };
        if let Err(error) = closed {
            tracing::debug!(%error, "a database connection did not close cleanly");
        }
    }

    async fn run_text(&mut self, text: impl SqlSafeStr) -> Result<QueryResult, sqlx::Error> {
        let script = sqlx::raw_sql(text);
        match self {
            Self::Postgres { session, .. } => {
                let stream = session.fetch_many(script);
                collect(stream, Row::Postgres, PgQueryResult::rows_affected).await
            }
            Self::Sqlite(connection) => {
                let stream = connection.fetch_many(script);
                let outcome = collect(stream, Row::Sqlite, SqliteQueryResult::rows_affected).await;
                replace_unsynced(connection, &outcome).await;
                outcome
            }
        }
    }
}

/// Makes sure that a commit which failed because its sync did stays undone.
///
/// SQLite rolls it back, but its frames are in the write-ahead log, complete: if the process died
/// before the next change, recovery would take them for a committed transaction. A transaction that
/// changes nothing takes their place, also where the disk does not sync that either.
async fn replace_unsynced<T>(connection: &mut SqliteConnection, outcome: &Result<T, sqlx::Error>) {
    // https://www.sqlite.org/rescode.html: SQLITE_IOERR_FSYNC.
    let is_unsynced = outcome.as_ref().is_err_and(|error| {
        let fault = error.as_database_error();
        fault.is_some_and(|fault| fault.code().as_deref() == Some("1034"))
    });
    if !is_unsynced {
        return;
    }
    let replaced = async {
        let version: i32 = sqlx::query_scalar("PRAGMA user_version")
            .fetch_one(&mut *connection)
            .await?;
        let same = format!("PRAGMA user_version = {version}");
        sqlx::raw_sql(AssertSqlSafe(same))
            .execute(&mut *connection)
            .await
    };
    if let Err(error) = replaced.await {
        tracing::debug!(%error, "the disk does not sync what replaces a failed change either");
    }
}

async fn collect<R, D>(
    mut stream: impl Stream<Item = Result<Either<D, R>, sqlx::Error>> + Unpin,
    row: fn(R) -> Row,
    affected: fn(&D) -> u64,
) -> Result<QueryResult, sqlx::Error> {
    let mut result = QueryResult {
        rows: Vec::new(),
        affected: 0,
    };
    while let Some(step) = stream.try_next().await? {
        match step {
            Either::Left(done) => result.affected += affected(&done),
            Either::Right(next) => {
                result.rows.push(row(next));
                if result.rows.len().is_multiple_of(ROWS_AT_A_TIME) {
                    yield_now().await;
                }
            }
        }
    }
    Ok(result)
}
