//! A unit of work within a trial: a savepoint of its transaction.

use super::connection::Connection;

const BEGIN: &str = "SAVEPOINT todoctl_unit";
const KEEP: &str = "RELEASE SAVEPOINT todoctl_unit";
/// What a server defers to the commit is done before, because a trial has none.
const KEEP_ON_SERVER: &str = "SET CONSTRAINTS ALL IMMEDIATE; RELEASE SAVEPOINT todoctl_unit";
const UNDO: &str = "ROLLBACK TO SAVEPOINT todoctl_unit; RELEASE SAVEPOINT todoctl_unit";

pub(super) async fn begin(connection: &mut Connection) -> Result<(), sqlx::Error> {
    connection.run_script(BEGIN).await.map(drop)
}

/// Keeps what was done, unless the database refuses it.
pub(super) async fn keep(connection: &mut Connection) -> Result<(), sqlx::Error> {
    let keep = match connection {
        Connection::Postgres { .. } => KEEP_ON_SERVER,
        Connection::Sqlite(_) => KEEP,
    };
    let kept = connection.run_script(keep).await.map(drop);
    // A session that ended with this error cannot undo anything: the first error tells why.
    if matches!(kept, Err(sqlx::Error::Database(_)))
        && let Err(error) = undo(connection).await
    {
        tracing::debug!(%error, "a refused unit of the trial was not undone");
    }
    kept
}

pub(super) async fn undo(connection: &mut Connection) -> Result<(), sqlx::Error> {
    connection.run_script(UNDO).await.map(drop)
}
