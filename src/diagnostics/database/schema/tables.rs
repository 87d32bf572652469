//! What the names of the tables lead to, before anything is called missing.

use std::time::Duration;

use crate::config::{PostgresTarget, Remedy, sql_name};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::database::overrides::reset;
use crate::diagnostics::database::role::use_of_schema;
use crate::diagnostics::probe::ServerConnection;
use crate::diagnostics::verdict::Verdict;
use crate::store::StoreError;
use crate::store::inspect::{self, Created, Relation, Relations, Shadow};
use crate::store::migrate::{is_migrated, own_schema};

use super::home::{drift_of, relations};
use super::issue::{Issue, Place, Step, guarded, literal, verdict};
use super::renamed_schema::renamed;
use super::strays::{carried_over, in_order};

pub(in crate::diagnostics::database) async fn tables(
    context: &Context,
    server: Server<'_>,
    limit: Duration,
) -> Verdict {
    check(context, server, limit)
        .await
        .unwrap_or_else(|error| query_failed(context, &error))
}

async fn check(
    context: &Context,
    server: Server<'_>,
    limit: Duration,
) -> Result<Verdict, StoreError> {
    let target = server.target;
    let relations = relations(context, target, limit).await?;
    let session = &relations.session;
    let mut issues = Vec::new();
    if let Some(history) = relations.history() {
        issues.extend(shadowed(relations, target, &history.schema));
        issues.extend(other_schema(context, relations, target, limit).await?);
        let ask = async |connection: &mut ServerConnection| Shadow::ask(connection.session()).await;
        let shadows = context.server.ask(target, limit, ask).await?;
        issues.extend(
            shadows
                .iter()
                .map(|one| in_place_of_systems(one, relations, target)),
        );
        return Ok(verdict(
            Place::Server(target),
            issues,
            format!("in the schema {}", history.schema),
        ));
    }
    if let Some(elsewhere) = relations.migrated_schemas().next() {
        let schema = &elsewhere.schema;
        return Ok(verdict(
            Place::Server(target),
            vec![
                if let Some(issue) = renamed(context, relations, elsewhere, limit).await {
                    issue
                } else if elsewhere.has_usable_schema {
                    Issue::fail(
                        format!(
                            "the tables are in the schema {schema}, which is not in the search path of {} ({})",
                            session.role, session.search_path
                        ),
                        search_path(relations, target, schema),
                    )
                } else {
                    Issue::fail(
                        format!(
                            "the tables are in the schema {schema}, which {} may not use",
                            session.role
                        ),
                        [Step::RunBy(
                            None,
                            use_of_schema(
                                &elsewhere.quoted_schema,
                                &session.role,
                                server.config.auto_migrate,
                            ),
                        )],
                    )
                },
            ],
            "",
        ));
    }
    let Some(current) = &session.current_schema else {
        // The check of the role says what to do.
        return Ok(Verdict::pass("no schema in the search path"));
    };
    if let Some(tasks) = relations.visible("tasks")
        && tasks.schema != *current
    {
        issues.push(Issue::warn(
            format!(
                "tasks leads to the schema {}, but migrations create their tables in {current}: the existing tables would be hidden, not taken over",
                tasks.schema
            ),
            search_path(relations, target, &tasks.schema),
        ));
        return Ok(verdict(Place::Server(target), issues, ""));
    }
    if let Some((_, drift)) = drift_of(context, server, limit).await?
        && is_migrated(&drift.found)
    {
        // The check of the migrations says what to do.
        return Ok(Verdict::pass(format!(
            "in the schema {current}, without a record of their migrations"
        )));
    }
    let refusal = context
        .server
        .ask(target, limit, async |connection| {
            inspect::refusal(connection.session()).await
        })
        .await?;
    if let Some(reason) = refusal {
        issues.push(Issue::fail(
            format!("tables of another service are in the way: {reason}"),
            [Step::Other(own_schema())],
        ));
    }
    let fine = if relations.visible("tasks").is_some() {
        "of the previous service: migrations take them over"
    } else {
        "none yet: migrations create them"
    };
    Ok(verdict(Place::Server(target), issues, fine))
}

/// Tables and types of the service's schema that another schema hides. What a pooler's client has
/// left in a session is the check's of sessions.
fn shadowed(relations: &Relations, target: &PostgresTarget, home: &str) -> Vec<Issue> {
    let tables: Vec<(&str, &Relation)> = relations
        .all
        .iter()
        .filter(|one| one.schema == home && !one.is_visible)
        .filter_map(|one| Some((one.name.as_str(), relations.visible(&one.name)?)))
        .filter(|(_, by)| !by.is_temporary)
        .collect();
    let types = relations
        .created
        .iter()
        .filter(|one| one.kind == "TYPE" && one.schema == home && !one.is_visible)
        .filter_map(|one| {
            let is_it = |other: &&Created| other.name == one.name && other.is_visible;
            let by = relations.created.iter().find(is_it)?;
            Some((one.name.as_str(), by.schema.as_str()))
        });
    let types: Vec<(&str, &str)> = types.collect();
    let (taken, foreign): (Vec<_>, Vec<_>) = tables
        .into_iter()
        .partition(|(_, by)| types.is_empty() && takes_rows(relations, by));
    let path = &relations.session.search_path;
    let mut issues = Vec::new();
    if !taken.is_empty() {
        issues.push(Issue::fail(
            format!(
                "{}, which is earlier in the search path ({path}): what requests store is there",
                hidden(taken.iter().map(|(name, by)| (*name, by.schema.as_str())))
            ),
            carry_over(&taken, home),
        ));
    }
    let foreign = foreign.iter().map(|(name, by)| (*name, by.schema.as_str()));
    let hidden = hidden(foreign.chain(types.iter().copied()));
    if !hidden.is_empty() {
        issues.push(Issue::fail(
            format!("{hidden}, which is earlier in the search path ({path})"),
            search_path(relations, target, home),
        ));
    }
    issues
}

/// What is hidden by what, in words.
fn hidden<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let texts: Vec<String> = pairs
        .map(|(name, by)| format!("{name} is hidden by {by}.{name}"))
        .collect();
    texts.join(", ")
}

/// Whether the daemon stores rows in it: it has all columns, and is no service's of its own.
fn takes_rows(relations: &Relations, by: &Relation) -> bool {
    let is_own = relations
        .migrated_schemas()
        .any(|one| one.schema == by.schema);
    by.is_table && by.is_complete() && !is_own
}

/// Copies what was stored in tables that hide the service's, and names these tables otherwise, so
/// that running sessions find the service's at once.
fn carry_over(taken: &[(&str, &Relation)], home: &str) -> Vec<Step> {
    let mut names: Vec<String> = taken.iter().map(|(name, _)| (*name).to_owned()).collect();
    in_order(&mut names);
    let by = |name: &String| taken.iter().find(|(one, _)| one == name);
    let found = names.iter().filter_map(by);
    let mut steps: Vec<Step> = found
        .map(|(name, by)| {
            let from = format!("{}.{}", sql_name(&by.schema), sql_name(name));
            let statement = carried_over(home, name, &from, None);
            if by.is_owned {
                Step::Run(statement)
            } else {
                Step::RunBy(None, statement)
            }
        })
        .collect();
    steps.insert(
        0,
        Step::note("what was stored in the tables that hide the service's is copied, and they get other names; tasks that both have keep the newer values, and one whose id is taken gets a new id:"),
    );
    steps
}

/// A function or an operator that the daemon's statements use without knowing it.
fn in_place_of_systems(one: &Shadow, relations: &Relations, target: &PostgresTarget) -> Issue {
    let name = &one.name;
    let steps = if one.is_earlier {
        let overrides = &relations.session.overrides;
        vec![
            Step::Other(reset(target, overrides, "search_path")),
            Step::note("restart the daemon: its sessions keep the old search path"),
        ]
    } else {
        vec![Step::note(format!(
            "give {name} another name (ALTER with RENAME TO), or move it to a schema that is not in the search path; views and indexes that use it follow"
        ))]
    };
    Issue::warn(
        format!(
            "{name} is used in place of the system's (search path {})",
            relations.session.search_path
        ),
        steps,
    )
}

/// Tables of the service in another schema than the one that comes first in the search path. A
/// search path in the URL is meant for this service alone.
async fn other_schema(
    context: &Context,
    relations: &Relations,
    target: &PostgresTarget,
    limit: Duration,
) -> Result<Option<Issue>, StoreError> {
    let session = &relations.session;
    let (Some(home), Some(current)) = (relations.home(), &session.current_schema) else {
        return Ok(None);
    };
    if home != current {
        return Ok(Some(Issue::warn(
            format!(
                "the tables are in the schema {home}, but {current} comes first in the search path ({}): the next migration would create its tables there, and is refused",
                session.search_path
            ),
            search_path(relations, target, home),
        )));
    }
    let options = target.options.as_deref().unwrap_or_default();
    let others = relations.migrated_schemas();
    let mut others = others.filter(|one| one.schema != home && one.has_usable_schema);
    let Some(other) = others.next().filter(|_| !options.contains("search_path")) else {
        return Ok(None);
    };
    let has_tasks = async |schema: &str| {
        let ask = context.server.ask(target, limit, async |connection| {
            inspect::has_rows(connection.session(), schema, "tasks").await
        });
        // Not known without the privilege, or while the table is locked.
        ask.await.ok()
    };
    let (ours, theirs) = (has_tasks(home).await, has_tasks(&other.schema).await);
    let hidden = format!("{home}.tasks hides {}.tasks", other.schema);
    let steps = search_path(relations, target, &other.schema);
    Ok(match (ours, theirs) {
        (Some(false), Some(true)) => Some(Issue::fail(
            format!("{hidden}: the one is empty, the other has tasks"),
            steps,
        )),
        (Some(true), Some(true)) if session.searched.contains(&other.schema) => Some(Issue::warn(
            format!("{hidden}, and both have tasks: clients see those of {home}"),
            [Step::note(format!(
                "if both are wanted, name the schema of this service in the URL: todoctl config set DATABASE_URL.options=-csearch_path={home}; otherwise copy the tasks of {home} into {} first, then reset the search path",
                other.schema
            ))],
        )),
        _ => None,
    })
}

/// How `schema` gets into the search path.
fn search_path(relations: &Relations, target: &PostgresTarget, schema: &str) -> Vec<Step> {
    let session = &relations.session;
    let options = target.options.as_deref().unwrap_or_default();
    let is_set = session
        .overrides
        .iter()
        .any(|one| one.name == "search_path");
    // What the server's default finds needs no setting.
    if schema == "public" && (is_set || options.contains("search_path")) {
        return vec![
            Step::Other(reset(target, &session.overrides, "search_path")),
            Step::note("restart the daemon: its sessions keep the old search path"),
        ];
    }
    if options.contains("search_path") {
        return vec![Step::Other(Remedy::set(
            "DATABASE_URL.options",
            format!("-csearch_path={schema}"),
        ))];
    }
    let left = left_behind(relations, schema);
    let mut steps: Vec<Step> = left.iter().map(|one| moved(one, schema)).collect();
    steps.extend([
        Step::Run(format!(
            "ALTER ROLE {} IN DATABASE {} SET search_path = {}",
            sql_name(&session.role),
            sql_name(&session.database),
            sql_name(schema),
        )),
        Step::note("restart the daemon: its sessions keep the old search path"),
    ]);
    steps.extend(named_anew(&left));
    steps
}

/// Corrects functions that were moved, which name the tables with the schema from before.
fn named_anew(moved: &[&Created]) -> Vec<Step> {
    let mut functions = moved.iter().filter(|one| one.kind == "FUNCTION").peekable();
    if functions.peek().is_none() {
        return Vec::new();
    }
    let command = Remedy::command("todoctl doctor --only database.triggers");
    let (what, command) = if functions.all(|one| one.is_owned) {
        (
            "the functions name the tables with the old schema; this corrects them:",
            command.joined(" --fix --yes"),
        )
    } else {
        (
            "the functions name the tables with the old schema; this says what corrects them:",
            command,
        )
    };
    vec![Step::note(what), Step::Other(command)]
}

/// The functions and types that are not where the tables are, because these alone were moved.
fn left_behind<'a>(relations: &'a Relations, schema: &str) -> Vec<&'a Created> {
    let is_left = |one: &&Created| {
        one.schema != schema
            && relations.created_within(schema, &one.name).is_none()
            && relations.all.iter().all(|table| table.schema != one.schema)
    };
    relations.created.iter().filter(is_left).collect()
}

/// Moves a function or a type after the tables.
fn moved(one: &Created, schema: &str) -> Step {
    let find = if one.kind == "TYPE" {
        "to_regtype"
    } else {
        "to_regprocedure"
    };
    let condition = format!("{find}({}) IS NOT NULL", literal(&one.qualified));
    let statement = format!(
        "ALTER {} {} SET SCHEMA {}",
        one.kind,
        one.qualified,
        sql_name(schema)
    );
    let statement = guarded(&condition, &statement);
    if one.is_owned {
        Step::Run(statement)
    } else {
        Step::RunBy(None, statement)
    }
}
