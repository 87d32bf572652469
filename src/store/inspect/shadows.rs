//! Functions and operators that are used in place of the system's.

use sqlx::PgConnection;

use super::{StoreError, ask};

/// A function or an operator of a schema in the search path.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Shadow {
    /// Such as `the function public.lower(character varying)`.
    pub(crate) name: String,
    /// Whether it is used only because its schema comes before the system's in the search path.
    pub(crate) is_earlier: bool,
}

/// One with the system's types is used where its schema comes before `pg_catalog`, which else is
/// the first. One for `varchar` is used for columns of that type in place of the system's for
/// `text`, wherever its schema is (PostgreSQL, "Function Type Resolution").
const SHADOWS: &str = r"
    WITH searched AS (
        SELECT n.oid, s.place < array_position(current_schemas(true), 'pg_catalog') AS is_earlier
        FROM unnest(current_schemas(true)) WITH ORDINALITY AS s (name, place)
        JOIN pg_catalog.pg_namespace n ON n.nspname = s.name AND n.nspname !~ '^pg_'
    ), one AS (
        SELECT 'function ' || p.oid::regprocedure AS name, s.is_earlier,
               p.proargtypes::oid[] AS own, b.proargtypes::oid[] AS other, 'pg_proc'::regclass AS class, p.oid
        FROM searched s
        JOIN pg_catalog.pg_proc p ON p.pronamespace = s.oid
        JOIN pg_catalog.pg_proc b ON b.pronamespace = 'pg_catalog'::regnamespace
            AND b.proname = p.proname AND b.pronargs = p.pronargs
        UNION ALL
        SELECT 'operator ' || o.oid::regoperator, s.is_earlier,
               ARRAY[o.oprleft, o.oprright], ARRAY[b.oprleft, b.oprright], 'pg_operator'::regclass, o.oid
        FROM searched s
        JOIN pg_catalog.pg_operator o ON o.oprnamespace = s.oid
        JOIN pg_catalog.pg_operator b ON b.oprnamespace = 'pg_catalog'::regnamespace AND b.oprname = o.oprname
    )
    SELECT DISTINCT 'the ' || name AS name, own = other AS is_earlier
    FROM one
    WHERE (own = other AND is_earlier
           OR own <> other AND 'varchar'::regtype::oid = ANY (own)
              AND own = array_replace(other, 'text'::regtype::oid, 'varchar'::regtype::oid))
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = one.class AND d.objid = one.oid AND d.deptype = 'e')
    ORDER BY 1";

impl Shadow {
    pub(crate) async fn ask(session: &mut PgConnection) -> Result<Vec<Self>, StoreError> {
        ask(session, None, SHADOWS).await
    }
}
