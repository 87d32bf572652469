//! Which tables the names of todoctl's tables lead to.

use sqlx::PgConnection;

use crate::config::sql_name;

use super::{Override, StoreError, ask, expected_tables, functions, tables, types};

const HISTORY: &str = "_sqlx_migrations";

/// The session, and every relation that has the name of one of todoctl's tables.
#[derive(Debug, Clone)]
pub(crate) struct Relations {
    pub(crate) session: Session,
    pub(crate) all: Vec<Relation>,
    pub(crate) created: Vec<Created>,
}

/// A function or a type that has the name of one of todoctl's.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Created {
    /// `FUNCTION` or `TYPE`, as in `ALTER TYPE`.
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) schema: String,
    /// With schema and quotes, as a statement names it.
    pub(crate) qualified: String,
    /// Whether the name leads here without its schema.
    pub(crate) is_visible: bool,
    /// Whether the role is a member of the owner, and so may alter it.
    pub(crate) is_owned: bool,
}

#[derive(Debug, Clone, sqlx::FromRow)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a row of answers, each yes or no"
)]
pub(crate) struct Session {
    pub(crate) role: String,
    /// The role that has logged in.
    pub(crate) login: String,
    pub(crate) database: String,
    /// The setting `search_path`.
    pub(crate) search_path: String,
    /// Where new tables are created; `None` if the search path names no usable schema.
    pub(crate) current_schema: Option<String>,
    /// The schemas that the search path names and that do not exist, as it names them.
    pub(crate) absent: Vec<String>,
    /// The schemas of the search path that exist and that the role may use.
    pub(crate) searched: Vec<String>,
    /// Whether the session skips ordinary triggers and foreign keys.
    pub(crate) skips_triggers: bool,
    /// Whether statements are refused that a policy of row-level security applies to.
    pub(crate) has_row_security_off: bool,
    /// Whether functions can be written in PL/pgSQL; `None` if the language is not there.
    pub(crate) may_use_plpgsql: Option<bool>,
    /// Whether the role may add an extension to the database.
    pub(crate) may_extend: bool,
    /// Settings that role and database give to it.
    #[sqlx(skip)]
    pub(crate) overrides: Vec<Override>,
}

/// A table, or something else that has a table's name.
#[derive(Debug, Clone, sqlx::FromRow)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a row of answers, each yes or no"
)]
pub(crate) struct Relation {
    pub(crate) name: String,
    pub(crate) schema: String,
    /// The schema, in quotes where it needs them.
    pub(crate) quoted_schema: String,
    /// Whether the name leads here without its schema.
    pub(crate) is_visible: bool,
    /// Whether the role may use the schema.
    pub(crate) has_usable_schema: bool,
    /// Whether the role may give the schema another name.
    pub(crate) has_own_schema: bool,
    pub(crate) is_temporary: bool,
    /// Whether it is a table, which has rows of its own.
    pub(crate) is_table: bool,
    /// Whether the role is a member of the owner, and so may alter it.
    pub(crate) is_owned: bool,
    pub(crate) owner: String,
    pub(crate) columns: Vec<String>,
}

const SESSION: &str = "
    SELECT current_user::text AS role,
           session_user::text AS login,
           current_database()::text AS database,
           current_setting('search_path') AS search_path,
           current_schema()::text AS current_schema,
           ARRAY(SELECT btrim(entry) FROM unnest(string_to_array(current_setting('search_path'), ',')) AS entry
                 WHERE btrim(entry) NOT IN ('', '$user', '\"$user\"')
                   AND NOT EXISTS (SELECT FROM pg_catalog.pg_namespace
                                   WHERE quote_ident(nspname) = btrim(entry))) AS absent,
           current_schemas(false)::text[] AS searched,
           current_setting('session_replication_role') = 'replica' AS skips_triggers,
           current_setting('row_security') = 'off' AS has_row_security_off,
           (SELECT has_language_privilege(oid, 'USAGE') FROM pg_catalog.pg_language
            WHERE lanname = 'plpgsql') AS may_use_plpgsql,
           has_database_privilege(current_database(), 'CREATE') AS may_extend";

impl Session {
    /// Whether `user` has logged in, and no role of a pooler's. The name for some poolers ends with
    /// a project, as in `postgres.project`.
    pub(crate) fn is_of(&self, user: &str) -> bool {
        let rest = user.strip_prefix(self.login.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl Relations {
    pub(crate) async fn ask(session: &mut PgConnection) -> Result<Self, StoreError> {
        let mut facts: Vec<Session> = ask(session, None, SESSION).await?;
        let query = format!(
            "SELECT c.relname::text AS name, n.nspname::text AS schema,
                    quote_ident(n.nspname) AS quoted_schema,
                    pg_catalog.pg_table_is_visible(c.oid) AS is_visible,
                    has_schema_privilege(n.oid, 'USAGE') AS has_usable_schema,
                    pg_has_role(n.nspowner, 'USAGE')
                        AND has_database_privilege(current_database(), 'CREATE') AS has_own_schema,
                    c.relpersistence = 't' AS is_temporary,
                    c.relkind IN ('r', 'p') AS is_table,
                    pg_has_role(c.relowner, 'USAGE') AS is_owned,
                    pg_get_userbyid(c.relowner)::text AS owner,
                    ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
             FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relname IN ({}, '{HISTORY}') AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
             ORDER BY n.nspname, c.relname",
            tables()
        );
        let all = ask(session, None, &query).await?;
        let query = format!(
            "SELECT 'FUNCTION' AS kind, p.proname::text AS name, n.nspname::text AS schema,
                    format('%I.%I()', n.nspname, p.proname) AS qualified,
                    pg_catalog.pg_function_is_visible(p.oid) AS is_visible,
                    pg_has_role(p.proowner, 'USAGE') AS is_owned
             FROM pg_catalog.pg_proc p
             JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
             WHERE p.proname IN ({}) AND p.pronargs = 0
             UNION ALL
             SELECT 'TYPE', t.typname::text, n.nspname::text, format('%I.%I', n.nspname, t.typname),
                    pg_catalog.pg_type_is_visible(t.oid), pg_has_role(t.typowner, 'USAGE')
             FROM pg_catalog.pg_type t
             JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
             WHERE t.typname IN ({})
             ORDER BY schema, name",
            functions(),
            types()
        );
        let created = ask(session, None, &query).await?;
        let Some(mut facts) = facts.pop() else {
            return Err(sqlx::Error::RowNotFound.into());
        };
        facts.overrides = Override::ask(session).await?;
        Ok(Self {
            session: facts,
            all,
            created,
        })
    }

    /// What the name leads to.
    pub(crate) fn visible(&self, name: &str) -> Option<&Relation> {
        let is_it = |one: &&Relation| one.name == name && one.is_visible;
        self.all.iter().find(is_it)
    }

    /// The table of this name in `schema`.
    pub(crate) fn within(&self, schema: &str, name: &str) -> Option<&Relation> {
        let is_it = |one: &&Relation| one.name == name && one.schema == schema;
        self.all.iter().find(is_it)
    }

    /// The function or type of this name in `schema`.
    pub(crate) fn created_within(&self, schema: &str, name: &str) -> Option<&Created> {
        let is_it = |one: &&Created| one.name == name && one.schema == schema;
        self.created.iter().find(is_it)
    }

    /// The table that records the migrations.
    pub(crate) fn history(&self) -> Option<&Relation> {
        self.visible(HISTORY)
    }

    /// The schema of the service's tables: the one with the history of migrations, or else the
    /// one in which `migrate up` would create them.
    pub(crate) fn home(&self) -> Option<&str> {
        let history = self.history().map(|one| one.schema.as_str());
        history.or(self.session.current_schema.as_deref())
    }

    /// Schemas that have a history of migrations and tasks with all columns.
    pub(crate) fn migrated_schemas(&self) -> impl Iterator<Item = &Relation> {
        self.all.iter().filter(|one| {
            one.name == "tasks" && one.is_complete() && self.within(&one.schema, HISTORY).is_some()
        })
    }
}

/// Whether the table has rows.
pub(crate) async fn has_rows(
    session: &mut PgConnection,
    schema: &str,
    table: &str,
) -> Result<bool, StoreError> {
    let query = format!("SELECT EXISTS (SELECT FROM {})", sql_name(table));
    let rows: Vec<(bool,)> = ask(session, Some(schema), &query).await?;
    Ok(rows.first().is_some_and(|row| row.0))
}

impl Relation {
    /// Whether it has every column that the migrations create.
    pub(crate) fn is_complete(&self) -> bool {
        let expected = expected_tables().find(|(name, _)| *name == self.name);
        let mut columns = expected
            .into_iter()
            .flat_map(|(_, parts)| parts.keys())
            .filter_map(|part| part.strip_prefix("column "));
        columns.all(|column| self.columns.iter().any(|one| one == column))
    }
}
