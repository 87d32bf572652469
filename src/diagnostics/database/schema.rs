//! The schema as it is: what the names lead to, how it differs from the migrations, and what
//! others have added to the tables.

use std::time::Duration;

use crate::config::{
    DatabaseConfig, DatabaseTarget, PostgresTarget, Remedy, SqliteTarget, sql_name,
};
use crate::diagnostics::check::{Check, Server, run};
use crate::diagnostics::context::Context;
use crate::diagnostics::fix::Fix;
use crate::diagnostics::verdict::{Outcome, Verdict};
use crate::store::StoreError;
use crate::store::inspect::{self, Relations};
use crate::store::migrate::drift::Drift;

use Outcome::{Fail, Pass, Skip, Warn};

mod collation;
mod columns;
mod constraints;
mod drift;
mod file;
mod indexes;
mod owners;
mod row_security;
mod sequences;
mod tables;
mod triggers;

pub(super) use tables::tables;

pub(in crate::diagnostics) static CHECKS: &[Check] = &[
    Check::new("database.schema", "Schema", run!(Database, schema))
        .about(
            "Tables, columns and constraints are compared with those that the migrations \
             create. What only adds to them is accepted, unless it makes the daemon's \
             statements fail. Usual causes of a failure are changes by hand, another \
             program that manages the same tables, and a partly restored backup.",
        )
        .outcomes(&[Pass, Warn, Fail, Skip])
        .fix("Creates missing indexes and triggers of a SQLite file again.")
        .needs(&["database.query", "database.migrations"])
        .taking_turns(),
    Check::new(
        "database.indexes",
        "Indexes",
        run!(Server, indexes::indexes),
    )
    .about(
        "The indexes that the migrations create exist, are valid and unique where they \
             have to be, and nobody added a unique index that refuses rows. Without them \
             requests get slow, or changes fail. The usual cause is CREATE INDEX \
             CONCURRENTLY that was interrupted.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .fix("Creates missing indexes, and builds invalid ones again, without locking their tables.")
    .needs(&["database.query", "database.migrations"])
    .taking_turns(),
    Check::new(
        "database.triggers",
        "Triggers",
        run!(Server, triggers::triggers),
    )
    .about(
        "The triggers that count unread notifications are there and enabled, and their \
             function is unchanged. Triggers and rules that others added are named, because \
             they can refuse or suppress changes. The usual cause is a bulk load that \
             disabled triggers.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .fix("Enables or creates the triggers of todoctl again, and counts the unread notifications.")
    .needs(&["database.query", "database.migrations"])
    .taking_turns(),
    // A large file takes long to read.
    Check::new(
        "database.references",
        "References",
        run!(File, file::references),
    )
    .about(
        "Every row of the SQLite file that refers to another row refers to one that exists. \
         The usual cause of others is a program that changed the file without foreign keys, \
         which SQLite enforces only where they are switched on.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .needs(&["database.query", "database.migrations"])
    .taking_turns()
    .within(10),
    Check::new(
        "database.sequences",
        "Sequences",
        run!(Server, sequences::sequences),
    )
    .about(
        "The sequences that generate ids are ahead of the highest id of their tables and \
             far from their maximum. A sequence that is behind makes every insert fail \
             with a duplicate key. The usual cause is a copy of tables or a restored backup \
             without sequence values.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .fix("Moves a sequence behind the highest id of its table.")
    .needs(&["database.query", "database.tables"])
    .taking_turns(),
    Check::new("database.owners", "Owners", run!(Server, owners::owners))
        .about(
            "The role that migrates owns the tables, or is a member of the role that does. \
             Otherwise the next migration fails. The usual cause is a backup that was \
             restored by an administrator.",
        )
        .outcomes(&[Pass, Warn, Fail, Skip])
        .needs(&["database.query", "database.tables"])
        .taking_turns(),
    Check::new(
        "database.row_security",
        "Row security",
        run!(Server, row_security::row_security),
    )
    .about(
        "Row-level security of the tables lets this role read and change every row. \
         Otherwise lists are empty and changes are refused. The usual cause is a provider's \
         console that enables it for all tables.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .needs(&["database.query", "database.tables"])
    .taking_turns(),
    Check::new(
        "database.collation",
        "Collation",
        run!(Server, collation::collation),
    )
    .about(
        "The versions of the collations that the indexes were built with are those of the \
         server's libraries. After an upgrade of the operating system text may sort \
         differently, and then indexes on text miss rows and accept duplicates.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .needs(&["database.query", "database.tables"])
    .taking_turns(),
];

/// The schema of either engine.
async fn schema(context: &Context, config: &DatabaseConfig, limit: Duration) -> Verdict {
    match &config.target {
        DatabaseTarget::Postgres(target) => {
            drift::schema(context, Server { config, target }, limit).await
        }
        DatabaseTarget::Sqlite(file) => file::schema(file).await,
    }
}

/// One thing that is wrong, and the steps that correct it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Issue {
    outcome: Outcome,
    text: String,
    steps: Vec<Step>,
    fix: Option<Fix>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Statements that the service's own role may run.
    Run(String),
    /// Statements that need the owner of the objects, or else an administrator.
    RunBy(Option<String>, String),
    /// What is no statement.
    Other(Remedy),
}

impl Step {
    /// What only a person can do.
    fn note(text: impl AsRef<str>) -> Self {
        Self::Other(Remedy::note(text))
    }

    fn remedy(&self, place: Place<'_>) -> Remedy {
        match (self, place) {
            (Self::Run(statements), Place::Server(_)) => Remedy::sql(statements),
            (Self::RunBy(owner, statements), Place::Server(server)) => {
                Remedy::admin_sql(server, owner.as_deref(), statements)
            }
            (Self::Run(statements) | Self::RunBy(_, statements), Place::File(file)) => {
                Remedy::command("sqlite3").arg(&file.path).arg(statements)
            }
            (Self::Other(remedy), _) => remedy.clone(),
        }
    }
}

impl Issue {
    fn fail(text: impl Into<String>, steps: impl IntoIterator<Item = Step>) -> Self {
        Self::new(Fail, text.into(), steps)
    }

    fn warn(text: impl Into<String>, steps: impl IntoIterator<Item = Step>) -> Self {
        Self::new(Warn, text.into(), steps)
    }

    fn new(outcome: Outcome, text: String, steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            outcome,
            text,
            steps: steps.into_iter().collect(),
            fix: None,
        }
    }

    /// With what `doctor --fix` may do, which is what its step says. Only the role's own
    /// statements are.
    fn fixable(mut self) -> Self {
        let statements: Option<Vec<String>> = self
            .steps
            .iter()
            .map(|step| match step {
                Step::Run(text) => Some(text.clone()),
                Step::RunBy(..) | Step::Other(_) => None,
            })
            .collect();
        self.fix = statements.map(Fix::Statements);
        self
    }
}

/// Where statements run.
#[derive(Clone, Copy)]
enum Place<'a> {
    Server(&'a PostgresTarget),
    File(&'a SqliteTarget),
}

/// How many issues a verdict names.
const NAMED: usize = 8;

/// The verdict on all issues, failures first.
fn verdict(place: Place<'_>, mut issues: Vec<Issue>, fine: impl Into<String>) -> Verdict {
    issues.sort_by_key(|one| one.outcome != Fail);
    let Some(worst) = issues.first() else {
        return Verdict::pass(fine);
    };
    let is_failed = worst.outcome == Fail;
    let mut texts: Vec<&str> = issues.iter().map(|one| one.text.as_str()).collect();
    let more = texts.len().saturating_sub(NAMED);
    texts.truncate(NAMED);
    let mut detail = texts.join("; ");
    if more > 0 {
        detail += &format!("; and {more} more");
    }
    let steps = issues.iter().flat_map(|one| &one.steps);
    let remedy = steps.fold(Remedy::default(), |remedy, step| {
        remedy.then(step.remedy(place))
    });
    let verdict = if is_failed {
        Verdict::fail(detail, remedy)
    } else {
        Verdict::warn(detail, remedy)
    };
    verdict.with_fixes(issues.into_iter().filter_map(|one| one.fix))
}

/// The schema of the service, and who may alter a table.
#[derive(Clone, Copy)]
struct Home<'a> {
    relations: &'a Relations,
    schema: &'a str,
}

impl Home<'_> {
    /// A name with the schema, quoted.
    fn qualified(self, name: &str) -> String {
        format!("{}.{}", sql_name(self.schema), sql_name(name))
    }

    /// A step that alters `table`.
    fn alter(self, table: &str, statements: impl Into<String>) -> Step {
        let statements = statements.into();
        match self.relations.within(self.schema, table) {
            Some(found) if !found.is_owned => Step::RunBy(Some(found.owner.clone()), statements),
            _ => Step::Run(statements),
        }
    }

    /// Statements whose names are those of the migrations, without a schema.
    fn in_schema(self, statements: &str) -> String {
        format!("SET search_path = {}; {statements}", sql_name(self.schema))
    }
}

/// What the names lead to, asked once a run.
async fn relations<'a>(
    context: &'a Context,
    target: &PostgresTarget,
    limit: Duration,
) -> Result<&'a Relations, StoreError> {
    let ask = || {
        context.server.ask(target, limit, async |connection| {
            Relations::ask(connection.session()).await
        })
    };
    context.relations.get_or_try_init(ask).await
}

/// How the schema differs from the migrations, asked once a run. `None` without a schema.
async fn drift_of<'a>(
    context: &'a Context,
    server: Server<'_>,
    limit: Duration,
) -> Result<Option<(Home<'a>, &'a Drift)>, StoreError> {
    let relations = relations(context, server.target, limit).await?;
    let Some(schema) = relations.home() else {
        return Ok(None);
    };
    let ask = || {
        context
            .server
            .ask(server.target, limit, async |connection| {
                inspect::drift(connection.session(), schema).await
            })
    };
    let drift = context.drift.get_or_try_init(ask).await?;
    Ok(Some((Home { relations, schema }, drift)))
}

/// The schema of the service's tables; `None` before they exist.
async fn home<'a>(
    context: &'a Context,
    server: Server<'_>,
    limit: Duration,
) -> Result<Option<Home<'a>>, StoreError> {
    let relations = relations(context, server.target, limit).await?;
    let schema = relations.home();
    let home = schema.map(|schema| Home { relations, schema });
    Ok(home.filter(|home| relations.within(home.schema, "tasks").is_some()))
}

/// Before the first migration.
fn no_tables() -> Verdict {
    Verdict::skip("there are no tables yet")
}
