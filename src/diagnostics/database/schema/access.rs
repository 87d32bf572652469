//! Whether roles may do more than the service needs, or less than what others added to it does.

use std::time::Duration;

use crate::config::{Environment, PostgresTarget, Remedy, sql_name};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::store::inspect::{self, Access};

use super::answer::of_tables;
use super::home::{Home, home};
use super::issue::{Issue, Place, Step, verdict};

pub(super) async fn access(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    let environment = context.audit.environment;
    of_tables(context, server, limit, Access::ask, |home, access| {
        check(home, server.target, access, environment)
    })
    .await
}

/// Grants the rights that the functions of others' triggers need.
pub(in crate::diagnostics::database) async fn missing_rights(
    context: &Context,
    server: Server<'_>,
    limit: Duration,
) -> Option<Remedy> {
    let home = home(context, server, limit).await.ok()??;
    let ask = context
        .server
        .ask(server.target, limit, async |connection| {
            inspect::missing_rights(connection.session(), home.schema).await
        });
    let grants = ask.await.ok().filter(|grants| !grants.is_empty())?;
    Some(Remedy::admin_sql(server.target, None, grants.join("; ")))
}

fn check(
    home: Home<'_>,
    target: &PostgresTarget,
    access: &Access,
    environment: Environment,
) -> Verdict {
    let issues: Vec<Issue> = [superuser(home, access), public(home, access)]
        .into_iter()
        .flatten()
        .collect();
    // A server for development often has one role for everything.
    if environment == Environment::Development && !issues.is_empty() {
        let texts: Vec<&str> = issues.iter().map(|one| one.text.as_str()).collect();
        return Verdict::pass(format!("for development: {}", texts.join("; ")));
    }
    verdict(
        Place::Server(target),
        issues,
        "no table is open to every role",
    )
}

fn superuser(home: Home<'_>, access: &Access) -> Option<Issue> {
    // The server's first role stays a superuser. It is the service's where the server has no other
    // purpose, as in a container.
    if !access.rights.is_superuser || access.rights.is_first {
        return None;
    }
    let role = &home.relations.session.role;
    let text = format!(
        "{role} is a superuser: its password opens all databases of the server, and lets programs run on it"
    );
    let quoted = sql_name(role);
    let own = access
        .foreign
        .iter()
        .map(|one| format!("ALTER {} OWNER TO {quoted}", one.object));
    let rest = [
        format!(
            "GRANT USAGE, CREATE ON SCHEMA {} TO {quoted}",
            sql_name(home.schema)
        ),
        format!("ALTER ROLE {quoted} NOSUPERUSER"),
    ];
    let statements: Vec<String> = own.chain(rest).collect();
    Some(Issue::warn(
        text,
        [Step::RunBy(None, statements.join("; "))],
    ))
}

fn public(home: Home<'_>, access: &Access) -> Option<Issue> {
    if access.public.is_empty() {
        return None;
    }
    let named: Vec<String> = access
        .public
        .iter()
        .map(|one| format!("{} ({})", one.name, one.privileges))
        .collect();
    let role = sql_name(&home.relations.session.role);
    let steps = access.public.iter().map(|one| {
        let table = home.qualified(&one.name);
        // The service itself may have its rights as one of all roles.
        home.alter(
            &one.name,
            format!(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {role}; REVOKE ALL ON {table} FROM PUBLIC"
            ),
        )
    });
    Some(Issue::warn(
        format!("every role of the server may use {}", named.join(", ")),
        steps,
    ))
}
