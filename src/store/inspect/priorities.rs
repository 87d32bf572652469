//! Priorities of tasks that are none of todoctl's.

use sqlx::PgConnection;

use super::{StoreError, ask, literals};
use crate::domain::Priority;

/// The priorities of tasks, other than todoctl's, whatever the type of the column is.
pub(crate) async fn unknown_priorities(
    session: &mut PgConnection,
    schema: &str,
) -> Result<Vec<String>, StoreError> {
    let query = format!(
        "SELECT DISTINCT left(priority::text, 30) FROM tasks
         WHERE initcap(priority::text) NOT IN ({}) ORDER BY 1 LIMIT 5",
        literals(Priority::ALL.iter().map(|one| one.as_str()))
    );
    let rows: Vec<(String,)> = ask(session, Some(schema), &query).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}
