//! Questions to a PostgreSQL server, by the simple protocol: a pooler may run the next
//! exchange on another server connection.

use sqlx::{AssertSqlSafe, Row as _};

use crate::config::sql_literal;
use crate::domain::Timestamp;
use crate::store::{PostgresFault, StoreError};

use super::connection::ServerConnection;

/// What the role may do.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a row of answers, each yes or no"
)]
pub(crate) struct Role {
    /// The role that acts, which is another than the login's after `SET role`.
    pub(crate) name: String,
    pub(crate) login: String,
    pub(crate) search_path: String,
    /// Schemas of the search path that exist and that it may not use, quoted.
    pub(crate) unusable: Vec<String>,
    /// Whether one of them has the service's tables.
    pub(crate) has_tables: bool,
    /// Where new tables are created; `None` if the search path names no usable schema.
    pub(crate) schema: Option<String>,
    /// Whether it may create tables there.
    pub(crate) may_create: bool,
    /// Whether the server is a standby.
    pub(crate) in_recovery: bool,
    pub(crate) read_only: bool,
    /// The settings that role or database have given to this session when it began.
    pub(crate) given: Vec<String>,
    pub(crate) has_tasks: bool,
    /// The service's tables and sequences that it may not use as the daemon does.
    pub(crate) closed: Vec<String>,
    /// What it needs, as `GRANT` has it: `SELECT ON TABLE public.tasks, public.notifications`.
    pub(crate) missing: Vec<String>,
    /// A superuser that may log in, or else the owner of the database.
    pub(crate) administrator: Option<String>,
}

impl Role {
    /// Whether the search path names no schema that exists.
    pub(crate) fn has_no_schema(&self) -> bool {
        self.schema.is_none() && self.unusable.is_empty()
    }
}

/// The daemon only reads the record of the migrations, the identity and the counts of unread
/// notifications, which a function writes as its owner. Ids come from the defaults of columns.
const ROLE: &str = "
    WITH ours AS (
        SELECT c.oid, c.relname, n.nspname
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND pg_catalog.pg_table_is_visible(c.oid)
          AND (c.relname IN ('tasks', 'notifications', 'user_api_keys', '_sqlx_migrations')
               OR left(c.relname, 8) = 'todoctl_')
    ), missing AS (
        SELECT o.relname::text AS name,
               string_agg(p.privilege, ', ' ORDER BY p.number) || ' ON TABLE ' AS what,
               format('%I.%I', o.nspname, o.relname) AS object
        FROM ours o
        CROSS JOIN (VALUES (1, 'SELECT'), (2, 'INSERT'), (3, 'UPDATE'), (4, 'DELETE'))
            AS p (number, privilege)
        WHERE NOT has_table_privilege(o.oid, p.privilege)
          AND (p.number = 1
               OR o.relname NOT IN ('_sqlx_migrations', 'todoctl_identity', 'todoctl_unread'))
        GROUP BY o.relname, o.nspname
        UNION
        SELECT s.relname::text, 'USAGE ON SEQUENCE ', format('%I.%I', n.nspname, s.relname)
        FROM ours o
        JOIN pg_catalog.pg_attrdef a ON a.adrelid = o.oid
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass
            AND d.objid = a.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass
        JOIN pg_catalog.pg_class s ON s.oid = d.refobjid
        JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
        -- CASE, as WHERE has no order and the function knows sequences alone.
        WHERE CASE WHEN s.relkind = 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE') END
    ), unusable AS (
        SELECT n.oid, n.nspname
        FROM pg_catalog.pg_namespace n
        WHERE NOT has_schema_privilege(n.oid, 'USAGE')
          AND quote_ident(n.nspname) IN (
              SELECT CASE WHEN btrim(entry) IN ('$user', '\"$user\"') THEN quote_ident(current_user)
                          ELSE btrim(entry) END
              FROM unnest(string_to_array(current_setting('search_path'), ',')) AS entry)
    )
    SELECT current_user::text AS name,
           session_user::text AS login,
           current_setting('search_path') AS search_path,
           ARRAY(SELECT quote_ident(nspname) FROM unusable ORDER BY 1) AS unusable,
           EXISTS (SELECT FROM unusable u JOIN pg_catalog.pg_class c ON c.relnamespace = u.oid
                   WHERE c.relname = 'tasks') AS has_tables,
           current_schema()::text AS schema,
           coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
           pg_is_in_recovery() AS in_recovery,
           -- As a new session has it.
           (SELECT CASE WHEN source = 'session' THEN reset_val ELSE setting END = 'on'
            FROM pg_catalog.pg_settings WHERE name = 'default_transaction_read_only') AS read_only,
           ARRAY(SELECT s.name FROM pg_catalog.pg_settings s
                 WHERE s.name IN ('default_transaction_read_only', 'search_path')
                   AND s.source IN ('global', 'database', 'user', 'database user')) AS given,
           to_regclass('tasks') IS NOT NULL AS has_tasks,
           ARRAY(SELECT name FROM missing ORDER BY what, name) AS closed,
           ARRAY(SELECT what || string_agg(object, ', ' ORDER BY object)
                 FROM missing GROUP BY what ORDER BY what) AS missing,
           coalesce(
               (SELECT rolname::text FROM pg_catalog.pg_roles
                WHERE rolsuper AND rolcanlogin
                ORDER BY rolname <> 'postgres', rolname LIMIT 1),
               (SELECT pg_get_userbyid(datdba)::text FROM pg_catalog.pg_database
                WHERE datname = current_database())
           ) AS administrator";

/// How many connections the server allows, and how many it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Capacity {
    /// `max_connections`.
    pub(crate) max: i32,
    /// Of these, reserved for superusers and some roles.
    pub(crate) reserved: i32,
    /// Client connections, this one included.
    pub(crate) used: i64,
    /// The role's own limit; -1 is none.
    pub(crate) role_limit: i32,
    /// The database's own limit; -1 is none.
    pub(crate) database_limit: i32,
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

/// What a search of tasks can use.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a row of answers, each yes or no"
)]
pub(crate) struct Search {
    /// Whether the tasks are a table that has columns for folded texts.
    pub(crate) is_migrated: bool,
    /// Whether the index is there and valid.
    pub(crate) has_index: bool,
    /// The schema of the extension `pg_trgm`, quoted; `None` if it is not in the database.
    pub(crate) extension: Option<String>,
    /// Whether the role may use that schema.
    pub(crate) may_use_extension: bool,
    /// Whether the server has its files.
    pub(crate) is_available: bool,
    /// Whether the role may create it.
    pub(crate) may_create: bool,
    /// Whether the role may create an index of the tasks.
    pub(crate) owns_tasks: bool,
}

/// What the daemon creates for searches: the extension, where it is missing, and an index. This one
/// is of a table with one row, which nobody changes.
const BUILD: [&str; 2] = [
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "CREATE INDEX ON todoctl_identity (id)",
];

/// The extension is trusted since PostgreSQL 13.
const SEARCH: &str = "
    SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute
                   JOIN pg_catalog.pg_class c ON c.oid = attrelid
                   WHERE attrelid = to_regclass('tasks') AND attname = 'search_title'
                     AND NOT attisdropped AND c.relkind IN ('r', 'p')) AS is_migrated,
           EXISTS (SELECT FROM pg_catalog.pg_index x
                   JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid
                   WHERE x.indrelid = to_regclass('tasks') AND c.relname = 'tasks_search_idx'
                     AND x.indisvalid) AS has_index,
           (SELECT quote_ident(nspname) FROM pg_catalog.pg_extension
            JOIN pg_catalog.pg_namespace ON pg_namespace.oid = extnamespace
            WHERE extname = 'pg_trgm') AS extension,
           coalesce((SELECT has_schema_privilege(extnamespace, 'USAGE') FROM pg_catalog.pg_extension
                     WHERE extname = 'pg_trgm'), false) AS may_use_extension,
           EXISTS (SELECT FROM pg_catalog.pg_available_extensions
                   WHERE name = 'pg_trgm') AS is_available,
           (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
               OR current_setting('server_version_num')::int >= 130000
                  AND has_database_privilege(current_database(), 'CREATE') AS may_create,
           coalesce((SELECT pg_has_role(relowner, 'USAGE') FROM pg_catalog.pg_class
                     WHERE oid = to_regclass('tasks')), false) AS owns_tasks";

/// Without a host for a socket.
const OWN_ADDRESS: &str =
    "SELECT host(inet_server_addr()), coalesce(inet_server_port(), current_setting('port')::int)";

const CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// A setting, and the value that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) name: String,
    /// `None` if the server does not know the setting.
    pub(crate) value: Option<String>,
}

impl ServerConnection {
    pub(crate) async fn role(&mut self) -> Result<Role, StoreError> {
        self.row(ROLE).await
    }

    pub(crate) async fn search(&mut self) -> Result<Search, StoreError> {
        self.row(SEARCH).await
    }

    /// Why the index for searches cannot be created, as by an event trigger; `None` if it can, or if
    /// that cannot be tried. Nothing stays.
    pub(crate) async fn refusal_of_index(
        &mut self,
        needs_extension: bool,
    ) -> Result<Option<PostgresFault>, StoreError> {
        let statements = &BUILD[usize::from(!needs_extension)..];
        let text = format!(
            "BEGIN; SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '2s'; {}",
            statements.join("; ")
        );
        let tried = sqlx::raw_sql(AssertSqlSafe(text))
            .execute(&mut self.0)
            .await;
        sqlx::raw_sql("ROLLBACK").execute(&mut self.0).await?;
        let fault = tried
            .err()
            .and_then(|error| StoreError::from(error).postgres());
        // Others say nothing about the table of tasks.
        Ok(fault.filter(|fault| fault.raised_in.is_some()))
    }

    pub(crate) async fn capacity(&mut self) -> Result<Capacity, StoreError> {
        self.row(CAPACITY).await
    }

    /// Where the server has accepted this session, or its pooler.
    pub(crate) async fn own_address(&mut self) -> Result<(Option<String>, u16), StoreError> {
        let row = sqlx::raw_sql(OWN_ADDRESS).fetch_one(&mut self.0).await?;
        let port: i32 = row.try_get(1)?;
        Ok((row.try_get(0)?, u16::try_from(port).unwrap_or_default()))
    }

    /// Whether the table of the identity is there, and the role may not read it.
    pub(crate) async fn hides_identity(&mut self) -> Result<bool, StoreError> {
        const QUESTION: &str = "SELECT NOT coalesce(
            has_table_privilege(to_regclass('todoctl_identity'), 'SELECT'), true)";
        let row = sqlx::raw_sql(QUESTION).fetch_one(&mut self.0).await?;
        Ok(row.try_get(0)?)
    }

    pub(crate) async fn server_time(&mut self) -> Result<Timestamp, StoreError> {
        let row = sqlx::raw_sql(CLOCK).fetch_one(&mut self.0).await?;
        Ok(Timestamp::from_micros_clamped(row.try_get(0)?))
    }

    /// The values that the settings `names` have.
    pub(crate) async fn settings(&mut self, names: &[&str]) -> Result<Vec<Setting>, StoreError> {
        let mut settings = Vec::with_capacity(names.len());
        for &name in names {
            let text = format!("SELECT current_setting({}, true)", sql_literal(name));
            let query = sqlx::raw_sql(AssertSqlSafe(text));
            settings.push(Setting {
                name: name.to_owned(),
                value: query.fetch_one(&mut self.0).await?.try_get(0)?,
            });
        }
        Ok(settings)
    }
}
