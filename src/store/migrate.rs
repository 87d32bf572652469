//! The embedded migrations: where a database stands, and how it is moved.
//!
//! sqlx's migration files and its table `_sqlx_migrations` are used, so that `sqlx migrate` and
//! todoctl agree about a database. They are applied here rather than by sqlx's `Migrator`, which
//! takes a blocking lock, returns before it unlocks when something fails, and does not report
//! which statement failed. Migrating uses a connection of its own, never a pooler, and a lock
//! that any number of starting replicas share.
//!
//! | to look for | file |
//! |---|---|
//! | where a database stands | `status.rs`, `history.rs` |
//! | applying and reverting | `up.rs`, `down.rs`, `run.rs`, `connection.rs` |
//! | the lock, and refusing a pooler | `lock.rs`, `pooler.rs` |
//! | the program's migrations | `embedded.rs` |
//! | the schema compared with the migrations | `drift.rs`, `catalog.rs` |
//! | what reverting would drop | `preview.rs` |

mod catalog;
mod connection;
mod down;
pub mod drift;
mod embedded;
mod error;
pub mod files;
mod history;
pub mod lint;
mod lock;
mod pooler;
pub mod preview;
pub mod repair;
mod run;
mod status;
mod up;

pub use down::{down, down_with};
pub use error::{FailedStatement, MigrateError};
pub use history::{Down, Migration, State, plan_down};
pub use lock::LockWait;
pub use status::status;
pub use up::{Applied, Newer, Planned, Up, dry_up, up, up_with};

use embedded::{Direction, find, migrator, statements};
use history::compare;
use run::open_locked;
