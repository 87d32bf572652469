//! The embedded migrations: the state of a database, and how it is changed.
//!
//! The files and the table `_sqlx_migrations` are sqlx's, so that `sqlx migrate`
//! and todoctl agree about a database. The files are not applied by sqlx's
//! `Migrator`: it waits for its lock inside a statement, returns without
//! unlocking when a migration fails, and does not tell which statement failed.
//! Migrations run on a dedicated direct connection under a lock ([`LockWait`])
//! that all starting replicas share.
//!
//! [`drift`] compares a schema with its migrations, [`preview`] lists what
//! `migrate down` would drop.

mod apply;
pub(super) mod catalog;
mod connection;
pub mod drift;
pub(super) mod embedded;
mod error;
mod expected;
mod history;
mod lock;
mod name_taken;
mod pending;
mod pooler;
pub mod preview;
mod recorded;
mod renames;
mod repair;
mod sessions;
mod stamp;
mod state;
pub(super) mod take_over;

pub use apply::{Applied, Newer, Planned, Up, down, down_with, dry_up, status, up, up_with};
pub(crate) use catalog::DEFINITION;
pub(crate) use embedded::is_named_by_migrations;
pub(crate) use embedded::newest_statement;
#[cfg(any(fuzzing, test))]
pub(crate) use embedded::statements;
pub use error::{FailedStatement, MigrateError};
pub(crate) use error::{other_records, own_schema};
pub(crate) use expected::{
    Schema, expected_functions, expected_functions_of_owners, expected_tables, expected_types,
    is_own_part, is_required,
};
pub(crate) use history::named;
pub use history::{Down, Migration, State, plan_down};
pub use lock::LockWait;
pub(crate) use lock::lock_id as migration_lock_id;
pub(crate) use recorded::is_migrated;
pub(crate) use renames::Renamed;
pub use repair::repair;
pub use stamp::{Stamped, stamp};
pub(crate) use state::{Found, found_in};
