//! What the role of the daemon's sessions may do.

use std::time::Duration;

use crate::config::{PostgresTarget, Remedy, sql_name};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{PgBouncer, Role};
use crate::diagnostics::verdict::{Unexplained, Verdict};
use crate::store::inspect::Override;
use crate::store::messages;

use super::behind::{ASKING, of_forced_role, of_standby};
use super::fault::query_failed;
use super::overrides::reset;
use super::pooled_remedies::reconnected;

pub(super) async fn role(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    let question = context
        .server
        .ask(server.target, limit, async |connection| {
            let overrides = Override::ask(connection.session()).await?;
            Ok((connection.role().await?, overrides))
        });
    match question.await {
        Ok((role, overrides)) => {
            if role.in_recovery
                && let Some(verdict) = of_standby(server.target).await
            {
                return verdict;
            }
            let verdict = check_role(&role, &overrides, server.target, server.config.auto_migrate);
            if is_kept(&role, &overrides) {
                let pooler = PgBouncer::ask(server.target, ASKING).await;
                return Verdict::fail(
                    format!(
                        "{}, in a session that began before this was reset: the pooler keeps such sessions",
                        verdict.detail
                    ),
                    reconnected(pooler.as_ref(), server.target),
                );
            }
            // Where the tables are decides what is right.
            if role.has_no_schema()
                && let Some(known) = messages::by_id("postgres.no-schema")
                && let Some(unexplained) = Unexplained::of(known, &verdict.detail)
            {
                return verdict.after(unexplained);
            }
            if role.login == server.target.user {
                return verdict;
            }
            of_forced_role(verdict, &role.login, server.target).await
        }
        Err(error) => query_failed(context, &error),
    }
}

/// Whether what is wrong is a setting that only this session still has, which began before it was
/// reset.
fn is_kept(role: &Role, overrides: &[Override]) -> bool {
    let is_wrong = |name: &str| match name {
        "default_transaction_read_only" => role.read_only,
        _ => role.has_no_schema(),
    };
    let is_left = |name: &str| overrides.iter().any(|one| one.name == name);
    let mut given = role.given.iter();
    !role.in_recovery && given.any(|name| is_wrong(name) && !is_left(name))
}

fn check_role(
    role: &Role,
    overrides: &[Override],
    server: &PostgresTarget,
    auto_migrate: bool,
) -> Verdict {
    let name = &role.name;
    let quoted = sql_name(name);
    let as_administrator =
        |statement: String| Remedy::admin_sql(server, role.administrator.as_deref(), statement);
    if role.in_recovery {
        return Verdict::fail(
            "the server is a standby (in recovery): it is read-only",
            Remedy::note("name the primary in DATABASE_URL, which accepts writes"),
        );
    }
    if role.read_only {
        return Verdict::fail(
            format!("the transactions of {name} are read-only"),
            reset(server, overrides, "default_transaction_read_only"),
        );
    }
    if role.login != *name && (role.schema.is_none() || !role.missing.is_empty()) {
        return Verdict::fail(
            format!(
                "sessions of {} act as the role {name}, which may not use all tables: {}",
                role.login,
                role.closed.join(", ")
            ),
            reset(server, overrides, "role").then(Remedy::note(
                "restart the daemon: its sessions keep the old role",
            )),
        );
    }
    // PostgreSQL's own schemas take no tables.
    let schema = role.schema.as_ref();
    let Some(schema) = schema.filter(|schema| !is_systems(schema)) else {
        return no_schema(role, overrides, server, auto_migrate);
    };
    let in_schema = sql_name(schema);
    if !role.missing.is_empty() {
        let grants = role
            .missing
            .iter()
            .map(|what| format!("GRANT {what} TO {quoted}"));
        return Verdict::fail(
            format!("{name} may not use {}", role.closed.join(", ")),
            as_administrator(grants.collect::<Vec<_>>().join("; ")),
        );
    }
    if role.may_create {
        return Verdict::pass(format!("{name} may create tables in {schema}"));
    }
    let remedy = as_administrator(format!("GRANT CREATE ON SCHEMA {in_schema} TO {quoted}"));
    if role.has_tasks {
        let automatic = if auto_migrate {
            "; the next release's migrations will fail"
        } else {
            ""
        };
        return Verdict::warn(
            format!("{name} may use the tables, but not create tables in {schema}{automatic}"),
            remedy,
        );
    }
    Verdict::fail(
        format!("{name} may not create tables in {schema}, and the service's tables do not exist"),
        remedy,
    )
}

fn is_systems(schema: &str) -> bool {
    schema.starts_with("pg_") || schema == "information_schema"
}

/// No schema of the search path exists and may be used.
fn no_schema(
    role: &Role,
    overrides: &[Override],
    server: &PostgresTarget,
    auto_migrate: bool,
) -> Verdict {
    let Role {
        name, search_path, ..
    } = role;
    if role.unusable.is_empty() {
        let is_default = !overrides.iter().any(|one| one.name == "search_path")
            && search_path.as_str() == "\"$user\", public";
        let remedy = if is_default && server.options.is_none() {
            let create = format!(
                "CREATE SCHEMA IF NOT EXISTS public AUTHORIZATION {}",
                sql_name(name)
            );
            Remedy::admin_sql(server, role.administrator.as_deref(), create)
        } else {
            reset(server, overrides, "search_path")
        };
        return Verdict::fail(
            format!(
                "the search path of {name} names no schema for tables that exists ({search_path})"
            ),
            remedy,
        );
    }
    let may_create = auto_migrate || !role.has_tables;
    let grants = role
        .unusable
        .iter()
        .map(|schema| use_of_schema(schema, name, may_create));
    Verdict::fail(
        format!(
            "{name} may not use {}, which its search path names",
            role.unusable.join(", ")
        ),
        Remedy::admin_sql(
            server,
            role.administrator.as_deref(),
            grants.collect::<Vec<_>>().join("; "),
        ),
    )
}

/// The statement that lets a role use a schema, whose name is quoted, and create tables in it.
pub(super) fn use_of_schema(schema: &str, role: &str, may_create: bool) -> String {
    let create = if may_create { ", CREATE" } else { "" };
    format!(
        "GRANT USAGE{create} ON SCHEMA {schema} TO {}",
        sql_name(role)
    )
}
