//! Sequences that generate ids: ahead of their tables, far from their maximum, unshared.

use std::time::Duration;

use sqlx::PgConnection;

use crate::config::{DatabaseConfig, DatabaseTarget, Remedy, SqliteTarget, sql_literal, sql_name};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::verdict::Verdict;
use crate::store::StoreError;
use crate::store::inspect::{Dependent, Generated, Ids, Numbered};

use super::answer::of_tables;
use super::dependents;
use super::home::Home;
use super::issue::{Issue, Place, Step, verdict};
use super::strays::carried_over;

/// Percent of the highest possible id.
const NEAR: i128 = 75;
const FULL: i128 = 95;

pub(super) async fn sequences(
    context: &Context,
    config: &DatabaseConfig,
    limit: Duration,
) -> Verdict {
    match &config.target {
        DatabaseTarget::Postgres(target) => {
            of_server(context, Server { config, target }, limit).await
        }
        DatabaseTarget::Sqlite(file) => of_file(context, file, limit).await,
    }
}

async fn of_file(context: &Context, file: &SqliteTarget, limit: Duration) -> Verdict {
    let question = context.file.ask(file, limit, async |connection| {
        Numbered::of_file(connection.session()).await
    });
    match question.await {
        Ok(tables) => verdict(
            Place::File(file),
            tables.iter().filter_map(in_file).collect(),
            "far from their maximum",
        ),
        Err(error) => query_failed(context, &error),
    }
}

/// Ids of removed rows may be given again then.
fn in_file(one: &Numbered) -> Option<Issue> {
    let Numbered { table, highest, .. } = one;
    let (name, text) = (sql_name(table), sql_literal(table));
    let Some(last) = one.last else {
        highest.as_ref()?;
        return Some(
            Issue::warn(
                format!("{table} has rows, and sqlite_sequence has none for it: the ids of its newest rows are given again when these are deleted"),
                [Step::Run(format!(
                    "INSERT INTO sqlite_sequence (name, seq) SELECT {text}, (SELECT max(id) FROM {name}) \
                     WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = {text})"
                ))],
            )
            .fixable(),
        );
    };
    // The sequence was moved by mistake, if the rows have lower ids.
    let is_moved = highest.is_none_or(|highest| highest < last / 2);
    let reached = highest.map_or(last, |highest| highest.max(last));
    let issue = nearly_full(&format!("{table}.id"), reached, i64::MAX, || {
        vec![if is_moved {
            Step::Run(format!(
                "UPDATE sqlite_sequence SET seq = (SELECT coalesce(max(id), 0) FROM {name}) WHERE name = {text}"
            ))
        } else {
            lower_ids(table)
        }]
    })?;
    Some(if is_moved { issue.fixable() } else { issue })
}

async fn of_server(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    of_tables(
        context,
        server,
        limit,
        ask,
        |home, (columns, dependents)| {
            let mut issues = Vec::new();
            let mut read = 0;
            for (column, ids) in columns {
                if let Some(own) = column.own.as_ref().filter(|own| **own != column.sequence) {
                    issues.push(of_another(home, column, own));
                    continue;
                }
                let is_lent = |other: &String| {
                    let takes = |one: &&(Generated, Option<Ids>)| one.0.table == *other;
                    let taken = columns.iter().find(takes);
                    taken.is_some_and(|one| one.0.own.is_some())
                };
                // Those that have their own get it back.
                let is_shared = !column.shared_with.iter().all(is_lent);
                issues.extend(odd(home, column, is_shared));
                if let Some(ids) = ids {
                    read += 1;
                    issues.extend(position(home, column, *ids, dependents));
                }
            }
            verdict(
                Place::Server(server.target),
                issues,
                format!("{read} sequences are ahead of their tables"),
            )
        },
    )
    .await
}

/// The columns with what those have reached that the role may read, and what depends on columns
/// whose type can be larger.
async fn ask(
    session: &mut PgConnection,
    schema: &str,
) -> Result<(Vec<(Generated, Option<Ids>)>, Vec<Dependent>), StoreError> {
    let columns = Generated::ask(session, schema).await?;
    let readable: Vec<&Generated> = columns.iter().filter(|one| one.is_readable).collect();
    let mut reached = Generated::ids(session, schema, &readable)
        .await?
        .into_iter();
    let with_ids = |column: Generated| {
        let ids = column.is_readable.then(|| reached.next()).flatten();
        (column, ids)
    };
    let columns: Vec<_> = columns.into_iter().map(with_ids).collect();
    let dependents = if columns.iter().any(|(one, _)| one.column_max < i64::MAX) {
        Dependent::ask(session, schema).await?
    } else {
        Vec::new()
    };
    Ok((columns, dependents))
}

/// Whether the next id is free, and how many are left.
fn position(
    home: Home<'_>,
    column: &Generated,
    ids: Ids,
    dependents: &[Dependent],
) -> Option<Issue> {
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
        return Some(Issue::fail(text, [alter(home, column, set_value(home, column))]).fixable());
    }
    let name = format!("{table}.{}", column.column);
    nearly_full(&name, ids.next, limit, || {
        room(home, column, ids, dependents)
    })
}

/// Whether most of the possible ids are used.
fn nearly_full(
    column: &str,
    next: i64,
    limit: i64,
    steps: impl FnOnce() -> Vec<Step>,
) -> Option<Issue> {
    let percent = i128::from(next) * 100 / i128::from(limit.max(1));
    if percent < NEAR {
        return None;
    }
    let text = format!(
        "{column} is at {percent} % of its highest value {limit}; after that every insert fails"
    );
    let steps = steps();
    Some(if percent < FULL {
        Issue::warn(text, steps)
    } else {
        Issue::fail(text, steps)
    })
}

/// More room for ids.
fn room(home: Home<'_>, column: &Generated, ids: Ids, dependents: &[Dependent]) -> Vec<Step> {
    let (table, name) = (home.qualified(&column.table), sql_name(&column.column));
    if column.column_max < i64::MAX {
        return vec![dependents::change(
            home,
            dependents,
            (&column.table, &column.column),
            &format!(
                "ALTER TABLE {table} ALTER COLUMN {name} TYPE bigint; ALTER SEQUENCE {} AS bigint NO MAXVALUE",
                column.sequence
            ),
        )];
    }
    if column.sequence_max < i64::MAX {
        return vec![alter(
            home,
            column,
            format!("ALTER SEQUENCE {} AS bigint NO MAXVALUE", column.sequence),
        )];
    }
    // The sequence was moved by mistake, if the rows have lower ids.
    match ids.highest {
        Some(highest) if highest < ids.next / 2 => {
            vec![alter(home, column, set_value(home, column))]
        }
        _ => vec![lower_ids(&table)],
    }
}

fn lower_ids(table: &str) -> Step {
    Step::note(format!(
        "give the rows of {table} with the highest ids lower ones, then: todoctl doctor --only database.sequences"
    ))
}

/// A step that alters a column and its sequence, which may have another owner.
fn alter(home: Home<'_>, column: &Generated, statements: String) -> Step {
    if column.is_movable {
        home.alter(&column.table, statements)
    } else {
        Step::RunBy(None, statements)
    }
}

/// Moves the sequence behind the highest id while nobody inserts. Never back below an id.
fn set_value(home: Home<'_>, column: &Generated) -> String {
    let (table, name) = (home.qualified(&column.table), sql_name(&column.column));
    format!(
        "BEGIN; LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE; \
         SELECT setval($${}$$, coalesce(max({name}), 0) + 1, false) FROM {table}; COMMIT",
        column.sequence
    )
}

/// A column that takes its values from another sequence than its own.
fn of_another(home: Home<'_>, column: &Generated, own: &str) -> Issue {
    let Generated {
        table, sequence, ..
    } = column;
    let (qualified, name) = (home.qualified(table), sql_name(&column.column));
    Issue::fail(
        format!(
            "{table}.{} takes its values from {sequence}, not from its own sequence {own}: they may be ids of other rows",
            column.column
        ),
        [home.alter(
            table,
            format!(
                "BEGIN; LOCK TABLE {qualified} IN SHARE ROW EXCLUSIVE MODE; \
                 SELECT setval($${own}$$, greatest(coalesce(max({name}), 0) + 1, nextval($${own}$$)), false) FROM {qualified}; \
                 ALTER TABLE {qualified} ALTER COLUMN {name} SET DEFAULT nextval($${own}$$); COMMIT"
            ),
        )],
    )
}

/// A table of the same name in another schema, which the daemon may have used in place of the
/// service's. Whether rows were deleted on purpose since, only a person knows.
fn shadows(home: Home<'_>, column: &Generated) -> Option<Step> {
    let mut same = home.relations.all.iter().filter(|one| {
        one.name == column.table
            && one.schema != home.schema
            && one.is_table
            && one.is_complete()
            && !one.is_temporary
    });
    let one = same.next()?;
    let from = format!("{}.{}", sql_name(&one.schema), sql_name(&one.name));
    let statement = Remedy::sql(carried_over(home.schema, &column.table, &from, None));
    Some(Step::note(format!(
        "if {from} has hidden {} and the daemon has stored rows there, this copies them and gives it another name; rows that were deleted since come back: {statement}",
        column.table
    )))
}

/// What is unusual about a sequence itself.
fn odd(home: Home<'_>, column: &Generated, is_shared: bool) -> Vec<Issue> {
    let Generated {
        table, sequence, ..
    } = column;
    let mut issues = Vec::new();
    if column.cycles {
        issues.push(Issue::warn(
            format!("the sequence {sequence} starts again after its maximum (CYCLE): ids repeat"),
            [alter(
                home,
                column,
                format!("ALTER SEQUENCE {sequence} NO CYCLE"),
            )],
        ));
    }
    if column.increment < 1 {
        issues.push(Issue::fail(
            format!(
                "the sequence {sequence} counts by {}: ids repeat, and new tasks are not the last",
                column.increment
            ),
            [
                alter(
                    home,
                    column,
                    format!("ALTER SEQUENCE {sequence} INCREMENT BY 1"),
                ),
                alter(home, column, set_value(home, column)),
            ],
        ));
    }
    if is_shared {
        issues.push(Issue::warn(
            format!(
                "the sequence {sequence} of {table} is also used by {}",
                column.shared_with.join(", ")
            ),
            [
                shadows(home, column),
                Some(Step::note(format!(
                    "give {} sequences of their own: ALTER TABLE … ALTER COLUMN … SET DEFAULT nextval(…)",
                    column.shared_with.join(", ")
                ))),
            ]
            .into_iter()
            .flatten(),
        ));
    } else if !column.is_owned && column.shared_with.is_empty() {
        let name = sql_name(&column.column);
        let owner = if column.sequence_owner == column.table_owner {
            String::new()
        } else {
            let owner = sql_name(&column.table_owner);
            format!("ALTER SEQUENCE {sequence} OWNER TO {owner}; ")
        };
        issues.push(Issue::warn(
            format!(
                "the sequence {sequence} does not belong to {table}.{}: pg_dump --table={table} leaves it out",
                column.column
            ),
            // A sequence belongs to a column only if both have the same owner.
            [alter(
                home,
                column,
                format!(
                    "{owner}ALTER SEQUENCE {sequence} OWNED BY {}.{name}",
                    home.qualified(table)
                ),
            )],
        ));
    }
    issues
}
