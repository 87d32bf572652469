//! Whether the service needs the secrets that it had: what it has stored fits no others.

use std::path::Path;
use std::time::Duration;

use crate::config::{DEFAULT_ENV_FILE, DatabaseTarget, Problem};
use crate::diagnostics::context::Context;
use crate::services::last_database::LastDatabase;
use crate::store::{is_file_in_use, is_server_in_use};

/// The problems of a service that lacks secrets and needs the old ones, with what puts them back;
/// `None` where it lacks none, or is new.
pub(super) async fn problems(context: &Context, limit: Duration) -> Option<Vec<Problem>> {
    let audit = &context.audit;
    if audit.absent_secrets().is_empty() {
        return None;
    }
    let source = &context.request.source;
    let last = LastDatabase::read(source.file().unwrap_or(Path::new(DEFAULT_ENV_FILE)));
    let had_tasks = last.as_ref().is_some_and(|last| last.tasks > 0);
    if !had_tasks && !is_used(context, limit).await {
        return None;
    }
    let places = last.map(|last| last.secrets).unwrap_or_default();
    Some(audit.problems_in_use(source, &places))
}

/// Whether the database says so, if it answers.
async fn is_used(context: &Context, limit: Duration) -> bool {
    let _turn = context.turn().await;
    // The check ends by itself.
    let limit = limit / 2;
    let used = match context.target() {
        Some(DatabaseTarget::Postgres(server)) => {
            let question = context.server.ask(server, limit, async |connection| {
                is_server_in_use(connection.session()).await
            });
            tokio::time::timeout(limit, question).await
        }
        Some(DatabaseTarget::Sqlite(file)) if context.stuck().is_none() && file.path.exists() => {
            let question = context.file.ask(file, limit, async |connection| {
                is_file_in_use(connection.session()).await
            });
            tokio::time::timeout(limit, question).await
        }
        _ => return false,
    };
    matches!(used, Ok(Ok(true)))
}
