//! How many session tokens of todoctl are valid.

use sqlx::{AssertSqlSafe, PgConnection, SqliteConnection};

use crate::domain::Timestamp;

use super::{StoreError, ask};

const VALID: &str = "SELECT count(*) FROM todoctl_sessions WHERE revoked_at IS NULL";

pub(crate) async fn valid_sessions(session: &mut PgConnection) -> Result<i64, StoreError> {
    let query = format!("{VALID} AND expires_at > now()");
    let rows: Vec<(i64,)> = ask(session, None, &query).await?;
    Ok(rows.first().map_or(0, |row| row.0))
}

pub(crate) async fn valid_sessions_of_file(
    session: &mut SqliteConnection,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let query = format!("{VALID} AND expires_at > {}", now.micros());
    let query = sqlx::query_scalar(AssertSqlSafe(query));
    Ok(query.fetch_one(session).await?)
}
