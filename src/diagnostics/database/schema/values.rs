//! Whether the values of a SQLite file are what the daemon reads them as.

use std::time::Duration;

use crate::config::{SqliteTarget, sql_name};
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::verdict::Verdict;
use crate::store::inspect::{OddValues, Oddity, has_blanks_around, is_sensible, trimmed};

use super::issue::{Issue, Place, Step, verdict};
use super::rebuild::FILE_SEARCH;
use super::set_aside::{kept_aside, set_aside};

/// How many rows a verdict names.
const NAMED: usize = 5;

/// A file too large for the time limit is no fault.
pub(super) async fn values(context: &Context, file: &SqliteTarget, limit: Duration) -> Verdict {
    let question = context.file.ask(file, limit, async |connection| {
        OddValues::of_file(connection.session()).await
    });
    match tokio::time::timeout(limit, question).await {
        Ok(Ok(odd)) => verdict(
            Place::File(file),
            odd.iter().map(issue).collect(),
            "of the types of their columns",
        ),
        Ok(Err(error)) => query_failed(context, &error),
        Err(_) => Verdict::skip(format!("not read completely within {} s", limit.as_secs())),
    }
}

fn issue(odd: &OddValues) -> Issue {
    let OddValues { table, column, .. } = odd;
    let (what, harm) = match odd.oddity {
        Oddity::Encoding => (
            "is not UTF-8",
            "requests for these rows are answered with 500",
        ),
        Oddity::Nul => (
            "contains a NUL",
            "searches do not find what is behind it, and PostgreSQL refuses it",
        ),
        Oddity::NoText => (
            "is stored as a number or as bytes",
            "it does not equal the same text, so these rows are not found by it",
        ),
        Oddity::DateText => (
            "is stored as a text, not in microseconds since 1970",
            "it is read as a time in 1970",
        ),
        Oddity::OtherUnit => (
            "is stored in seconds or milliseconds, not in microseconds since 1970",
            "it is read as a time before 1973",
        ),
        Oddity::WrongClock => (
            "is a time before 1973, as of a daemon whose clock was wrong",
            "lists and reminders take it as it is",
        ),
        Oddity::NoNumber => (
            "is stored as something else than a whole number",
            "it is misread",
        ),
        Oddity::Blanks => (
            "has blanks, tabs or ends of lines before or after it",
            "it is another user id, whose rows nobody sees",
        ),
        Oddity::Length => (
            "is empty, or longer than requests may have it",
            "clients that send a whole task back get 422",
        ),
        Oddity::LowId => (
            "is below 1",
            "requests with it are answered with 404, so these rows can neither be changed nor deleted",
        ),
    };
    let rows = if odd.rows == 1 { "row" } else { "rows" };
    let text = format!(
        "{table}.{column} {what} in {} {rows} ({}): {harm}",
        odd.rows,
        ids(odd)
    );
    match odd.oddity {
        Oddity::Nul | Oddity::WrongClock | Oddity::Blanks | Oddity::Length => {
            Issue::warn(text, steps(odd))
        }
        _ => Issue::fail(text, steps(odd)),
    }
}

/// The first rows.
fn ids(odd: &OddValues) -> String {
    let named = odd.ids.iter().take(NAMED);
    let mut ids: Vec<String> = named.map(i64::to_string).collect();
    if usize::try_from(odd.rows).is_ok_and(|rows| rows > ids.len()) {
        ids.push("and others".to_owned());
    }
    format!("rowid {}", ids.join(", "))
}

fn steps(odd: &OddValues) -> Vec<Step> {
    let (table, column) = (sql_name(&odd.table), sql_name(&odd.column));
    let update = |value: &str, condition: &str| {
        Step::Run(format!(
            "UPDATE {table} SET {column} = {value} WHERE {condition}"
        ))
    };
    match odd.oddity {
        Oddity::NoText => vec![update(
            &format!("CAST({column} AS TEXT)"),
            &format!("typeof({column}) NOT IN ('text', 'null')"),
        )],
        Oddity::DateText => vec![
            Step::note(
                "another program stored dates in words; where they name no time zone, they are taken as UTC:",
            ),
            update(
                &format!(
                    "CAST(strftime('%s', {column}) AS INTEGER) * 1000000 + CAST(substr(strftime('%f', {column}), 4) AS INTEGER) * 1000"
                ),
                &format!("typeof({column}) = 'text' AND strftime('%s', {column}) IS NOT NULL"),
            ),
        ],
        Oddity::OtherUnit => {
            let scaled = |factor: &str, per_second| {
                update(
                    &format!("CAST({column} * {factor} AS INTEGER)"),
                    &format!(
                        "typeof({column}) IN ('integer', 'real') AND {}",
                        is_sensible(&column, per_second)
                    ),
                )
            };
            vec![
                Step::note("another program stored seconds, or milliseconds:"),
                // The milliseconds first: what were seconds is beyond both afterwards.
                scaled("1000", 1000),
                scaled("1000000", 1),
            ]
        }
        Oddity::WrongClock => vec![
            Step::note(
                "where that is not meant, give each row the time of the row with the id before it, with UPDATE; this shows them:",
            ),
            show(odd, &format!("datetime({column} / 1000000, 'unixepoch')")),
        ],
        Oddity::Encoding => vec![
            Step::note(format!(
                "another program stored them in another encoding, most often Windows-1252 (Latin-1); this keeps the rows as they are in {}, and reads the texts in that encoding:",
                set_aside(&odd.table)
            )),
            Step::Run(format!(
                "BEGIN IMMEDIATE; {}; UPDATE {table} SET {column} = ({}) WHERE {}; COMMIT",
                kept_aside(&odd.table, &here(odd)),
                from_windows_1252(&column),
                here(odd)
            )),
        ],
        Oddity::Nul => vec![
            Step::note(
                "another program stored them; write these texts again without it, with UPDATE or through the API; this shows them:",
            ),
            show(odd, &format!("hex({column})")),
        ],
        Oddity::Blanks => vec![update(&trimmed(&column), &has_blanks_around(&column))],
        Oddity::Length => vec![
            Step::note(
                "another program stored them; change them with UPDATE or through the API; this shows how long they are:",
            ),
            show(odd, &format!("length({column})")),
        ],
        Oddity::LowId => vec![
            Step::note("another program stored them; this gives them new ids, the next ones:"),
            Step::Run(with_new_ids(&odd.table)),
        ],
        Oddity::NoNumber => {
            // As an import from a CSV file leaves them.
            let empty = odd
                .is_optional
                .then(|| update("NULL", &format!("{column} = ''")));
            let shown = [
                Step::note(
                    "another program stored them; give each one a number, with UPDATE; this shows them:",
                ),
                show(odd, &format!("typeof({column}), quote({column})")),
            ];
            empty.into_iter().chain(shown).collect()
        }
    }
}

/// The tables whose rows name those of another one by their ids.
const REFERENCES: [(&str, &str, &str); 2] = [
    ("tasks", "notifications", "task_id"),
    ("notifications", "todoctl_outbox", "notification_id"),
];

/// Statements that give the rows with ids below 1 ids that no row has had.
fn with_new_ids(table: &str) -> String {
    let new = |column: &str| {
        format!(
            "max((SELECT max(id) FROM {table}), 0, \
             coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = '{table}'), 0)) - {column} + 1"
        )
    };
    let references: Vec<String> = REFERENCES
        .iter()
        .filter(|(of, ..)| *of == table)
        .map(|(_, other, column)| {
            format!(
                "UPDATE {other} SET {column} = {} WHERE {column} < 1; ",
                new(column)
            )
        })
        .collect();
    // Its entries have the ids.
    let search = if table == "tasks" {
        format!("; {FILE_SEARCH}")
    } else {
        String::new()
    };
    format!(
        "BEGIN IMMEDIATE; PRAGMA defer_foreign_keys = ON; {}UPDATE {table} SET id = {} WHERE id < 1{search}; COMMIT",
        references.concat(),
        new("id")
    )
}

/// The condition for the rows.
fn here(odd: &OddValues) -> String {
    let ids: Vec<String> = odd.ids.iter().map(i64::to_string).collect();
    format!("rowid IN ({})", ids.join(", "))
}

fn show(odd: &OddValues, what: &str) -> Step {
    Step::Run(format!(
        "SELECT rowid, {what} FROM {} WHERE {}",
        sql_name(&odd.table),
        here(odd)
    ))
}

/// The signs of the bytes 128 to 159 in Windows-1252; all others have the number of their byte.
const SIGNS: &str = "char(8364, 129, 8218, 402, 8222, 8230, 8224, 8225, 710, 8240, 352, 8249, 338, 141, 381, 143, 144, 8216, 8217, 8220, 8221, 8226, 8211, 8212, 732, 8482, 353, 8250, 339, 157, 382, 376)";

/// A query for the text that the bytes of a column are in Windows-1252.
fn from_windows_1252(column: &str) -> String {
    let bytes = format!("CAST({column} AS BLOB)");
    let digit = |at: i32| format!("instr('123456789ABCDEF', substr(hex, {at}, 1))");
    format!(
        "WITH RECURSIVE digits (at, hex) AS (SELECT 1, hex(substr({bytes}, 1, 1)) \
         UNION ALL SELECT at + 1, hex(substr({bytes}, at + 1, 1)) FROM digits WHERE at < length({bytes})), \
         codes (at, code) AS (SELECT at, {} * 16 + {} FROM digits) \
         SELECT group_concat(iif(code BETWEEN 128 AND 159, substr({SIGNS}, code - 127, 1), char(code)), '') \
         FROM (SELECT code FROM codes ORDER BY at)",
        digit(1),
        digit(2)
    )
}
