//! Rows of a SQLite file that refer to others.

use std::time::Duration;

use crate::config::{SqliteTarget, sql_literal, sql_name};
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::probe::Dangling;
use crate::diagnostics::verdict::Verdict;

use super::issue::{Issue, Place, Step, verdict};
use super::set_aside::{kept_aside, set_aside};

/// Whether every row refers to one that exists. A file too large for the time limit is no fault.
pub(super) async fn references(context: &Context, file: &SqliteTarget, limit: Duration) -> Verdict {
    let question = context
        .file
        .ask(file, limit, async |connection| connection.dangling().await);
    let dangling = match tokio::time::timeout(limit, question).await {
        Ok(Ok(dangling)) => dangling,
        // The parent is no table, or lacks its key.
        Ok(Err(error)) if error.to_string().contains("foreign key mismatch") => {
            return Verdict::skip_because_failed("database.schema");
        }
        Ok(Err(error)) => return query_failed(context, &error),
        Err(_) => {
            return Verdict::skip(format!("not read completely within {} s", limit.as_secs()));
        }
    };
    verdict(
        Place::File(file),
        dangling.iter().map(issue).collect(),
        "every row refers to one that exists",
    )
}

fn issue(one: &Dangling) -> Issue {
    let Dangling {
        table,
        parent,
        rows,
    } = one;
    let mut steps = vec![
        Step::note(format!(
            "another program changed the file without PRAGMA foreign_keys = ON; if rows of {parent} are missing by mistake, restore them; otherwise this moves the rows to {}:",
            set_aside(table)
        )),
        moved_aside(table),
    ];
    // What refers to them in turn.
    if table == "notifications" {
        steps.push(moved_aside("todoctl_outbox"));
    }
    Issue::warn(
        format!("{rows} rows of {table} refer to rows of {parent} that do not exist"),
        steps,
    )
}

fn moved_aside(table: &str) -> Step {
    let dangling = format!(
        "rowid IN (SELECT rowid FROM pragma_foreign_key_check({}))",
        sql_literal(table)
    );
    Step::Run(format!(
        "BEGIN IMMEDIATE; {}; DELETE FROM {} WHERE {dangling}; COMMIT",
        kept_aside(table, &dangling),
        sql_name(table)
    ))
}
