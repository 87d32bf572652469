//! Sequences that generate ids: ahead of their tables, far from their maximum, unshared.

use std::time::Duration;

use crate::config::sql_name;
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::verdict::Verdict;
use crate::store::StoreError;
use crate::store::inspect::{Generated, Ids};

use super::home::{Home, home};
use super::issue::{Issue, Place, Step, no_tables, verdict};

/// Percent of the highest possible id.
const NEAR: i128 = 75;
const FULL: i128 = 95;

pub(super) async fn sequences(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    check(context, server, limit)
        .await
        .unwrap_or_else(|error| query_failed(context, &error))
}

async fn check(
    context: &Context,
    server: Server<'_>,
    limit: Duration,
) -> Result<Verdict, StoreError> {
    let Some(home) = home(context, server, limit).await? else {
        return Ok(no_tables());
    };
    let (columns, reached) = context
        .server
        .ask(server.target, limit, async |connection| {
            let session = connection.session();
            let columns = Generated::ask(session, home.schema).await?;
            let readable: Vec<&Generated> = columns.iter().filter(|one| one.is_readable).collect();
            let reached = Generated::ids(session, home.schema, &readable).await?;
            Ok((columns, reached))
        })
        .await?;
    let mut issues = Vec::new();
    let mut reached = reached.into_iter();
    let mut read = 0;
    for column in &columns {
        issues.extend(odd(home, column));
        if column.is_readable
            && let Some(ids) = reached.next()
        {
            read += 1;
            issues.extend(position(home, column, ids));
        }
    }
    Ok(verdict(
        Place::Server(server.target),
        issues,
        format!("{read} sequences are ahead of their tables"),
    ))
}

/// Whether the next id is free, and how many are left.
fn position(home: Home<'_>, column: &Generated, ids: Ids) -> Option<Issue> {
    let table = &column.table;
    let limit = column.column_max.min(column.sequence_max);
    if let Some(highest) = ids.highest
        && ids.next <= highest
        && column.increment > 0
    {
        let text = format!(
            "the next {table}.{} is {}, but the highest is {highest}: inserts fail with a duplicate key",
            column.column, ids.next
        );
        return Some(Issue::fail(text, [home.alter(table, set_value(home, column))]).fixable());
    }
    let percent = i128::from(ids.next) * 100 / i128::from(limit.max(1));
    if percent < NEAR {
        return None;
    }
    let text = format!(
        "{table}.{} is at {percent} % of its highest value {limit}; after that every insert fails",
        column.column
    );
    let steps = room(home, column, ids);
    Some(if percent < FULL {
        Issue::warn(text, steps)
    } else {
        Issue::fail(text, steps)
    })
}

/// More room for ids.
fn room(home: Home<'_>, column: &Generated, ids: Ids) -> Vec<Step> {
    let (table, name) = (home.qualified(&column.table), sql_name(&column.column));
    if column.column_max < i64::MAX {
        return vec![home.alter(
            &column.table,
            format!(
                "ALTER TABLE {table} ALTER COLUMN {name} TYPE bigint; ALTER SEQUENCE {} AS bigint NO MAXVALUE",
                column.sequence
            ),
        )];
    }
    if column.sequence_max < i64::MAX {
        return vec![home.alter(
            &column.table,
            format!("ALTER SEQUENCE {} AS bigint NO MAXVALUE", column.sequence),
        )];
    }
    // The sequence was moved by mistake, if the rows have lower ids.
    match ids.highest {
        Some(highest) if highest < ids.next / 2 => {
            vec![home.alter(&column.table, set_value(home, column))]
        }
        _ => vec![Step::note(format!(
            "give the rows of {table} with the highest ids lower ones, then: todoctl doctor --only database.sequences"
        ))],
    }
}

/// Moves the sequence behind the highest id while nobody inserts. Never back below an id.
fn set_value(home: Home<'_>, column: &Generated) -> String {
    let (table, name) = (home.qualified(&column.table), sql_name(&column.column));
    format!(
        "BEGIN; SET LOCAL lock_timeout = $$5s$$; LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE; \
         SELECT setval($${}$$, coalesce(max({name}), 0) + 1, false) FROM {table}; COMMIT",
        column.sequence
    )
}

/// What is unusual about a sequence itself.
fn odd(home: Home<'_>, column: &Generated) -> Vec<Issue> {
    let Generated {
        table, sequence, ..
    } = column;
    let mut issues = Vec::new();
    if column.cycles {
        issues.push(Issue::warn(
            format!("the sequence {sequence} starts again after its maximum (CYCLE): ids repeat"),
            [home.alter(table, format!("ALTER SEQUENCE {sequence} NO CYCLE"))],
        ));
    }
    if column.increment < 1 {
        issues.push(Issue::fail(
            format!(
                "the sequence {sequence} counts by {}: ids repeat, and new tasks are not the last",
                column.increment
            ),
            [
                home.alter(table, format!("ALTER SEQUENCE {sequence} INCREMENT BY 1")),
                home.alter(table, set_value(home, column)),
            ],
        ));
    }
    if !column.shared_with.is_empty() {
        issues.push(Issue::warn(
            format!(
                "the sequence {sequence} of {table} is also used by {}",
                column.shared_with.join(", ")
            ),
            [Step::note(format!(
                "give {} sequences of their own: ALTER TABLE … ALTER COLUMN … SET DEFAULT nextval(…)",
                column.shared_with.join(", ")
            ))],
        ));
    } else if !column.is_owned {
        let name = sql_name(&column.column);
        issues.push(Issue::warn(
            format!(
                "the sequence {sequence} does not belong to {table}.{}: pg_dump --table={table} leaves it out",
                column.column
            ),
            [home.alter(
                table,
                format!(
                    "ALTER SEQUENCE {sequence} OWNED BY {}.{name}",
                    home.qualified(table)
                ),
            )],
        ));
    }
    issues
}
