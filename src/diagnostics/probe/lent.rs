//! Server connections as a pooler lends them: with what earlier clients have left in them.

use std::time::{Duration, Instant};

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, FromRow as _, PgConnection, Row as _};
use tokio::time::timeout;

use crate::config::PostgresTarget;
use crate::store::inspect::tables;
use crate::store::{StoreError, open_postgres_within};

use super::connection::close;
use super::pooler::CLOCK_JITTER;
use super::work::SettingNow;

/// How many are looked at, at most. They are held together, so that each is another one.
const MOST: usize = 8;

/// How long another one may take while the others are held.
const ANOTHER: Duration = Duration::from_millis(300);

/// What differs between a session and a new one of the same role.
#[derive(Debug)]
pub(crate) struct LentSession {
    /// Whether the server connection was opened for it.
    pub(crate) is_new: bool,
    /// The settings that `SET` has changed.
    pub(crate) changed: Vec<SettingNow>,
    /// The role that acts, and the one that has logged in.
    pub(crate) role: String,
    pub(crate) login: String,
    /// Whether the search path leads to other tasks, or to none.
    pub(crate) finds_other_tasks: bool,
    /// The number of its server process.
    pub(crate) pid: i32,
    /// Where its search path creates tables.
    pub(crate) schema: Option<String>,
    /// Temporary tables that an earlier client has left in it, with names of the service's.
    pub(crate) temporary: Vec<String>,
}

/// In one exchange. A short time limit of the session itself must not end it. A pooler itself sets
/// the settings that a client asks for at its login.
fn questions() -> String {
    let tables = tables();
    format!(
        "
    BEGIN;
    SELECT 'statement_timeout' AS name, current_setting('statement_timeout') AS shown,
           CAST(CAST(EXTRACT(EPOCH FROM CAST(current_setting('statement_timeout') AS interval)) * 1000
                     AS bigint) AS text) AS value,
           'session' AS source;
    SET LOCAL statement_timeout TO DEFAULT;
    SELECT current_setting('statement_timeout') AS usual_limit;
    SET LOCAL statement_timeout = '5s';
    SELECT current_user::text AS role, session_user::text AS login,
           CAST(to_regclass('tasks') AS oid)::text AS tasks,
           pg_backend_pid() AS pid, current_schema()::text AS schema,
           ARRAY(SELECT c.relname::text FROM pg_catalog.pg_class c
                 WHERE c.relnamespace = pg_my_temp_schema() AND c.relkind IN ('r', 'p', 'v')
                   AND c.relname IN ({tables})) AS temporary,
           (SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp() - backend_start) AS double precision)
            FROM pg_catalog.pg_stat_activity WHERE pid = pg_backend_pid()) AS age;
    SELECT name, setting AS value, current_setting(name) AS shown, source
    FROM pg_catalog.pg_settings
    WHERE source = 'session' AND setting IS DISTINCT FROM reset_val
      AND name NOT IN ('application_name', 'client_encoding', 'DateStyle', 'IntervalStyle',
                       'TimeZone', 'standard_conforming_strings', 'extra_float_digits',
                       'default_tablespace', 'statement_timeout')
    ORDER BY name;
    SET LOCAL search_path TO DEFAULT;
    SELECT CAST(to_regclass('tasks') AS oid)::text AS tasks"
    )
}

/// The server connections that are lent at this moment, up to the first new one: where there is no
/// pooler, each is new.
pub(crate) async fn lent_sessions(
    target: &PostgresTarget,
    limit: Duration,
) -> Result<Vec<LentSession>, StoreError> {
    let begun = Instant::now();
    let (first, session) = lend(target, limit, begun).await?;
    let mut held = vec![first];
    let mut sessions = vec![session];
    while sessions.len() < MOST && sessions.last().is_some_and(|one| !one.is_new) {
        // The pool is used up.
        let Ok(Ok((another, session))) = timeout(ANOTHER, lend(target, ANOTHER, begun)).await
        else {
            break;
        };
        held.push(another);
        sessions.push(session);
    }
    for mut connection in held {
        // PgBouncer closes the server connection of a client that leaves in a transaction.
        let _ = sqlx::raw_sql("ROLLBACK").execute(&mut connection).await;
        close(connection).await;
    }
    Ok(sessions)
}

async fn lend(
    target: &PostgresTarget,
    limit: Duration,
    begun: Instant,
) -> Result<(PgConnection, LentSession), StoreError> {
    let mut connection = open_postgres_within(target, limit).await?;
    let rows = sqlx::raw_sql(AssertSqlSafe(questions()))
        .fetch_all(&mut connection)
        .await?;
    let [limit, usual, session, changed @ .., of_new] = &rows[..] else {
        return Err(sqlx::Error::RowNotFound.into());
    };
    let limit = SettingNow::from_row(limit)?;
    let usual: String = usual.try_get("usual_limit")?;
    let changed: Result<Vec<SettingNow>, sqlx::Error> =
        changed.iter().map(SettingNow::from_row).collect();
    let mut changed = changed?;
    changed.extend((limit.shown != usual).then_some(limit));
    let tasks = |row: &PgRow| row.try_get::<Option<String>, _>("tasks");
    let finds_other_tasks = tasks(session)? != tasks(of_new)?;
    // Hidden from the role that acts after `SET ROLE`.
    let age: Option<f64> = session.try_get("age")?;
    let longest = (begun.elapsed() + CLOCK_JITTER).as_secs_f64();
    Ok((
        connection,
        LentSession {
            is_new: age.is_some_and(|age| age <= longest),
            changed,
            role: session.try_get("role")?,
            login: session.try_get("login")?,
            finds_other_tasks,
            pid: session.try_get("pid")?,
            schema: session.try_get("schema")?,
            temporary: session.try_get("temporary")?,
        },
    ))
}
