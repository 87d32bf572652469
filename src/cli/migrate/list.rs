//! Migrations as text.

use crate::cli::output;
use crate::domain::Timestamp;
use crate::store::migrate::{Migration, State};

/// `2 (sessions), 1 (baseline)`.
pub(super) fn names(migrations: &[Migration]) -> String {
    let names: Vec<String> = migrations.iter().map(name).collect();
    names.join(", ")
}

/// `2 (sessions)`.
pub(super) fn name(migration: &Migration) -> String {
    format!("{} ({})", migration.version, migration.description)
}

/// Prints a table of migrations.
pub(super) fn print(migrations: &[Migration]) -> anyhow::Result<()> {
    let row = |one: &Migration| {
        vec![
            one.version.to_string(),
            one.description.clone(),
            state(one.state).to_owned(),
            one.applied_at
                .map_or_else(String::new, Timestamp::to_seconds_string),
        ]
    };
    output::table(
        &["VERSION", "NAME", "STATE", "APPLIED"],
        migrations.iter().map(row).collect(),
    )
}

pub(super) fn state(state: State) -> &'static str {
    match state {
        State::Applied => "applied",
        State::Pending => "pending",
        State::Unrecorded => "in the schema, not recorded",
        State::Missing => "unknown to this todoctl",
        State::Changed => "changed since it was applied",
        State::Dirty => "unfinished",
    }
}
