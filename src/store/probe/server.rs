//! Questions to an open PostgreSQL server, by the simple protocol: a pooler may hand the
//! next exchange to another server connection.

use sqlx::{AssertSqlSafe, FromRow as _, Row as _};

use crate::domain::Timestamp;
use crate::store::StoreError;

use super::{Engine, ProbeConnection};

/// What the role may do, in the schema that it works in.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a row of answers, each yes or no"
)]
pub struct Role {
    /// The role.
    pub name: String,
    /// The schema that new tables go into; `None` where the search path leads nowhere.
    pub schema: Option<String>,
    /// Whether it may make tables there.
    pub may_create: bool,
    /// Whether the server is a standby.
    pub in_recovery: bool,
    /// Whether transactions begin read-only.
    pub read_only: bool,
    /// Whether the schema has the table of tasks.
    pub has_tasks: bool,
    /// Tables of the service that it may not read and write.
    pub closed_tables: Vec<String>,
    /// Sequences behind their `serial` columns that it may not draw numbers from.
    pub closed_sequences: Vec<String>,
}

const ROLE: &str = "
    SELECT current_user::text AS name,
           current_schema()::text AS schema,
           coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
           pg_is_in_recovery() AS in_recovery,
           current_setting('transaction_read_only')::bool AS read_only,
           to_regclass('tasks') IS NOT NULL AS has_tasks,
           ARRAY(
               SELECT c.relname::text
               FROM pg_catalog.pg_class c
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p')
                 AND (c.relname IN ('tasks', 'notifications', 'user_api_keys')
                      OR c.relname LIKE 'todoctl\\_%')
                 AND NOT (has_table_privilege(c.oid, 'SELECT')
                          AND has_table_privilege(c.oid, 'INSERT')
                          AND has_table_privilege(c.oid, 'UPDATE')
                          AND has_table_privilege(c.oid, 'DELETE'))
               ORDER BY c.relname
           ) AS closed_tables,
           ARRAY(
               SELECT s.relname::text
               FROM pg_catalog.pg_class s
               JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
               JOIN pg_catalog.pg_depend d ON d.objid = s.oid AND d.deptype = 'a'
               JOIN pg_catalog.pg_class c ON c.oid = d.refobjid
               WHERE n.nspname = current_schema()
                 AND (c.relname IN ('tasks', 'notifications', 'user_api_keys')
                      OR c.relname LIKE 'todoctl\\_%')
                 -- CASE, as WHERE has no order and the function knows sequences alone.
                 AND CASE WHEN s.relkind = 'S'
                          THEN NOT has_sequence_privilege(s.oid, 'USAGE') END
               ORDER BY s.relname
           ) AS closed_sequences";

/// How many connections there may be, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Capacity {
    /// `max_connections`.
    pub max: i32,
    /// Of these, kept for superusers and the like.
    pub reserved: i32,
    /// Client connections at this moment, this one included.
    pub used: i64,
    /// The role's own limit; -1 is none.
    pub role_limit: i32,
    /// The database's own limit; -1 is none.
    pub database_limit: i32,
}

const CAPACITY: &str = "
    SELECT current_setting('max_connections')::int AS max,
           current_setting('superuser_reserved_connections')::int
               + coalesce(current_setting('reserved_connections', true), '0')::int AS reserved,
           (SELECT count(*) FROM pg_catalog.pg_stat_activity
            WHERE backend_type IS NULL OR backend_type = 'client backend') AS used,
           (SELECT rolconnlimit FROM pg_catalog.pg_roles WHERE rolname = current_user) AS role_limit,
           (SELECT datconnlimit FROM pg_catalog.pg_database WHERE datname = current_database())
               AS database_limit";

const CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// A setting that was asked for, and what the server made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// What it is; `None` where the server knows no such setting.
    pub value: Option<String>,
}

impl ProbeConnection {
    /// What the role may do; `None` on SQLite.
    pub async fn role(&mut self) -> Result<Option<Role>, StoreError> {
        let Engine::Postgres(connection) = &mut self.0 else {
            return Ok(None);
        };
        let row = sqlx::raw_sql(ROLE).fetch_one(&mut **connection).await?;
        Ok(Some(Role::from_row(&row)?))
    }

    /// How many connections there may be; `None` on SQLite.
    pub async fn capacity(&mut self) -> Result<Option<Capacity>, StoreError> {
        let Engine::Postgres(connection) = &mut self.0 else {
            return Ok(None);
        };
        let row = sqlx::raw_sql(CAPACITY).fetch_one(&mut **connection).await?;
        Ok(Some(Capacity::from_row(&row)?))
    }

    /// The server's time; `None` on SQLite, which has none of its own.
    pub async fn server_time(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let Engine::Postgres(connection) = &mut self.0 else {
            return Ok(None);
        };
        let row = sqlx::raw_sql(CLOCK).fetch_one(&mut **connection).await?;
        Ok(Some(Timestamp::from_micros_clamped(row.try_get(0)?)))
    }

    /// What the server made of the settings `names`; empty on SQLite.
    pub async fn settings(&mut self, names: &[&str]) -> Result<Vec<Setting>, StoreError> {
        let mut settings = Vec::with_capacity(names.len());
        if let Engine::Postgres(connection) = &mut self.0 {
            for &name in names {
                let text = format!(
                    "SELECT current_setting('{}', true)",
                    name.replace('\'', "''")
                );
                let query = sqlx::raw_sql(AssertSqlSafe(text));
                let value = query.fetch_one(&mut **connection).await?.try_get(0)?;
                settings.push(Setting {
                    name: name.to_owned(),
                    value,
                });
            }
        }
        Ok(settings)
    }
}
