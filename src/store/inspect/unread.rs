//! Whether the counts of unread notifications are right.

use super::{Asked, StoreError};

/// Counts that differ from the notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Unread {
    /// How many users have a wrong count.
    pub(crate) wrong: i64,
    /// How many users have unread notifications, or a count.
    pub(crate) users: i64,
}

/// One statement, so one snapshot: triggers change a count in the transaction of its
/// notifications.
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
    pub(crate) async fn ask(session: Asked<'_>) -> Result<Self, StoreError> {
        let rows = session.rows(COMPARED).await?;
        Ok(rows.into_iter().next().ok_or(sqlx::Error::RowNotFound)?)
    }
}
