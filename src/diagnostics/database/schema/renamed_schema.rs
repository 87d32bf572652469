//! A schema that has another name than the one that the search path leads to.

use std::time::Duration;

use tokio::time::timeout;

use crate::config::sql_name;
use crate::diagnostics::context::Context;
use crate::store::Identity;
use crate::store::inspect::{Relation, Relations};

use super::issue::{Issue, Step, guarded, literal};

/// Where nobody has set the search path, and `public` is the schema that it lacks.
const DEFAULT: &str = "public";

/// That the schema of `tasks` was renamed: the daemon has started with a schema that the search path
/// still names, or the path is the server's own. Its old name is right again for all sessions, and
/// for functions that name it.
pub(super) async fn renamed(
    context: &Context,
    relations: &Relations,
    tasks: &Relation,
    limit: Duration,
) -> Option<Issue> {
    let session = &relations.session;
    let is_set = session
        .overrides
        .iter()
        .any(|one| one.name == "search_path");
    let served = served(context, &session.absent, limit).await;
    let is_default = |name: &&String| name.as_str() == DEFAULT && !is_set;
    let former = served.or_else(|| session.absent.iter().find(is_default))?;
    let (schema, new) = (&tasks.schema, sql_name(&tasks.schema));
    let statement = guarded(
        &format!("to_regnamespace({}) IS NOT NULL", literal(&new)),
        &format!("ALTER SCHEMA {new} RENAME TO {former}"),
    );
    let step = if tasks.has_own_schema {
        Step::Run(statement)
    } else {
        Step::RunBy(None, statement)
    };
    Some(Issue::fail(
        format!(
            "the schema {former}, which the search path of {} names ({}), is gone, and its tables are in {schema}: it was renamed",
            session.role, session.search_path
        ),
        [step],
    ))
}

/// That of `names` with which the running daemon has started.
async fn served<'a>(context: &Context, names: &'a [String], limit: Duration) -> Option<&'a String> {
    if names.is_empty() {
        return None;
    }
    let daemon = context.daemon(limit).await;
    let served = daemon.status.as_ref().ok()?.database.as_ref()?;
    let ours = timeout(limit, Identity::ask(context.target()?)).await;
    let ours = ours.ok()?.ok()?;
    let mut names = names.iter();
    names.find(|name| ours.place_in(&name.trim_matches('"').replace("\"\"", "\"")) == served.place)
}
