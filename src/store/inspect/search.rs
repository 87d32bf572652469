//! Whether the index of searches of a SQLite file has what the tasks have.
//!
//! `PRAGMA integrity_check` does not compare the index with the table that it is about.

use sqlx::SqliteConnection;

use super::StoreError;

/// How many tasks are missing in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Searchable {
    /// The tasks with folded texts.
    pub(crate) tasks: i64,
    /// Those that the index does not have.
    pub(crate) missing: i64,
    /// Those of the newest and the oldest that are not found by their own title.
    pub(crate) unfound: i64,
}

/// A text with fewer than three signs has no trigram, and one with a NUL cannot be searched for.
const COMPARED: &str = r#"
    WITH known AS (
        SELECT id, search_title FROM tasks WHERE search_title IS NOT NULL
    ), usable AS (
        SELECT id, search_title FROM known
        WHERE length(search_title) >= 3 AND instr(search_title, char(0)) = 0
    ), sample AS (
        SELECT * FROM (SELECT * FROM usable ORDER BY id DESC LIMIT 100)
        UNION
        SELECT * FROM (SELECT * FROM usable ORDER BY id LIMIT 100)
    )
    SELECT (SELECT count(*) FROM known) AS tasks,
           (SELECT count(*) FROM known
            WHERE id NOT IN (SELECT id FROM todoctl_search_docsize)) AS missing,
           (SELECT count(*) FROM sample WHERE NOT EXISTS (
                SELECT 1 FROM todoctl_search
                WHERE todoctl_search MATCH '"' || replace(sample.search_title, '"', '""') || '"'
                  AND todoctl_search.rowid = sample.id)) AS unfound"#;

impl Searchable {
    pub(crate) async fn of_file(session: &mut SqliteConnection) -> Result<Self, StoreError> {
        Ok(sqlx::query_as(COMPARED).fetch_one(session).await?)
    }

    /// Fails if the texts of the tasks cannot be read, without the index.
    pub(crate) async fn can_read_tasks(session: &mut SqliteConnection) -> Result<(), StoreError> {
        let query = "SELECT count(*) FROM tasks WHERE title || search_title <> ''";
        sqlx::query(query).execute(session).await?;
        Ok(())
    }
}
