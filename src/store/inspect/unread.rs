//! Whether the counts of unread notifications are right.

use sqlx::{PgConnection, SqliteConnection};

use super::{StoreError, ask};

/// Counts that differ from the notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Unread {
    /// How many users have a wrong count.
    pub(crate) wrong: i64,
    /// How many users have unread notifications, or a count.
    pub(crate) users: i64,
}

/// One statement, so one snapshot: triggers change a count in the transaction of its
/// notifications. Both engines know it.
const COMPARED: &str = "
    SELECT count(*) AS users,
           count(CASE WHEN counted <> unread THEN 1 END) AS wrong
    FROM (SELECT sum(counted) AS counted, sum(unread) AS unread
          FROM (SELECT user_id, 0 AS counted, count(*) AS unread
                FROM notifications WHERE NOT is_read GROUP BY user_id
                UNION ALL
                SELECT user_id, unread, 0 FROM todoctl_unread) AS both_sides
          GROUP BY user_id) AS of_users";

impl Unread {
    pub(crate) async fn of_server(
        session: &mut PgConnection,
        schema: &str,
    ) -> Result<Self, StoreError> {
        let rows = ask(session, Some(schema), COMPARED).await?;
        Ok(rows.into_iter().next().ok_or(sqlx::Error::RowNotFound)?)
    }

    pub(crate) async fn of_file(session: &mut SqliteConnection) -> Result<Self, StoreError> {
        Ok(sqlx::query_as(COMPARED).fetch_one(session).await?)
    }
}
