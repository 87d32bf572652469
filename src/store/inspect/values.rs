//! Values of a SQLite file that are not of their column's type, or are no text: SQLite stores any
//! value in any column.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::config::sql_name;
use crate::domain::{Description, Title};

use super::{StoreError, expected_tables, tables};

/// How many rows are named, so that a statement with all of them is no longer than a shell takes.
const NAMED: usize = 500;

/// What is wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Oddity {
    /// A text that is not UTF-8.
    Encoding,
    /// A text with a NUL in it.
    Nul,
    /// Something else where a text belongs.
    NoText,
    /// A date in words where microseconds since 1970 belong.
    DateText,
    /// Seconds, milliseconds, or a fraction of them, where microseconds belong.
    OtherUnit,
    /// A time before 1973 that is no sensible time in seconds or milliseconds either.
    WrongClock,
    /// Something else where a number belongs.
    NoNumber,
    /// A user id with blanks, tabs or ends of lines before or after it.
    Blanks,
    /// An empty text, or one that is longer than requests may have it.
    Length,
    /// An id below 1, which no request can name.
    LowId,
}

/// A column with values that are wrong in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OddValues {
    pub(crate) table: String,
    pub(crate) column: String,
    pub(crate) oddity: Oddity,
    pub(crate) rows: i64,
    /// Of the first rows.
    pub(crate) ids: Vec<i64>,
    /// Whether a row may have no value.
    pub(crate) is_optional: bool,
}

/// A column of a table.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    kind: String,
    is_optional: bool,
}

/// todoctl's columns by their tables, where rows have an id.
async fn columns(
    session: &mut SqliteConnection,
) -> Result<BTreeMap<String, Vec<Column>>, StoreError> {
    let query = format!(
        "SELECT t.name, c.name, upper(c.type), NOT c.\"notnull\" FROM pragma_table_list t
         JOIN pragma_table_info(t.name) c
         WHERE t.schema = 'main' AND t.type = 'table' AND NOT t.wr AND t.name IN ({})",
        tables()
    );
    let found: Vec<(String, String, String, bool)> = sqlx::query_as(AssertSqlSafe(query))
        .fetch_all(session)
        .await?;
    let mut columns: BTreeMap<String, Vec<Column>> = BTreeMap::new();
    for (table, name, kind, is_optional) in found {
        let part = format!("column {name}");
        let is_ours =
            expected_tables().any(|(known, parts)| known == table && parts.contains_key(&part));
        if is_ours {
            columns.entry(table).or_default().push(Column {
                name,
                kind,
                is_optional,
            });
        }
    }
    Ok(columns)
}

/// Whether a column has times, by its name.
fn has_times(column: &str) -> bool {
    column.ends_with("_at") || column == "due_date"
}

/// Times before 1973, in microseconds.
const EARLY: &str = "BETWEEN 100000000 AND 99999999999999";

/// The condition under which a number is a time between 2000 and 20 years from now, in units of
/// which a second has `per_second`.
pub(crate) fn is_sensible(value: &str, per_second: u32) -> String {
    format!(
        "{value} BETWEEN 946684800 * {per_second} AND CAST(strftime('%s', 'now', '+20 years') AS INTEGER) * {per_second}"
    )
}

/// Tables whose users have several rows each, so that a corrected user id is no duplicate.
const OF_USERS: [&str; 2] = ["tasks", "notifications"];

/// A text without the blanks, tabs and ends of lines around it, as files of spreadsheets leave them.
pub(crate) fn trimmed(value: &str) -> String {
    format!("trim({value}, char(9, 10, 13, 32, 160))")
}

/// The condition under which a text has something around it that [`trimmed`] removes.
pub(crate) fn has_blanks_around(value: &str) -> String {
    let trimmed = trimmed(value);
    format!("{value} <> {trimmed} AND {trimmed} <> ''")
}

/// The condition under which requests may not have a text.
fn is_no_length(table: &str, column: &str) -> Option<String> {
    let name = sql_name(column);
    let (most, or) = match (table, column) {
        ("tasks", "title") => (Title::MAX_CHARS, format!(" OR trim({name}) = ''")),
        ("tasks", "description") => (Description::MAX_CHARS, String::new()),
        _ => return None,
    };
    Some(format!("(length({name}) > {most}{or})"))
}

/// The conditions under which a value of a column is odd.
fn conditions(table: &str, column: &str, kind: &str) -> Vec<(Oddity, String)> {
    let name = sql_name(column);
    let of_type = |types: &str| format!("typeof({name}) {types}");
    if kind == "TEXT" {
        let has_blanks = column == "user_id" && OF_USERS.contains(&table);
        let blanks = has_blanks.then(|| has_blanks_around(&name));
        return [
            Some((Oddity::NoText, of_type("NOT IN ('text', 'null')"))),
            Some((Oddity::Nul, format!("instr({name}, char(0)) > 0"))),
            blanks.map(|condition| (Oddity::Blanks, condition)),
            is_no_length(table, column).map(|condition| (Oddity::Length, condition)),
        ]
        .into_iter()
        .flatten()
        .collect();
    }
    let is_date = format!("strftime('%s', {name}) IS NOT NULL");
    if !has_times(column) {
        let is_id = column == "id" && OF_USERS.contains(&table);
        let low = is_id.then(|| (Oddity::LowId, format!("{name} < 1")));
        let no_number = (Oddity::NoNumber, of_type("NOT IN ('integer', 'null')"));
        return low.into_iter().chain([no_number]).collect();
    }
    let is_unit = format!(
        "({} OR {})",
        is_sensible(&name, 1),
        is_sensible(&name, 1000)
    );
    let is_number = of_type("IN ('integer', 'real')");
    vec![
        (
            Oddity::DateText,
            format!("{} AND {is_date}", of_type("= 'text'")),
        ),
        (Oddity::OtherUnit, format!("{is_number} AND {is_unit}")),
        (
            Oddity::WrongClock,
            format!(
                "{} AND {name} {EARLY} AND NOT {is_unit}",
                of_type("= 'integer'")
            ),
        ),
        (
            Oddity::NoNumber,
            format!(
                "{} AND NOT ({} AND {is_date}) AND NOT ({is_number} AND {is_unit})",
                of_type("NOT IN ('integer', 'null')"),
                of_type("= 'text'")
            ),
        ),
    ]
}

/// SQLite reads a byte that is not part of a sign as the sign of the same number, or as U+FFFD.
/// These rows are the ones to look at.
const MAY_BE_WRONG: &str = "GLOB '*[' || char(128) || '-' || char(191) || char(65533) || ']*'";

impl OddValues {
    /// Those of todoctl's tables. Reads every row.
    pub(crate) async fn of_file(session: &mut SqliteConnection) -> Result<Vec<Self>, StoreError> {
        let tables = columns(session).await?;
        // Other encodings have no wrong bytes after a conversion.
        let encoding: String = sqlx::query_scalar("SELECT encoding FROM pragma_encoding")
            .fetch_one(&mut *session)
            .await?;
        let mut odd = Vec::new();
        for (table, columns) in &tables {
            odd.extend(of_types(session, table, columns).await?);
            if encoding == "UTF-8" {
                let texts = columns.iter().filter(|column| column.kind == "TEXT");
                for column in texts {
                    odd.extend(of_encoding(session, table, column).await?);
                }
            }
        }
        Ok(odd)
    }
}

/// One look at all rows, and another for the ids of those that are odd.
async fn of_types(
    session: &mut SqliteConnection,
    table: &str,
    columns: &[Column],
) -> Result<Vec<OddValues>, StoreError> {
    let asked: Vec<(&Column, Oddity, String)> = columns
        .iter()
        .flat_map(|column| {
            let named = move |(oddity, condition)| (column, oddity, condition);
            let conditions = conditions(table, &column.name, &column.kind);
            conditions.into_iter().map(named)
        })
        .collect();
    let counts: Vec<String> = asked
        .iter()
        .map(|(_, _, condition)| format!("count(*) FILTER (WHERE {condition})"))
        .collect();
    let from = sql_name(table);
    let query = format!("SELECT json_array({}) FROM {from}", counts.join(", "));
    let counted: String = sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_one(&mut *session)
        .await?;
    let counted: Vec<i64> =
        serde_json::from_str(&counted).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let mut odd = Vec::new();
    for ((column, oddity, condition), rows) in asked.into_iter().zip(counted) {
        if rows > 0 {
            let query =
                format!("SELECT rowid FROM {from} WHERE {condition} ORDER BY rowid LIMIT {NAMED}");
            odd.push(OddValues {
                table: table.to_owned(),
                column: column.name.clone(),
                oddity,
                rows,
                ids: sqlx::query_scalar(AssertSqlSafe(query))
                    .fetch_all(&mut *session)
                    .await?,
                is_optional: column.is_optional,
            });
        }
    }
    Ok(odd)
}

async fn of_encoding(
    session: &mut SqliteConnection,
    table: &str,
    column: &Column,
) -> Result<Option<OddValues>, StoreError> {
    let (from, name) = (sql_name(table), sql_name(&column.name));
    let query = format!(
        "SELECT rowid, CAST({name} AS BLOB) FROM {from}
         WHERE typeof({name}) = 'text' AND {name} {MAY_BE_WRONG} ORDER BY rowid"
    );
    let mut rows = sqlx::query_as::<_, (i64, Vec<u8>)>(AssertSqlSafe(query)).fetch(&mut *session);
    let (mut count, mut ids) = (0, Vec::new());
    while let Some((id, bytes)) = rows.try_next().await? {
        if std::str::from_utf8(&bytes).is_err() {
            count += 1;
            if ids.len() < NAMED {
                ids.push(id);
            }
        }
    }
    Ok((count > 0).then(|| OddValues {
        table: table.to_owned(),
        column: column.name.clone(),
        oddity: Oddity::Encoding,
        rows: count,
        ids,
        is_optional: column.is_optional,
    }))
}
