//! Rows of a SQLite file that CHECK constraints do not allow.
//!
//! SQLite does not read these constraints on a connection that only reads, so
//! `PRAGMA integrity_check` says nothing about them there.

use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::config::sql_name;

use super::{StoreError, tables};

/// A constraint that rows violate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) table: String,
    pub(crate) condition: String,
    pub(crate) rows: i64,
}

impl Violation {
    /// Those of todoctl's tables, as they are in the file.
    pub(crate) async fn of_file(session: &mut SqliteConnection) -> Result<Vec<Self>, StoreError> {
        let query = format!(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name IN ({})",
            tables()
        );
        let found: Vec<(String, String)> = sqlx::query_as(AssertSqlSafe(query))
            .fetch_all(&mut *session)
            .await?;
        let mut violations = Vec::new();
        for (table, definition) in found {
            for condition in conditions(&definition) {
                let query = format!(
                    "SELECT count(*) FROM {} WHERE NOT ({condition})",
                    sql_name(&table)
                );
                let rows = sqlx::query_scalar(AssertSqlSafe(query))
                    .fetch_one(&mut *session)
                    .await?;
                if rows > 0 {
                    violations.push(Self {
                        table: table.clone(),
                        condition: condition.to_owned(),
                        rows,
                    });
                }
            }
        }
        Ok(violations)
    }
}

/// The conditions of the CHECK constraints in the definition of a table.
fn conditions(definition: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut quote = None;
    let mut depth = 0_usize;
    let mut begun: Option<(usize, usize)> = None;
    for (index, sign) in definition.char_indices() {
        match (quote, sign) {
            (Some(end), _) if sign == end => quote = None,
            (None, '\'' | '"' | '`') => quote = Some(sign),
            (None, '[') => quote = Some(']'),
            (None, '(') => {
                if begun.is_none() && ends_with_check(&definition[..index]) {
                    begun = Some((depth, index + 1));
                }
                depth += 1;
            }
            (None, ')') => {
                depth = depth.saturating_sub(1);
                if let Some((_, start)) = begun.take_if(|(outer, _)| *outer == depth) {
                    found.push(&definition[start..index]);
                }
            }
            _ => {}
        }
    }
    found
}

fn ends_with_check(text: &str) -> bool {
    let is_part = |sign: char| sign.is_alphanumeric() || sign == '_';
    let word = text.trim_end().rsplit(|sign| !is_part(sign)).next();
    word.is_some_and(|word| word.eq_ignore_ascii_case("check"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_a_table() {
        let definition = "CREATE TABLE t (
            done BOOLEAN CHECK (done IN (FALSE, TRUE)),
            checked TEXT DEFAULT ('check (x)'),
            level TEXT check(level <> ')' OR (level IS NULL)),
            CONSTRAINT both CHECK (done OR level = 'a(b'))";
        assert_eq!(
            conditions(definition),
            [
                "done IN (FALSE, TRUE)",
                "level <> ')' OR (level IS NULL)",
                "done OR level = 'a(b'"
            ]
        );
        assert!(conditions("CREATE TABLE t (recheck (x))").is_empty());
    }
}
