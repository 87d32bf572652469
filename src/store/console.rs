//! Statements that an operator types.

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Column as _, Connection as _, Either, Row as _, ValueRef as _};

use crate::config::PostgresTarget;

use super::connect::open_postgres;
use super::error::StoreError;

/// What one statement returned.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) columns: Vec<String>,
    /// Values as PostgreSQL writes them; NULL is empty, as in psql.
    pub(crate) rows: Vec<Vec<String>>,
    /// How many rows it returned or changed.
    pub(crate) affected: u64,
}

/// Runs statements one after the other, each string in a transaction of its own, as psql does
/// with `-c`.
pub(crate) async fn run_statements(
    server: &PostgresTarget,
    statements: &[String],
) -> Result<Vec<Answer>, StoreError> {
    let mut connection = open_postgres(server).await?;
    let mut answers = Vec::new();
    for text in statements {
        // The simple protocol returns every value as text.
        let query = sqlx::raw_sql(AssertSqlSafe(text.clone()));
        let mut results = query.fetch_many(&mut connection);
        let mut answer = Answer::default();
        while let Some(result) = results.try_next().await? {
            match result {
                Either::Right(row) => {
                    let columns = row.columns().iter();
                    answer.columns = columns.map(|column| column.name().to_owned()).collect();
                    let values = (0..row.len()).map(|index| {
                        let value = row.try_get_raw(index)?;
                        if value.is_null() {
                            return Ok(String::new());
                        }
                        let text = value.as_str().map_err(sqlx::Error::Decode)?;
                        Ok::<_, sqlx::Error>(text.to_owned())
                    });
                    answer.rows.push(values.collect::<Result<_, _>>()?);
                }
                Either::Left(done) => {
                    answer.affected = done.rows_affected();
                    answers.push(std::mem::take(&mut answer));
                }
            }
        }
    }
    connection.close().await?;
    Ok(answers)
}
