//! The other databases of a server that have the identity of the service's.

use std::time::Duration;

use sqlx::Connection as _;

use crate::config::PostgresTarget;

use super::connect::open_postgres_within;
use super::content::Content;
use super::error::StoreError;
use super::identity::Identity;
use super::inspect;
use super::server::{close_quietly, optional};

/// A database that the service may have had before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtherDatabase {
    pub(crate) name: String,
    /// As [`Content`] counts them.
    pub(crate) tasks: i64,
    /// Whether it is the very one, which was renamed, and not a copy; a copy may be an old one.
    pub(crate) is_original: bool,
    /// A name that no database has yet.
    pub(crate) free_name: String,
}

/// Those that no daemon uses now. Names that have this one's in them come first.
const CANDIDATES: &str = "
    SELECT d.datname::text AS name,
           current_database() || '_aside' || (
               SELECT coalesce(nullif(count(*), 0)::text, '') FROM pg_catalog.pg_database e
               WHERE starts_with(e.datname::text, current_database() || '_aside')) AS free_name
    FROM pg_catalog.pg_database d
    WHERE d.datallowconn AND NOT d.datistemplate AND d.datname <> current_database()
      AND has_database_privilege(d.oid, 'CONNECT')
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
                      WHERE a.datid = d.oid AND a.application_name = 'todoctl')
    ORDER BY position(current_database() IN d.datname::text) > 0 DESC, d.oid DESC
    LIMIT 8";

#[derive(sqlx::FromRow)]
struct Candidate {
    name: String,
    free_name: String,
}

impl OtherDatabase {
    /// Those that have the identity `id` and tasks; only the original, where `original`
    /// ([`Parts::database`](super::identity::Parts)) tells which it is. One that does not answer within `limit`
    /// is left out.
    pub(crate) async fn find(
        server: &PostgresTarget,
        id: &str,
        original: Option<&str>,
        limit: Duration,
    ) -> Vec<Self> {
        let candidates = candidates(server, limit).await.unwrap_or_default();
        let mut found: Vec<Self> = Vec::new();
        for Candidate { name, free_name } in candidates {
            if let Some(served) = Served::find(server.server(), &name, limit).await
                && served.content.id.as_deref() == Some(id)
                && served.content.tasks > 0
            {
                let other = Self {
                    name,
                    tasks: served.content.tasks,
                    is_original: original == Some(&served.database),
                    free_name,
                };
                if other.is_original {
                    return vec![other];
                }
                found.push(other);
            }
        }
        found
    }
}

/// A database that has the service's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) content: Content,
    /// [`Parts::database`](super::identity::Parts).
    pub(crate) database: String,
    /// Whether its server is in recovery, and so read-only.
    pub(crate) is_standby: bool,
}

/// The simple protocol returns text.
const IS_STANDBY: &str = "SELECT pg_is_in_recovery()::text";

impl Served {
    /// The database `name` of this server; `None` if it does not tell.
    pub(crate) async fn find(server: &PostgresTarget, name: &str, limit: Duration) -> Option<Self> {
        let target = PostgresTarget {
            database: name.to_owned(),
            direct: None,
            ..server.clone()
        };
        let mut session = open_postgres_within(&target, limit).await.ok()?;
        let content = Content::of_server(&mut session, Content::QUERY).await;
        let identity = Identity::of_server(&mut session).await;
        let is_standby = optional(&mut session, IS_STANDBY).await;
        close_quietly(session).await;
        Some(Self {
            content: content.ok()?,
            database: identity.ok()?.parts().database,
            is_standby: is_standby.ok()?.as_deref() == Some("true"),
        })
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
