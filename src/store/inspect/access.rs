//! Who may do more with todoctl's tables than the service needs.

use sqlx::PgConnection;

use super::{StoreError, ask, functions, tables, types};

/// The role of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Rights {
    pub(crate) is_superuser: bool,
    /// The server's first role cannot be another.
    pub(crate) is_first: bool,
}

/// A table that every role of the server may use.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Public {
    pub(crate) name: String,
    /// Such as `SELECT, UPDATE`.
    pub(crate) privileges: String,
}

/// An object that another role owns, with its kind, as `ALTER` names it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Foreign {
    pub(crate) object: String,
}

const RIGHTS: &str = "SELECT rolsuper AS is_superuser, oid = 10 AS is_first
                      FROM pg_catalog.pg_roles WHERE rolname = current_user";

/// What is known about access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) rights: Rights,
    pub(crate) public: Vec<Public>,
    pub(crate) foreign: Vec<Foreign>,
}

impl Access {
    pub(crate) async fn ask(session: &mut PgConnection, schema: &str) -> Result<Self, StoreError> {
        let rights: Vec<Rights> = ask(session, Some(schema), RIGHTS).await?;
        let public = format!(
            "SELECT c.relname::text AS name,
                    string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type) AS privileges
             FROM pg_catalog.pg_class c
             CROSS JOIN LATERAL aclexplode(c.relacl) AS a
             WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema()))
               AND c.relname IN ({}) AND c.relkind IN ('r', 'p') AND a.grantee = 0
             GROUP BY c.relname ORDER BY c.relname",
            tables()
        );
        let foreign = format!(
            "SELECT object FROM (
                 SELECT format('TABLE %I.%I', current_schema(), c.relname) AS object, c.relowner AS owner
                 FROM pg_catalog.pg_class c
                 WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema()))
                   AND c.relkind IN ('r', 'p') AND c.relname IN ({}, '_sqlx_migrations')
                 UNION ALL
                 SELECT format('FUNCTION %I.%I()', current_schema(), p.proname), p.proowner
                 FROM pg_catalog.pg_proc p
                 WHERE p.pronamespace = to_regnamespace(quote_ident(current_schema()))
                   AND p.proname IN ({}) AND p.pronargs = 0
                 UNION ALL
                 SELECT format('TYPE %I.%I', current_schema(), t.typname), t.typowner
                 FROM pg_catalog.pg_type t
                 WHERE t.typnamespace = to_regnamespace(quote_ident(current_schema()))
                   AND t.typname IN ({})
             ) AS owned
             WHERE pg_get_userbyid(owner) <> current_user ORDER BY object",
            tables(),
            functions(),
            types()
        );
        Ok(Self {
            rights: rights.first().copied().ok_or(sqlx::Error::RowNotFound)?,
            public: ask(session, Some(schema), &public).await?,
            foreign: ask(session, Some(schema), &foreign).await?,
        })
    }
}
