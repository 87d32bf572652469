//! Rows of a SQLite file that refer to others.

use std::time::Duration;

use crate::config::{SqliteTarget, sql_literal, sql_name};
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::probe::Dangling;
use crate::diagnostics::verdict::Verdict;

use super::issue::{Issue, Place, Step, verdict};
use super::set_aside::{kept_aside, set_aside};

/// What SQLite says of a schema that is not the one of the migrations.
const IN_SCHEMA: [&str; 3] = ["foreign key mismatch", "no such table", "no such column"];

/// Whether every row refers to one that exists. A file too large for the time limit is no fault.
pub(super) async fn references(context: &Context, file: &SqliteTarget, limit: Duration) -> Verdict {
    let question = context.file.ask(file, limit, async |connection| {
        Ok((
            connection.dangling().await?,
            connection.notifications_of_others().await?,
        ))
    });
    let (dangling, of_others) = match tokio::time::timeout(limit, question).await {
        Ok(Ok(found)) => found,
        // A table or column is missing, or the parent is no table, or lacks its key.
        Ok(Err(error))
            if IN_SCHEMA
                .iter()
                .any(|text| error.to_string().contains(text)) =>
        {
            return Verdict::skip_because_failed("database.schema");
        }
        Ok(Err(error)) => return query_failed(context, &error),
        Err(_) => {
            return Verdict::skip(format!("not read completely within {} s", limit.as_secs()));
        }
    };
    let misplaced = (of_others > 0).then(|| notifications_of_others(of_others));
    verdict(
        Place::File(file),
        dangling.iter().map(issue).chain(misplaced).collect(),
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

/// As where another program has given tasks to another user, or has merged two accounts.
fn notifications_of_others(count: i64) -> Issue {
    let theirs = "(SELECT user_id FROM tasks WHERE tasks.id = task_id)";
    let mails = "(SELECT user_id FROM notifications WHERE notifications.id = notification_id)";
    Issue::warn(
        format!(
            "{count} notifications belong to another user than their task, and show that user its title"
        ),
        [
            Step::note("this gives them, and mails that wait, to the user of the task:"),
            Step::Run(format!(
                "BEGIN IMMEDIATE; UPDATE notifications SET user_id = {theirs} WHERE user_id <> {theirs}; \
                 UPDATE todoctl_outbox SET user_id = {mails} WHERE state = 'pending' AND user_id <> {mails}; COMMIT"
            )),
        ],
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
