//! The database that a URL names; [`parse()`] reads the spellings of all usual clients.

mod parse;
mod target;

pub use parse::{BadUrl, Parsed, parse};
pub(crate) use target::SYSTEM_ROOTS;
pub use target::{DatabaseTarget, PostgresTarget, SqliteTarget, TlsMode};
