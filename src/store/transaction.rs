//! Units of work of several statements.

use super::StoreError;

/// Runs statements on a writing connection, all in one transaction.
///
/// The body is what [`reading!`](super::reading) and [`writing!`](super::writing) take,
/// but of any number of statements: it uses `&mut *connection` for each, `?` on their
/// errors, and ends with a `Result<_, StoreError>`:
///
/// ```ignore
/// transaction!(self, |connection| {
///     let id = sqlx::query_scalar::<_, i64>(FIRST)
///         .persistent(connection.persistent())
///         .fetch_one(&mut *connection)
///         .await?;
///     sqlx::query(SECOND)
///         .persistent(connection.persistent())
///         .bind(id)
///         .execute(&mut *connection)
///         .await?;
///     Ok(id)
/// })
/// ```
///
/// `Ok` is returned after the commit, `Err` after the rollback. A body that is cancelled
/// loses its connection, and the server takes back what was not committed. A body must not
/// turn a statement's error into `Ok`: PostgreSQL would answer COMMIT, and roll back.
///
/// PostgreSQL's isolation level is named, because a server's default may be another, under
/// which a row that was waited for is an error. SQLite begins with BEGIN IMMEDIATE, because
/// a transaction that read first could not be sure to become a writer. A connection that
/// turns out to be lost at BEGIN is replaced once: nothing was done on it yet.
macro_rules! transaction {
    ($store:expr, |$connection:ident| $work:expr) => {
        match &$store.engine {
            $crate::store::Engine::Postgres(pool) => {
                $crate::store::transaction::transaction!(
                    @pool pool, "BEGIN ISOLATION LEVEL READ COMMITTED", $connection, $work
                )
            }
            $crate::store::Engine::Sqlite(engine) => {
                let done = $crate::store::transaction::transaction!(
                    @pool engine.writer, "BEGIN IMMEDIATE", $connection, $work
                );
                engine.keep_wal_small();
                done
            }
        }
    };
    (@pool $pool:expr, $begin:literal, $connection:ident, $work:expr) => {{
        let mut retried = false;
        let mut $connection = loop {
            let mut begun = $pool.lease().await?;
            let outcome = sqlx::raw_sql($begin).execute(&mut *begun).await;
            if outcome.is_ok() {
                break begun;
            }
            begun.settle(&outcome);
            match outcome.map_err($crate::store::StoreError::from) {
                Err($crate::store::StoreError::ConnectionLost(_)) if !retried => retried = true,
                Err(error) => return Err(error.into()),
                Ok(_) => {}
            }
        };
        let outcome = $crate::store::transaction::work(async { $work }).await;
        let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = sqlx::raw_sql(end).execute(&mut *$connection).await;
        $connection.finish(&ended);
        match (outcome, ended) {
            (Ok(_), Err(error)) => Err($crate::store::StoreError::from(error)),
            (outcome, _) => outcome,
        }
    }};
}
pub(super) use transaction;

/// Tells the compiler what a body comes to.
pub(super) fn work<T>(
    body: impl Future<Output = Result<T, StoreError>>,
) -> impl Future<Output = Result<T, StoreError>> {
    body
}
