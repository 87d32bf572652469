//! Callers that ask for tasks with ids that this database has never given: they have them from
//! another one.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget, Remedy};
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::services::daemon::DaemonStatus;
use crate::store::{StoreError, inspect};

/// Fewer may be the mistakes of a client.
const ASKED: usize = 10;

/// A client may ask for the same task again and again.
const DIFFERENT: usize = 5;

/// How far beyond the last id one may be that another database of the service has given. Who tries
/// ids tries larger ones.
const BEYOND: i64 = 1000;

/// The warning, if many of the tasks that do not exist cannot have been this database's.
pub(super) async fn foreign_ids(
    context: &Context,
    config: &DatabaseConfig,
    status: &DaemonStatus,
    limit: Duration,
) -> Option<Verdict> {
    let requests = status.requests.as_ref()?;
    if requests.missing_tasks.len() < ASKED {
        return None;
    }
    let last = last_task(context, config, limit).await.ok()?;
    check(&requests.missing_tasks, last.unwrap_or(0), &config.target)
}

async fn last_task(
    context: &Context,
    config: &DatabaseConfig,
    limit: Duration,
) -> Result<Option<i64>, StoreError> {
    match &config.target {
        DatabaseTarget::Postgres(server) => {
            let ask = context.server.ask(server, limit, async |connection| {
                inspect::last_task(connection.session()).await
            });
            ask.await
        }
        DatabaseTarget::Sqlite(file) => {
            let ask = context.file.ask(file, limit, async |connection| {
                inspect::last_task_of_file(connection.session()).await
            });
            ask.await
        }
    }
}

fn check(asked: &[i64], last: i64, target: &DatabaseTarget) -> Option<Verdict> {
    let most = last.saturating_mul(2).saturating_add(BEYOND);
    let beyond: Vec<i64> = asked
        .iter()
        .copied()
        .filter(|id| *id > last && *id <= most)
        .collect();
    let different: BTreeSet<i64> = beyond.iter().copied().collect();
    let highest = *different.last()?;
    if beyond.len() < ASKED || different.len() < DIFFERENT {
        return None;
    }
    let one_database = match target {
        DatabaseTarget::Sqlite(_) => {
            "a SQLite file is for one daemon: where a load balancer or an orchestrator has several behind the address (replicas, scale), let it have one, keep the files of the others, and bring their tasks over; several daemons need PostgreSQL"
        }
        DatabaseTarget::Postgres(_) => {
            "compare DATABASE_URL and DATABASE_URL_UNPOOLED of all daemons behind the address: todoctl doctor beside each one tells what it serves"
        }
    };
    Some(Verdict::warn(
        format!(
            "{} of the newest {} requests for tasks that do not exist (404) were for ids from {} to {highest}, and {last} is the last one that this database has given: another daemon with another database answers at the same address, or this database was restored from a backup without its newest tasks",
            beyond.len(),
            asked.len(),
            last + 1,
        ),
        Remedy::note(one_database).then(Remedy::note(
            "if a backup was restored, look for a newer copy before new tasks get these ids; what is lost has to be created again",
        )),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SqliteTarget;

    #[test]
    fn ids_of_another_database() {
        let file = DatabaseTarget::Sqlite(SqliteTarget {
            path: "todo.db".into(),
        });
        let is_found = |asked: &[i64], last| check(asked, last, &file).is_some();
        let of_both: Vec<i64> = (51..=130).collect();
        assert!(is_found(&of_both, 70));
        // Deleted tasks.
        assert!(!is_found(&of_both, 130));
        // A client with few old bookmarks, and who tries ids.
        assert!(!is_found(&[71; 100], 70));
        assert!(!is_found(&(70..79).collect::<Vec<i64>>(), 69));
        let tried: Vec<i64> = (1..100).map(|number| number * 100_000).collect();
        assert!(!is_found(&tried, 70));
        // After the restore of an empty backup.
        assert!(is_found(&of_both, 0));
        assert!(!is_found(&[i64::MAX; 20], i64::MAX));
    }
}
