//! What a database has of the program's migrations.

use std::path::PathBuf;

use sqlx::migrate::Migrator;

use crate::config::DatabaseTarget;

use super::connection::MigrationConnection;
use super::embedded::{Direction, FIRST, SQLITE, migrator, ups};
use super::error::MigrateError;
use super::expected::{History, OF_SERVERS, Schema, changes};
use super::history::{Migration, State, compare};
use super::name_taken::Namesake;
use super::recorded::{absent, first_in_part, mark_unrecorded};
use super::take_over::OtherSchema;

/// The migrations of the program and of a database.
pub(crate) struct Found {
    pub(crate) migrations: Vec<Migration>,
    /// The first pending migration of which only a part is there, and what is missing of it.
    in_part: Option<(i64, Vec<String>)>,
    /// Tables that are there and are not to be taken over.
    other_service: Option<OtherService>,
    /// The first table or view that has the name of what a pending migration creates.
    namesake: Option<Namesake>,
    /// Recorded wrongly, and nothing of them is there.
    absent: Vec<i64>,
    /// Where the tables are, if migrations would create others.
    other_schema: Option<OtherSchema>,
    /// Whether the record seems empty because row-level security hides its rows.
    is_record_hidden: bool,
}

/// Why tables are another service's, and the SQLite file that they are in.
#[derive(Clone)]
struct OtherService {
    reason: String,
    file: Option<PathBuf>,
}

impl Found {
    /// Migrations of a schema of which nothing else is known.
    pub(crate) fn of(migrations: Vec<Migration>) -> Self {
        Self {
            migrations,
            in_part: None,
            other_service: None,
            namesake: None,
            absent: Vec::new(),
            other_schema: None,
            is_record_hidden: false,
        }
    }

    /// Refuses to take migrations for new whose records are hidden.
    pub(crate) fn check_record(&self) -> Result<(), MigrateError> {
        if self.is_record_hidden {
            return Err(MigrateError::HiddenRecord);
        }
        Ok(())
    }

    /// Refuses to create a second set of tables, or a part of one, in another schema.
    pub(crate) fn check_schema(&self) -> Result<(), MigrateError> {
        match &self.other_schema {
            Some(other) => Err(MigrateError::OtherSchema(other.clone())),
            None => Ok(()),
        }
    }

    /// Refuses to go on where only a part of a migration is there. Where the tables are in another
    /// schema, nothing is missing.
    pub(crate) fn check_parts(&self) -> Result<(), MigrateError> {
        match &self.in_part {
            Some((version, missing)) => {
                self.check_schema()?;
                Err(MigrateError::InPart {
                    version: *version,
                    missing: missing.clone(),
                })
            }
            None => Ok(()),
        }
    }

    /// Refuses to take over the tables of another service.
    pub(crate) fn check_tables(&self) -> Result<(), MigrateError> {
        match self.other_service.clone() {
            Some(OtherService { reason, file }) => Err(MigrateError::OtherService { reason, file }),
            None => Ok(()),
        }
    }

    /// Refuses to begin a migration that would find one of its names taken.
    pub(crate) fn check_names(&self) -> Result<(), MigrateError> {
        match &self.namesake {
            Some(namesake) => Err(MigrateError::NameTaken(namesake.clone())),
            None => Ok(()),
        }
    }

    /// Whether the record has to be removed, because nothing of the migration is there.
    pub(crate) fn is_absent(&self, migration: &Migration) -> bool {
        self.absent.contains(&migration.version)
    }

    /// Refuses to run again what the schema has.
    pub(super) fn check_records(&self) -> Result<(), MigrateError> {
        let unrecorded = |one: &&Migration| one.state == State::Unrecorded;
        let versions: Vec<i64> = self
            .migrations
            .iter()
            .filter(unrecorded)
            .map(|one| one.version)
            .collect();
        if versions.is_empty() {
            Ok(())
        } else {
            Err(MigrateError::Unrecorded { versions })
        }
    }
}

/// What the database has; nothing, if the SQLite file does not exist.
pub(crate) async fn found_in(target: &DatabaseTarget) -> Result<Found, MigrateError> {
    let Some(mut connection) = MigrationConnection::open_to_read(target).await? else {
        return Ok(Found::of(compare(migrator(target), Vec::new())));
    };
    let found = found_by(&mut connection, target).await;
    connection.close().await;
    found
}

/// The same on a connection that is open.
pub(super) async fn found_by(
    connection: &mut MigrationConnection,
    target: &DatabaseTarget,
) -> Result<Found, MigrateError> {
    let applied = connection.applied().await?;
    let is_empty = applied.is_empty();
    let mut found = Found::of(compare(migrator(target), applied));
    found.is_record_hidden = is_empty && connection.hides_records().await?;
    found.other_schema = connection.other_schema(target).await?;
    if found.migrations.iter().any(Migration::is_open) {
        let (history, schema) = (history_of(target).await?, connection.own_schema().await?);
        let takes_over = connection.is_postgres();
        mark_unrecorded(&mut found.migrations, &history, &schema, takes_over);
        found.in_part = first_in_part(&found.migrations, &history, &schema);
        found.absent = absent(&found.migrations, &history, &schema);
        if let DatabaseTarget::Sqlite(file) = target {
            let pending = found
                .migrations
                .iter()
                .filter(|one| one.state == State::Pending)
                .map(|one| one.version);
            found.namesake = Namesake::find(pending, &history, &schema, &file.path);
        }
        let is_first = |one: &Migration| one.version == FIRST && one.state == State::Pending;
        if found.migrations.iter().any(is_first) {
            let refusal = connection.refusal().await?;
            found.other_service = refusal.map(|reason| OtherService {
                reason,
                file: match target {
                    DatabaseTarget::Postgres(_) => None,
                    DatabaseTarget::Sqlite(file) => Some(file.path.clone()),
                },
            });
        }
    }
    Ok(found)
}

/// The history of the target's engine. SQLite's migrations are applied in memory.
pub(super) async fn history_of(target: &DatabaseTarget) -> Result<History, MigrateError> {
    match target {
        DatabaseTarget::Postgres(_) => Ok(OF_SERVERS.clone()),
        DatabaseTarget::Sqlite(_) => history_of_files().await,
    }
}

pub(super) async fn history_of_files() -> Result<History, MigrateError> {
    let mut memory = MigrationConnection::open_in_memory().await?;
    let history = history_by(&mut memory, &SQLITE).await;
    memory.close().await;
    history
}

/// Applies the migrations to an empty database.
pub(super) async fn history_by(
    connection: &mut MigrationConnection,
    migrations: &Migrator,
) -> Result<History, MigrateError> {
    let mut history = History::new();
    let mut before = Schema::new();
    for migration in ups(migrations) {
        connection.run_statements(migration, Direction::Up).await?;
        let after = connection.schema().await?;
        history.insert(migration.version, changes(&before, &after));
        before = after;
    }
    Ok(history)
}
