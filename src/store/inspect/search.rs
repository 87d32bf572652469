//! Whether searches find what the tasks have: the folded copies of titles on both engines, and the
//! index of a SQLite file.
//!
//! `PRAGMA integrity_check` does not compare the index with the table that it is about.

use sqlx::{AssertSqlSafe, PgConnection, SqliteConnection};

use crate::domain::fold;

use super::{StoreError, ask};

/// What the index has of the tasks.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Searchable {
    /// The tasks with folded texts.
    pub(crate) tasks: i64,
    /// Those that the index does not have.
    pub(crate) missing: i64,
    /// Those of the newest and the oldest that are not found by their own title.
    pub(crate) unfound: i64,
    /// How many trigrams their texts have; `None` where SQLite does not count them as the index does.
    trigrams: Option<i64>,
    /// The record in which the index counts the rows and the trigrams of each column.
    totals: Option<Vec<u8>>,
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
           (SELECT sum(max(0, length(search_title) - 2)
                       + max(0, coalesce(length(search_description), 0) - 2)) FROM tasks
            WHERE NOT EXISTS (SELECT 1 FROM known WHERE instr(search_title, char(0)) > 0)) AS trigrams,
           (SELECT block FROM todoctl_search_data WHERE id = 1) AS totals,
           (SELECT count(*) FROM sample WHERE NOT EXISTS (
                SELECT 1 FROM todoctl_search
                WHERE todoctl_search MATCH '"' || replace(sample.search_title, '"', '""') || '"'
                  AND todoctl_search.rowid = sample.id)) AS unfound"#;

impl Searchable {
    pub(crate) async fn of_file(session: &mut SqliteConnection) -> Result<Self, StoreError> {
        Ok(sqlx::query_as(COMPARED).fetch_one(session).await?)
    }

    /// Whether the index has entries of texts that are not there any more, or lacks some. A row that
    /// REPLACE removes fires no trigger, so its entries stay.
    pub(crate) fn has_other_texts(&self) -> bool {
        let counted = self.totals.as_deref().and_then(trigrams_in);
        self.trigrams
            .zip(counted)
            .is_some_and(|(expected, counted)| u64::try_from(expected) != Ok(counted))
    }

    /// Fails if the texts of the tasks cannot be read, without the index.
    pub(crate) async fn can_read_tasks(session: &mut SqliteConnection) -> Result<(), StoreError> {
        let query = "SELECT count(*) FROM tasks WHERE title || search_title <> ''";
        sqlx::query(query).execute(session).await?;
        Ok(())
    }
}

/// The trigrams that the index counts: after the number of rows there is one number for each
/// column, in SQLite's variable-length form. An empty record has none.
fn trigrams_in(mut totals: &[u8]) -> Option<u64> {
    let mut numbers = Vec::new();
    while !totals.is_empty() {
        let (number, rest) = number(totals)?;
        numbers.push(number);
        totals = rest;
    }
    numbers
        .iter()
        .skip(1)
        .try_fold(0_u64, |sum, number| sum.checked_add(*number))
}

/// <https://www.sqlite.org/fileformat2.html#varint>
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(8) {
        number = number << 7 | u64::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[index + 1..]));
        }
    }
    None
}

/// The folded copies of titles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Copies {
    pub(crate) compared: usize,
    /// Those that are not what todoctl makes of their titles.
    pub(crate) wrong: usize,
    /// Whether one of these titles has letters outside of ASCII, which only todoctl can fold.
    pub(crate) has_wide: bool,
}

/// The newest and the oldest. Both engines know it.
const TITLES: &str = "
    SELECT title, search_title FROM tasks
    WHERE search_title IS NOT NULL AND id IN (
        SELECT id FROM (SELECT id FROM tasks ORDER BY id DESC LIMIT 1000) AS newest
        UNION SELECT id FROM (SELECT id FROM tasks ORDER BY id LIMIT 1000) AS oldest)";

impl Copies {
    pub(crate) async fn of_server(session: &mut PgConnection) -> Result<Self, StoreError> {
        Ok(Self::of(&ask(session, None, TITLES).await?))
    }

    pub(crate) async fn of_file(session: &mut SqliteConnection) -> Result<Self, StoreError> {
        let query =
            format!("{TITLES} AND typeof(title) = 'text' AND typeof(search_title) = 'text'");
        let rows: Vec<(String, String)> = sqlx::query_as(AssertSqlSafe(query))
            .fetch_all(session)
            .await?;
        Ok(Self::of(&rows))
    }

    fn of(rows: &[(String, String)]) -> Self {
        let wrong: Vec<&str> = rows
            .iter()
            .filter(|(title, copy)| fold(title) != *copy)
            .map(|(title, _)| title.as_str())
            .collect();
        Self {
            compared: rows.len(),
            wrong: wrong.len(),
            has_wide: wrong.iter().any(|title| !title.is_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_of_an_index() {
        // 300 rows, 1692 and 600 trigrams.
        let totals = [0x82, 0x2C, 0x8D, 0x1C, 0x84, 0x58];
        assert_eq!(trigrams_in(&totals), Some(2292));
        assert_eq!(trigrams_in(&[]), Some(0));
        assert_eq!(trigrams_in(&[0x82]), None);
        assert_eq!(trigrams_in(&[0xFF; 20]), None);
    }

    #[test]
    fn copies_of_titles() {
        let of = |pairs: &[(&str, &str)]| {
            let owned = |(title, copy): &(&str, &str)| ((*title).to_owned(), (*copy).to_owned());
            Copies::of(&pairs.iter().map(owned).collect::<Vec<_>>())
        };
        let right = of(&[("Call", "call"), ("Straße", "strasse")]);
        assert_eq!((right.compared, right.wrong), (2, 0));
        let wrong = of(&[("Call", ""), ("Straße", "strasse")]);
        assert_eq!((wrong.wrong, wrong.has_wide), (1, false));
        assert!(of(&[("Straße", "call")]).has_wide);
    }
}
