//! The database that a URL names; [`parse()`] reads the spellings of all usual clients.

mod parse;
mod part;
mod sqlite;
mod target;

pub use parse::parse;
pub use part::{BadUrl, Parsed};
pub(crate) use target::{DATABASE_URL, SYSTEM_ROOTS};
pub use target::{DatabaseTarget, PostgresTarget, SqliteTarget, TlsMode};
