//! All SQL, for both engines.
//!
//! [`Store`] (`database.rs`) is the only way in: no connection and no transaction leaves this
//! module. One method is one unit of work, and it returns after the commit.
//!
//! | to look for | file |
//! |---|---|
//! | the statements and methods of an entity | `tasks/`, `notifications.rs`, `api_keys.rs`, `sessions.rs`, `auth_sessions.rs`, `idempotency.rs`, `reminders.rs`, `outbox.rs` |
//! | retries, transactions, what becomes of a connection | `work.rs` |
//! | arguments and rows of either engine | `arg.rs`, `row.rs`, `values.rs` |
//! | texts of statements, and where the engines differ | `sql.rs`, `dialect.rs` |
//! | connections and pools | `connection.rs`, `pool.rs`, `engine.rs`, `connect.rs`, `opener.rs`, `server.rs` |
//! | errors | `error.rs`, `connect_error.rs`, `connect_fault.rs`, `messages/` |
//! | the schema | `migrate/` |
//!
//! Time is bound from the [`Clock`](crate::clock::Clock), never asked of the database.

mod api_keys;
mod arg;
mod auth_sessions;
mod connect;
mod connect_error;
mod connect_fault;
mod connection;
mod database;
mod dialect;
mod engine;
mod error;
mod idempotency;
mod key_cipher;
mod last_outcome;
pub mod messages;
pub mod migrate;
mod notifications;
mod opener;
mod outbox;
mod pool;
mod probe;
mod reminders;
mod row;
mod server;
mod sessions;
mod sql;
mod tasks;
mod values;
mod work;

pub use api_keys::{ATTEMPT_WINDOW, Attempts, StoredKey};
pub use auth_sessions::{RefreshToken, RefreshTokenHash};
pub use connect::{CONNECT_TIMEOUT, SqliteAccess, open_postgres, open_sqlite};
pub use connect_error::ConnectError;
pub use connect_fault::ConnectFault;
pub use database::Store;
pub use error::StoreError;
pub use idempotency::Once;
pub use key_cipher::{CipherKeyError, EncryptedKey, KeyCipher, UndecipherableError};
pub use notifications::NotificationList;
pub use outbox::{OutboxEnd, OutboxMail, OutboxStatus};
pub use pool::PoolStatus;
pub use probe::{
    Address, Capacity, EngineVersion, FileFacts, FileSystem, PreparedStatements, ProbeConnection,
    Role, Setting, TlsFinding, Trust, connect, is_writable, look_at_tls, prepared_statements,
    resolve, shares_backend,
};
pub use reminders::{DueTask, MailTerms, Reminded, ReminderWindow};
pub use sessions::{NewSession, Session, SessionHash};
pub use tasks::{Conditional, TaskFilter, TaskPage, TaskPosition, TaskSlice};
