//! Statements that answer one request or several.

use crate::store::arg::{Arg, Array, json_rows};
use crate::store::row::{QueryResult, Row};
use crate::store::sql::Sql;

/// A statement in two texts.
pub(in crate::store) struct Batched {
    /// For one request, on both engines.
    pub single: Sql,
    /// For any number of requests, on PostgreSQL.
    ///
    /// Its arguments are those of `single`, each as an array with one value for a request, so
    /// the text is the same for any number. `unnest … WITH ORDINALITY` turns the arrays into
    /// rows and numbers them.
    ///
    /// The first array is the result of a subquery, so that PostgreSQL does not see its length
    /// when it plans. Otherwise plans for the present arguments look cheaper than the plan for
    /// any, and it makes one for each statement, which takes longer than running it.
    pub several: &'static str,
    /// The same on SQLite. Its only argument is a JSON array with the arguments of each request as
    /// an array, which `json_each` turns into rows. Where there is none, the statements for one
    /// request share a transaction.
    pub several_in_json: Option<&'static str>,
    /// The most requests that one statement answers.
    pub most: usize,
    pub writes: bool,
    /// How to tell which request a row belongs to.
    pub answers: Answers,
}

/// A statement for several requests.
#[derive(Clone, Copy)]
pub(super) struct Several {
    text: &'static str,
    is_json: bool,
    pub answers: Answers,
}

impl Batched {
    pub(super) fn several(&self) -> Several {
        Several {
            text: self.several,
            is_json: false,
            answers: self.answers,
        }
    }

    pub(super) fn several_in_json(&self) -> Option<Several> {
        self.several_in_json.map(|text| Several {
            text,
            is_json: true,
            answers: self.answers,
        })
    }
}

impl Several {
    pub fn is(self, other: Self) -> bool {
        std::ptr::eq(self.text, other.text)
    }

    /// The statement for requests with the arguments `rows`.
    pub fn with(
        self,
        rows: Vec<Vec<Arg<'static>>>,
    ) -> Result<(Sql, Vec<Arg<'static>>), sqlx::Error> {
        let args = if self.is_json {
            vec![json_rows(&rows)?.into()]
        } else {
            Array::columns(rows)
        };
        Ok((Sql::Common(self.text), args))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Answers {
    /// The column `number` counts the requests from 1. The rows of a request are its answer,
    /// which may be none.
    Numbered,
    /// The same, but a request without a row is not answered yet: another transaction has
    /// locked its row, or there is none.
    NumberedIfFree,
    /// There is one row for each request, and the column `id` ascends with them.
    Inserted,
}

impl Answers {
    /// Splits what `several` returned among `count` requests; `None` for one that is not
    /// answered.
    pub fn split(
        self,
        result: QueryResult,
        count: usize,
    ) -> Result<Vec<Option<QueryResult>>, sqlx::Error> {
        if self == Self::Inserted {
            return split_inserted(result.rows, count);
        }
        let mut split: Vec<Option<QueryResult>> = Vec::new();
        split.resize_with(count, || {
            (self == Self::Numbered).then(QueryResult::default)
        });
        let mut position = Vec::new();
        for row in result.rows {
            let number: i64 = row.get_at("number", &mut position)?;
            let answer = usize::try_from(number - 1)
                .ok()
                .and_then(|index| split.get_mut(index))
                .ok_or(sqlx::Error::RowNotFound)?
                .get_or_insert_default();
            answer.rows.push(row);
            answer.affected += 1;
        }
        Ok(split)
    }
}

fn split_inserted(rows: Vec<Row>, count: usize) -> Result<Vec<Option<QueryResult>>, sqlx::Error> {
    if rows.len() != count {
        return Err(sqlx::Error::RowNotFound);
    }
    let mut position = Vec::new();
    let mut rows = rows
        .into_iter()
        .map(|row| Ok((row.get_at::<i64>("id", &mut position)?, row)))
        .collect::<Result<Vec<_>, sqlx::Error>>()?;
    rows.sort_unstable_by_key(|(id, _)| *id);
    let answer = |(_, row)| {
        Some(QueryResult {
            rows: vec![row],
            affected: 1,
        })
    };
    Ok(rows.into_iter().map(answer).collect())
}
