//! The schema that has the service's tables, and how it differs from the migrations.

use std::time::Duration;

use crate::config::{PostgresTarget, sql_name};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::store::StoreError;
use crate::store::inspect::{self, Relations};
use crate::store::migrate::drift::Drift;

use super::issue::{Issue, Step};

/// The schema of the service, and who may alter a table.
#[derive(Clone, Copy)]
pub(super) struct Home<'a> {
    pub(super) relations: &'a Relations,
    pub(super) schema: &'a str,
}

impl Home<'_> {
    /// A name with the schema, quoted.
    pub(super) fn qualified(self, name: &str) -> String {
        format!("{}.{}", sql_name(self.schema), sql_name(name))
    }

    /// A step that alters `table`.
    pub(super) fn alter(self, table: &str, statements: impl Into<String>) -> Step {
        let statements = statements.into();
        match self.relations.within(self.schema, table) {
            Some(found) if !found.is_owned => Step::RunBy(Some(found.owner.clone()), statements),
            _ => Step::Run(statements),
        }
    }

    /// A step that alters `table` to refer to `other`, which takes the rights of both owners.
    pub(super) fn alter_referring(self, table: &str, other: &str, statements: String) -> Step {
        let owner = |name| self.relations.within(self.schema, name);
        match (owner(table), owner(other)) {
            (Some(one), Some(other)) if !other.is_owned && one.owner != other.owner => {
                Step::RunBy(None, statements)
            }
            _ => self.alter(table, statements),
        }
    }

    /// Steps that alter a function or a type of `table`, which first gets the table's owner where
    /// it has another.
    pub(super) fn alter_created(
        self,
        name: &str,
        table: &str,
        statements: impl Into<String>,
    ) -> Vec<Step> {
        let alter = self.alter(table, statements);
        self.give_created(name, table)
            .into_iter()
            .chain([alter])
            .collect()
    }

    /// Gives a function or a type to the owner of `table`, where it has another.
    pub(super) fn give_created(self, name: &str, table: &str) -> Option<Step> {
        let found = self.relations.created_within(self.schema, name)?;
        let table = self.relations.within(self.schema, table);
        let owner = table.map_or(&self.relations.session.role, |one| &one.owner);
        let give = format!(
            "ALTER {} {} OWNER TO {}",
            found.kind,
            found.qualified,
            sql_name(owner)
        );
        (!found.is_owned).then_some(Step::RunBy(None, give))
    }

    /// These issues, and before them that PL/pgSQL cannot be used, which most steps are written in.
    pub(super) fn with_language(self, mut issues: Vec<Issue>) -> Vec<Issue> {
        let session = &self.relations.session;
        let role = sql_name(&session.role);
        let (text, step) = match session.may_use_plpgsql {
            Some(true) => return issues,
            Some(false) => (
                format!("{} may not use PL/pgSQL", session.role),
                Step::RunBy(None, format!("GRANT USAGE ON LANGUAGE plpgsql TO {role}")),
            ),
            None => {
                let statement = "CREATE EXTENSION IF NOT EXISTS plpgsql".to_owned();
                (
                    "the extension plpgsql was dropped, and with it what is written in it"
                        .to_owned(),
                    if session.may_extend {
                        Step::Run(statement)
                    } else {
                        Step::RunBy(None, statement)
                    },
                )
            }
        };
        // Without it, what is there still works.
        if !issues.is_empty() {
            issues.insert(0, Issue::fail(text, [step]));
        }
        issues
    }

    /// Statements whose names are those of the migrations, without a schema, in one transaction.
    pub(super) fn in_schema(self, statements: &str) -> String {
        format!(
            "SET LOCAL search_path = {}; {statements}",
            sql_name(self.schema)
        )
    }
}

/// What the names lead to, asked once a run.
pub(super) async fn relations<'a>(
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
pub(super) async fn drift_of<'a>(
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
pub(super) async fn home<'a>(
    context: &'a Context,
    server: Server<'_>,
    limit: Duration,
) -> Result<Option<Home<'a>>, StoreError> {
    let relations = relations(context, server.target, limit).await?;
    let schema = relations.home();
    let home = schema.map(|schema| Home { relations, schema });
    Ok(home.filter(|home| relations.within(home.schema, "tasks").is_some()))
}
