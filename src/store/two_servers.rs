//! Whether two addresses lead to one running server, or to two with copies of one database.
//!
//! A copy of a server's files has everything that the original has. Addresses tell nothing: a pooler
//! may be on another machine, and both may lead to the same server by different names.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use crate::config::{DatabaseTarget, PostgresTarget};

use super::connect::open_postgres;
use super::connect_error::ConnectError;
use super::server::{close_quietly, optional};

/// Nothing on a standby, which is another server on purpose.
const STARTED: &str = "
    SELECT to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')
    WHERE NOT pg_is_in_recovery()";

/// Locks a number that nobody else uses, until the transaction ends.
const LOCK: &str = "
    SELECT number FROM (SELECT (random() * 9e18)::bigint AS number) AS chosen
    WHERE pg_try_advisory_xact_lock(number)";

/// When each server was started, if they are two. Where several nodes serve one database, a lock
/// that one has given is known to the other.
pub(super) async fn two_servers(
    one: &PostgresTarget,
    other: &PostgresTarget,
) -> Result<Option<[String; 2]>, ConnectError> {
    let mut first = open_postgres(one).await?;
    let mut second = match open_postgres(other).await {
        Ok(second) => second,
        Err(error) => {
            close_quietly(first).await;
            return Err(error);
        }
    };
    let found = compare(&mut first, &mut second).await;
    close_quietly(first).await;
    close_quietly(second).await;
    found.map_err(|error| ConnectError::from_sqlx(&DatabaseTarget::Postgres(one.clone()), &error))
}

async fn compare(
    first: &mut PgConnection,
    second: &mut PgConnection,
) -> Result<Option<[String; 2]>, sqlx::Error> {
    let starts = [
        optional(first, STARTED).await?,
        optional(second, STARTED).await?,
    ];
    let [Some(one), Some(other)] = starts else {
        return Ok(None);
    };
    if one == other {
        return Ok(None);
    }
    let mut holding = first.begin().await?;
    let lock = sqlx::query_scalar(LOCK).persistent(false);
    let number: i64 = lock.fetch_one(&mut *holding).await?;
    let question = format!("SELECT pg_try_advisory_xact_lock({number})");
    let question = sqlx::raw_sql(AssertSqlSafe(question));
    let is_free: bool = question.fetch_one(second).await?.try_get(0)?;
    holding.rollback().await?;
    Ok(is_free.then_some([one, other]))
}
