//! All SQL, for both engines.
//!
//! [`Store`] (`database.rs`) is the only interface: no connection and no transaction leaves this
//! module. One method is one unit of work, and it returns after the commit.
//!
//! | contents | file |
//! |---|---|
//! | the statements and methods of an entity | `tasks/`, `notifications.rs`, `api_keys.rs`, `sessions.rs`, `auth_sessions.rs`, `idempotency.rs`, `reminders.rs`, `outbox.rs` |
//! | indexes that are built while the daemon works | `search_index.rs` |
//! | retries, transactions, reuse of connections | `work.rs` |
//! | statements for several requests, and the order of a task's changes | `batch.rs`, `batch/`, `task_turns.rs`, `short_lists.rs` |
//! | arguments and rows of either engine | `arg.rs`, `row.rs`, `values.rs` |
//! | texts of statements, and where the engines differ | `sql.rs`, `dialect.rs` |
//! | connections and pools | `connection.rs`, `session.rs`, `file_limits.rs`, `deadline.rs`, `client.rs`, `pool.rs`, `manager.rs`, `admission.rs`, `queue.rs`, `shares.rs`, `engine.rs`, `connect.rs`, `opener.rs`, `open_file.rs`, `damaged_log.rs`, `server.rs`, `identity.rs`, `content.rs`, `other_databases.rs` |
//! | statements that an operator types | `console.rs` |
//! | errors | `error.rs`, `postgres_fault.rs`, `connect_error.rs`; what their messages mean: `messages/`, `known.rs` |
//! | a trial of all of it for `doctor` | `trial.rs` |
//! | the schema | `migrate/`; what the catalogue says about it, for diagnostics: `inspect/` |
//!
//! Time is bound from the [`Clock`](crate::clock::Clock), never asked of the database; deadlines
//! are told by its own clock.

mod admission;
mod api_keys;
mod arg;
mod auth_sessions;
mod batch;
mod client;
mod connect;
mod connect_error;
mod connection;
mod console;
mod content;
mod damaged_log;
mod database;
mod deadline;
mod dialect;
mod ending;
mod engine;
mod error;
mod file_limits;
mod idempotency;
mod identity;
pub(crate) mod inspect;
mod key_cipher;
mod known;
mod last_outcome;
mod late;
mod login;
mod manager;
pub(crate) mod messages;
pub mod migrate;
mod namesake;
mod notifications;
mod open_file;
mod opener;
mod other_databases;
mod outbox;
mod plain;
mod pool;
mod postgres_fault;
mod queue;
mod reminders;
mod row;
mod search_index;
mod server;
mod session;
mod sessions;
mod shares;
mod short_lists;
mod sql;
mod task_turns;
mod tasks;
mod trial;
mod trial_unit;
mod two_servers;
mod values;
mod work;

pub(crate) use auth_sessions::{RefreshToken, RefreshTokenHash, UnknownToken};
pub(crate) use client::{ClientState, ClientWatch};
pub(crate) use connect::{BUSY_TIMEOUT, SqliteAccess, open_postgres_within, open_sqlite};
pub(crate) use connect_error::ConnectError;
pub(crate) use console::run_statements;
pub(crate) use content::{Content, has_no_tables, is_file_in_use, is_in_use, is_server_in_use};
pub(crate) use damaged_log::{DamagedLog, has_unused_log, kept_logs};
pub use database::Store;
pub(crate) use other_databases::{OtherDatabase, Served};

pub(crate) use deadline::{on_behalf_of, within};
pub use error::StoreError;
pub(crate) use idempotency::Once;
pub(crate) use identity::{Identity, compare_urls};
pub use key_cipher::CipherKeyError;
pub(crate) use key_cipher::{KeyCipher, UndecipherableError};
pub(crate) use known::{database_code, known_message};
pub(crate) use login::root_certificates;
pub(crate) use messages::ConnectFault;
pub use outbox::OutboxEnd;
pub(crate) use outbox::{
    Accounts, EXPIRED, MailOutcome, NO_ACCOUNT, NO_ADDRESS, NOT_READ, NOT_TRIED, OWN_REASONS,
    OutboxMail,
};
pub(crate) use plain::causes;
pub(crate) use postgres_fault::PostgresFault;
pub use reminders::ReminderWindow;
pub(crate) use reminders::{DueTask, MailTerms, Reminded};
pub(crate) use search_index::create_trigram_index;
pub use search_index::{IndexBuild, SearchIndex};
pub(crate) use server::{OLDEST_MAJOR, backend_pid, find_pooler};
pub(crate) use sessions::Session;
pub use sessions::{NewSession, SessionHash};
pub(crate) use shares::Share;
pub use tasks::TaskFilter;
pub(crate) use tasks::{Conditional, TaskPosition};
pub(crate) use trial::{TrialFault, Tried, try_out};
pub(crate) use values::StoredTime;
