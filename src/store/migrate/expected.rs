//! The schema that all migrations create on PostgreSQL.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Objects by name (`table tasks`).
pub(crate) type Schema = BTreeMap<String, Parts>;

/// The parts of an object (`column title`) and their definitions (`text not null`).
pub(crate) type Parts = BTreeMap<String, String>;

/// A test compares the file with the migrations, and writes it after a new one.
#[expect(clippy::expect_used, reason = "a constant, read by the test")]
pub(super) static ALL_APPLIED: LazyLock<Schema> = LazyLock::new(|| {
    serde_json::from_str(include_str!("all_applied.json")).expect("the schema is valid JSON")
});

/// The tables, and their parts.
pub(crate) fn expected_tables() -> impl Iterator<Item = (&'static str, &'static Parts)> {
    ALL_APPLIED
        .iter()
        .filter_map(|(object, parts)| Some((object.strip_prefix("table ")?, parts)))
}
