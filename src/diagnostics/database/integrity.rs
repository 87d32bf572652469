//! Whether a SQLite file is sound: its pages, its indexes, and the constraints of its rows.

use std::time::Duration;

use crate::config::{Remedy, SqliteTarget, is_database, sql_literal, sql_name};
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::Tree;
use crate::diagnostics::verdict::Verdict;
use crate::store::inspect::Violation;
use crate::store::messages::{KnownMessage, made_again_from_rows};
use crate::store::{ConnectError, known_message};

use super::fault::{cannot_connect, explained, known_remedy, query_failed};
use super::other_log::{OF_PAGES, killed, log_of_another};
use super::schema::{damaged_index, damaged_index_pages, is_of_search_index, is_search_table};

/// What SQLite finds in the file. A file too large for the time limit is no fault.
pub(super) async fn integrity(context: &Context, file: &SqliteTarget, limit: Duration) -> Verdict {
    let question = context.file.ask(file, limit, async |connection| {
        let lines = connection.integrity().await?;
        let violations = if lines == ["ok"] {
            Violation::of_file(connection.session()).await?
        } else {
            Vec::new()
        };
        Ok((lines, violations))
    });
    match tokio::time::timeout(limit, question).await {
        Ok(Ok((_, violations))) if !violations.is_empty() => check_rows(&violations, file),
        Ok(Ok((lines, _))) if lines == ["ok"] => Verdict::pass("ok"),
        Ok(Ok((lines, _))) => check_lines(context, &lines, file, limit).await,
        Ok(Err(error)) if is_of_search_index(&error.to_string()) => {
            damaged_index(&[error.to_string()], file).await
        }
        Ok(Err(error)) if known_message(&error).is_some_and(KnownMessage::is_of_pages) => {
            pages(context, &[error.to_string()], file, limit).await
        }
        Ok(Err(error)) => query_failed(context, &error),
        Err(_) => Verdict::warn(
            format!(
                "not read completely within {} s; no fault so far",
                limit.as_secs()
            ),
            Remedy::note("at a quiet time, this reads all of it:").then(
                Remedy::command("sqlite3")
                    .arg(&file.path)
                    .arg("PRAGMA integrity_check"),
            ),
        ),
    }
}

/// The verdict on a file that cannot be opened. What has overwritten it may be sound by itself, as a
/// packed backup is.
pub(super) fn not_opened(file: &SqliteTarget, error: &ConnectError) -> Verdict {
    if is_database(&file.path) {
        return cannot_connect(error);
    }
    let remedy = killed(&file.path).then(error.remedy.clone());
    Verdict::fail(explained(error), remedy)
}

/// What SQLite calls wrong. An index can be made again from its table, unless it is unique.
async fn check_lines(
    context: &Context,
    lines: &[String],
    file: &SqliteTarget,
    limit: Duration,
) -> Verdict {
    const OF_TYPE: &str = " value in ";
    const OF_INDEX: [&str; 2] = [" missing from index ", "wrong # of entries in index "];
    let is_of_index = |line: &String| OF_INDEX.iter().any(|text| line.contains(text));
    if lines.iter().all(|line| is_of_search_index(line)) {
        return damaged_index(lines, file).await;
    }
    let detail = lines.join("; ");
    if lines.iter().all(is_of_index) {
        if let Some(of_log) = log_of_another(file, limit).await {
            return of_log;
        }
        let again = Remedy::note("the rows are sound, and this makes the indexes again from them:")
            .then(Remedy::command("sqlite3").arg(&file.path).arg("REINDEX"));
        return Verdict::fail(detail, again);
    }
    if lines.iter().all(|line| line.contains(OF_TYPE)) {
        return of_other_types(lines, file);
    }
    if lines.iter().any(|line| line.contains(OF_PAGES)) {
        return pages(context, lines, file, limit).await;
    }
    Verdict::fail(detail, known_remedy("sqlite.malformed", file))
}

/// How many lines a verdict has.
const SHOWN: usize = 5;

/// Pages are damaged, as these lines say: by a log of another file, or of one object or several.
async fn pages(
    context: &Context,
    lines: &[String],
    file: &SqliteTarget,
    limit: Duration,
) -> Verdict {
    if let Some(of_log) = log_of_another(file, limit).await {
        return of_log;
    }
    let shown: Vec<&str> = lines
        .iter()
        .map(String::as_str)
        .filter(|line| !line.contains(OF_PAGES))
        .take(SHOWN)
        .collect();
    let shown = shown.join("; ");
    let question = context.file.ask(file, limit, async |connection| {
        let trees = connection.trees().await?;
        let tables = trees
            .iter()
            .filter(|tree| !tree.is_index && !is_search_table(&tree.name));
        let mut unread = Vec::new();
        for table in tables {
            if connection.rows_read(&table.name).await?.is_none() {
                unread.push(table.name.clone());
            }
        }
        let is_damaged = |tree: &Tree| lines.iter().any(|line| tree.is_in(line));
        let damaged: Vec<Tree> = trees.into_iter().filter(is_damaged).collect();
        Ok((damaged, unread))
    });
    let Ok(Ok((damaged, unread))) = tokio::time::timeout(limit, question).await else {
        return Verdict::fail(shown, known_remedy("sqlite.malformed", file));
    };
    let tables = damaged
        .iter()
        .filter(|tree| !tree.is_index && !is_search_table(&tree.name));
    let mut tables: Vec<&str> = tables.map(|tree| tree.name.as_str()).collect();
    tables.extend(unread.iter().map(String::as_str));
    tables.sort_unstable();
    tables.dedup();
    if !tables.is_empty() {
        return Verdict::fail(
            format!(
                "pages of {} are damaged: rows are missing, or of another state: {shown}",
                tables.join(" and ")
            ),
            known_remedy("sqlite.malformed", file),
        );
    }
    if !damaged.is_empty() && damaged.iter().all(|tree| is_search_table(&tree.table)) {
        return damaged_index_pages(&shown, file).await;
    }
    let indexes: Vec<String> = damaged.iter().map(named).collect();
    let names = if indexes.is_empty() {
        "pages that no table has".to_owned()
    } else {
        format!("pages of {}", indexes.join(" and "))
    };
    Verdict::fail(
        format!("{names} are damaged, and every row of every table can be read: {shown}"),
        made_again_from_rows(&file.path),
    )
}

fn named(tree: &Tree) -> String {
    if is_search_table(&tree.table) {
        "the index of searches".to_owned()
    } else {
        format!("the index {} of {}", tree.name, tree.table)
    }
}

/// Rows that were stored before a column got another type, or NOT NULL, as in
/// `NULL value in tasks.title`. Nothing is damaged.
fn of_other_types(lines: &[String], file: &SqliteTarget) -> Verdict {
    let mut collected = Collected::default();
    let mut seen: Vec<&String> = lines.iter().collect();
    seen.dedup();
    for line in seen {
        let column = line
            .strip_prefix("NULL value in ")
            .and_then(|name| name.split_once('.'));
        let Some((table, column)) = column else {
            collected.warn(
                format!("{line}: its type was changed, and not its values"),
                None,
            );
            continue;
        };
        let select = format!(
            "SELECT rowid, * FROM {} WHERE {} IS NULL",
            sql_name(table),
            sql_name(column)
        );
        collected.fail(
            format!("{line}: rows without it cannot be read"),
            Remedy::note(
                "another program stored them; this shows them; give each one a value, with UPDATE:",
            )
            .then(Remedy::command("sqlite3").arg(&file.path).arg(select)),
        );
    }
    collected.verdict("")
}

fn check_rows(violations: &[Violation], file: &SqliteTarget) -> Verdict {
    let mut collected = Collected::default();
    for Violation {
        table,
        condition,
        rows,
    } in violations
    {
        let select = format!("SELECT * FROM {} WHERE NOT ({condition})", sql_name(table));
        let shown = Remedy::command("sqlite3").arg(&file.path).arg(select);
        let remedy = Remedy::note("another program stored them with ignore_check_constraints; this shows them; give them values that are allowed, with UPDATE:")
            .then(shown);
        let remedy = match clear_values(table, condition) {
            Some(update) => remedy.or(Remedy::note(
                "where they are only spelt in another way, such as 'true' or 'high', this respells them:",
            )
            .then(Remedy::sql_in_file(&file.path, &update))),
            None => remedy,
        };
        collected.fail(
            format!("rows of {table} that violate CHECK ({condition}): {rows}; they cannot be changed, and may be misread"),
            remedy,
        );
    }
    collected.verdict("")
}

/// Words for truth values.
const TRUE: [&str; 4] = ["true", "t", "yes", "y"];
const FALSE: [&str; 4] = ["false", "f", "no", "n"];

/// A statement that gives values the spelling that a condition such as `priority IN ('Low', 'High')`
/// allows; `None` for other conditions.
fn clear_values(table: &str, condition: &str) -> Option<String> {
    let (column, list) = condition.split_once(" IN (")?;
    let is_part = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
    if !column.chars().all(is_part) {
        return None;
    }
    let allowed: Vec<&str> = list.strip_suffix(')')?.split(", ").collect();
    let spellings: Vec<(String, &str)> = if allowed == ["FALSE", "TRUE"] {
        let words = |words: [&str; 4], value| words.map(|word| (sql_literal(word), value));
        [words(TRUE, "TRUE"), words(FALSE, "FALSE")].concat()
    } else {
        let is_text =
            |value: &&str| value.len() > 2 && value.starts_with('\'') && value.ends_with('\'');
        allowed.iter().all(is_text).then_some(())?;
        allowed
            .iter()
            .map(|value| (value.to_lowercase(), *value))
            .collect()
    };
    let (table, column) = (sql_name(table), sql_name(column));
    let plain = format!("lower(trim({column}))");
    let cases: Vec<String> = spellings
        .iter()
        .map(|(text, value)| format!("WHEN {text} THEN {value}"))
        .collect();
    let texts: Vec<&str> = spellings.iter().map(|(text, _)| text.as_str()).collect();
    Some(format!(
        "UPDATE {table} SET {column} = CASE {plain} {} END WHERE NOT ({condition}) AND {plain} IN ({})",
        cases.join(" "),
        texts.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_clear() {
        assert_eq!(
            clear_values("t", "level IN ('Low', 'High')").unwrap(),
            "UPDATE \"t\" SET \"level\" = CASE lower(trim(\"level\")) WHEN 'low' THEN 'Low' WHEN 'high' THEN 'High' END WHERE NOT (level IN ('Low', 'High')) AND lower(trim(\"level\")) IN ('low', 'high')"
        );
        let done = clear_values("t", "done IN (FALSE, TRUE)").unwrap();
        assert!(done.contains("WHEN 'yes' THEN TRUE") && done.contains("WHEN 'n' THEN FALSE"));
        for condition in [
            "single = 1",
            "a + b IN (1, 2)",
            "length(a) IN ('x', 'y')",
            "a IN (1, 'x')",
        ] {
            assert_eq!(clear_values("t", condition), None, "{condition}");
        }
    }
}
