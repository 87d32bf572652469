//! Settings that a role or a database gives to its sessions.

use sqlx::PgConnection;

use super::{StoreError, ask};

/// A setting of `ALTER ROLE … SET` or `ALTER DATABASE … SET` that applies to the session.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Override {
    /// What has it, as in `ALTER ROLE x IN DATABASE y`.
    pub(crate) of: String,
    pub(crate) name: String,
}

const OVERRIDES: &str = "
    SELECT CASE WHEN s.setrole = 0 AND s.setdatabase = 0 THEN 'ROLE ALL'
                WHEN s.setrole = 0 THEN format('DATABASE %I', current_database())
                WHEN s.setdatabase = 0 THEN format('ROLE %I', session_user)
                ELSE format('ROLE %I IN DATABASE %I', session_user, current_database()) END AS of,
           split_part(c.setting, '=', 1) AS name
    FROM pg_catalog.pg_db_role_setting s
    CROSS JOIN LATERAL unnest(s.setconfig) AS c (setting)
    WHERE s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
      AND s.setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user))
    ORDER BY of, name";

impl Override {
    pub(crate) async fn ask(session: &mut PgConnection) -> Result<Vec<Self>, StoreError> {
        ask(session, None, OVERRIDES).await
    }

    /// Its name in `pg_settings.source`, and how narrow it is: the narrowest one applies.
    pub(crate) fn source(&self) -> (&'static str, u8) {
        if self.of == "ROLE ALL" {
            ("global", 0)
        } else if self.of.starts_with("DATABASE ") {
            ("database", 1)
        } else if self.of.contains(" IN DATABASE ") {
            ("database user", 3)
        } else {
            ("user", 2)
        }
    }
}
