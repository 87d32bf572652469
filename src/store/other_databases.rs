//! The other databases of a server that have the identity of the service's.

use std::time::Duration;

use sqlx::Connection as _;

use crate::config::PostgresTarget;

use super::connect::open_postgres_within;
use super::content::Content;
use super::error::StoreError;
use super::inspect;

/// A database that the service may have had before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtherDatabase {
    pub(crate) name: String,
    /// As [`Content`] counts them.
    pub(crate) tasks: i64,
    /// Whether its name has the configured one in it, as `todo_old` has.
    pub(crate) is_named_after: bool,
    /// A name that no database has yet.
    pub(crate) free_name: String,
}

/// Those that no daemon uses now. Names that have this one's in them come first.
const CANDIDATES: &str = "
    SELECT d.datname::text AS name, n.is_named_after,
           current_database() || '_empty' || (
               SELECT coalesce(nullif(count(*), 0)::text, '') FROM pg_catalog.pg_database e
               WHERE starts_with(e.datname::text, current_database() || '_empty')) AS free_name
    FROM pg_catalog.pg_database d,
         LATERAL (SELECT position(current_database() IN d.datname::text) > 0 AS is_named_after) n
    WHERE d.datallowconn AND NOT d.datistemplate AND d.datname <> current_database()
      AND has_database_privilege(d.oid, 'CONNECT')
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
                      WHERE a.datid = d.oid AND a.application_name = 'todoctl')
    ORDER BY n.is_named_after DESC, d.oid DESC
    LIMIT 8";

#[derive(sqlx::FromRow)]
struct Candidate {
    name: String,
    is_named_after: bool,
    free_name: String,
}

impl OtherDatabase {
    /// Those that have the identity `id` and tasks, by the names first. One that does not answer
    /// within `limit` is left out.
    pub(crate) async fn find(server: &PostgresTarget, id: &str, limit: Duration) -> Vec<Self> {
        let candidates = candidates(server, limit).await.unwrap_or_default();
        let mut found: Vec<Self> = Vec::new();
        for Candidate {
            name,
            is_named_after,
            free_name,
        } in candidates
        {
            // What is named after this one is meant more likely than others.
            if !is_named_after && !found.is_empty() {
                break;
            }
            let target = PostgresTarget {
                database: name.clone(),
                direct: None,
                ..server.server().clone()
            };
            if let Some(content) = content_of(&target, limit).await
                && content.id.as_deref() == Some(id)
                && content.tasks > 0
            {
                found.push(Self {
                    name,
                    tasks: content.tasks,
                    is_named_after,
                    free_name,
                });
            }
        }
        found
    }
}

async fn candidates(
    server: &PostgresTarget,
    limit: Duration,
) -> Result<Vec<Candidate>, StoreError> {
    let mut session = open_postgres_within(server.server(), limit).await?;
    let candidates = inspect::ask(&mut session, None, CANDIDATES).await?;
    session.close().await?;
    Ok(candidates)
}

async fn content_of(target: &PostgresTarget, limit: Duration) -> Option<Content> {
    let mut session = open_postgres_within(target, limit).await.ok()?;
    let content = Content::of_server(&mut session, Content::QUERY)
        .await
        .ok()?;
    session.close().await.ok()?;
    Some(content)
}
