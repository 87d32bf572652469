//! What the black-box tests share: databases of their own.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses its own part of this"
)]

mod postgres;

pub use postgres::{TestDatabase, postgres_url};

/// A fresh folder for a SQLite database, deleted with its value.
pub fn sqlite_dir() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("todoctl-test-")
        .tempdir()
        .unwrap_or_else(|error| panic!("cannot make a temporary folder: {error}"))
}
