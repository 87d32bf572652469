//! How many reminder mails wait.

use sqlx::{PgConnection, SqliteConnection};

use super::{StoreError, ask};

const WAITING: &str = "SELECT count(*) FROM todoctl_outbox WHERE state = 'pending'";

pub(crate) async fn waiting_mails(session: &mut PgConnection) -> Result<i64, StoreError> {
    let rows: Vec<(i64,)> = ask(session, None, WAITING).await?;
    Ok(rows.first().map_or(0, |row| row.0))
}

pub(crate) async fn waiting_mails_of_file(
    session: &mut SqliteConnection,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(WAITING).fetch_one(session).await?)
}
