//! Settings as a session of this role in this database has them.

use sqlx::FromRow as _;

use crate::diagnostics::probe::ServerConnection;
use crate::store::StoreError;
use crate::store::inspect::Override;

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `ALTER ROLE`.
    Role,
    /// `ALTER DATABASE`.
    Database,
    /// `ALTER ROLE … IN DATABASE`.
    RoleInDatabase,
    /// `ALTER ROLE ALL`.
    AllRoles,
    /// `options` in the URL.
    Client,
    /// `SET`.
    Session,
    /// The server's files or command line.
    Server,
    /// Nobody has set it.
    Default,
}

/// A setting and its value.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct SettingNow {
    pub(crate) name: String,
    /// In the server's unit, such as milliseconds.
    pub(crate) value: String,
    /// As the server shows it, with a unit.
    pub(crate) shown: String,
    source: String,
}

/// What an earlier client of a pooler has set in its session says nothing about the role.
const SETTINGS: &str = "
    SELECT name, CASE WHEN source = 'session' THEN reset_val ELSE setting END AS value,
           CASE WHEN source = 'session' THEN reset_val ELSE current_setting(name) END AS shown,
           source
    FROM pg_catalog.pg_settings
    WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'statement_timeout',
                   'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout',
                   'search_path', 'zero_damaged_pages', 'ignore_checksum_failure',
                   'random_page_cost', 'default_transaction_isolation',
                   'jit', 'jit_above_cost', 'jit_inline_above_cost', 'jit_optimize_above_cost',
                   'force_parallel_mode', 'debug_parallel_query', 'commit_delay', 'deadlock_timeout',
                   'autovacuum_vacuum_scale_factor', 'autovacuum_vacuum_threshold',
                   'autovacuum_analyze_scale_factor', 'autovacuum_analyze_threshold',
                   'autovacuum_naptime', 'vacuum_defer_cleanup_age')
       -- How statements may be planned.
       OR name LIKE 'enable%' AND boot_val = 'on'
          AND CASE WHEN source = 'session' THEN reset_val ELSE setting END = 'off'
       -- One that the role may use is fine; without one that is gone, the database's is used.
       OR name = 'default_tablespace' AND EXISTS (
           SELECT FROM pg_catalog.pg_tablespace
           WHERE spcname = setting AND NOT has_tablespace_privilege(oid, 'CREATE'))
    ORDER BY name";

/// What `SET` has changed, in `pg_settings.source`.
const SESSION: &str = "session";

impl SettingNow {
    /// PostgreSQL, `pg_settings.source`.
    pub(crate) fn origin(&self) -> Origin {
        match self.source.as_str() {
            "user" => Origin::Role,
            "database" => Origin::Database,
            "database user" => Origin::RoleInDatabase,
            "global" => Origin::AllRoles,
            "client" => Origin::Client,
            "default" => Origin::Default,
            SESSION => Origin::Session,
            _ => Origin::Server,
        }
    }

    /// The value, in the server's unit.
    pub(crate) fn number(&self) -> Option<f64> {
        self.value.parse().ok()
    }

    #[cfg(test)]
    pub(crate) fn of(name: &str, value: &str, source: &str) -> Self {
        Self {
            name: name.to_owned(),
            value: value.to_owned(),
            shown: value.to_owned(),
            source: source.to_owned(),
        }
    }
}

/// How often settings are asked for while a limit ends the question.
const TRIES: u32 = 10;

impl ServerConnection {
    /// The schemas of the database.
    pub(crate) async fn schemas(&mut self) -> Result<Vec<String>, StoreError> {
        let question = "SELECT nspname::text FROM pg_catalog.pg_namespace ORDER BY nspname";
        let rows: Vec<(String,)> = self.rows(question).await?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }

    /// The settings that decide what a commit means, how statements are run, and how long they
    /// may take.
    pub(crate) async fn settings_now(&mut self) -> Result<Vec<SettingNow>, StoreError> {
        // Not within the time limits of the other questions: they are among the settings.
        let rows = sqlx::raw_sql(SETTINGS).fetch_all(&mut self.0).await;
        match rows.map_err(StoreError::from) {
            Err(error) if error.is_ended_by_limit() => self.settings_despite_limit().await,
            rows => {
                let rows = rows?;
                let settings = rows.iter().map(SettingNow::from_row);
                Ok(settings.collect::<Result<_, sqlx::Error>>()?)
            }
        }
    }

    /// The same where one of them is a limit that is too short for the question.
    async fn settings_despite_limit(&mut self) -> Result<Vec<SettingNow>, StoreError> {
        let mut tries = 0;
        let mut settings: Vec<SettingNow> = loop {
            match self.rows(SETTINGS).await {
                // Until the question has a limit of its own, the session's applies.
                Err(error) if error.is_ended_by_limit() && tries < TRIES => {
                    tries += 1;
                    sqlx::raw_sql("ROLLBACK").execute(&mut self.0).await?;
                }
                rows => break rows?,
            }
        };
        let overrides = Override::ask(&mut self.0).await?;
        for setting in settings.iter_mut().filter(|one| one.source == SESSION) {
            // The narrowest one applies.
            let given = overrides.iter().filter(|one| one.name == setting.name);
            if let Some(source) = given.map(Override::source).max_by_key(|one| one.1) {
                setting.source = source.0.to_owned();
            }
        }
        Ok(settings)
    }
}
