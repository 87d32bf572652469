//! Callers that ask for tasks that they do not have: of another database, or of another user.

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
    let asked = &requests.missing_tasks;
    let (last, others) = ask(context, config, asked, limit).await.ok()?;
    check(asked, last.unwrap_or(0), &config.target).or_else(|| check_users(asked, &others))
}

/// The highest id that a task was ever given, and which of these tasks there are.
async fn ask(
    context: &Context,
    config: &DatabaseConfig,
    asked: &[i64],
    limit: Duration,
) -> Result<(Option<i64>, Vec<i64>), StoreError> {
    match &config.target {
        DatabaseTarget::Postgres(server) => {
            let ask = context.server.ask(server, limit, async |connection| {
                let last = inspect::last_task(connection.session()).await?;
                let found = inspect::tasks_among(connection.session(), asked).await?;
                Ok((last, found))
            });
            ask.await
        }
        DatabaseTarget::Sqlite(file) => {
            let ask = context.file.ask(file, limit, async |connection| {
                let last = inspect::last_task_of_file(connection.session()).await?;
                let found = inspect::tasks_among_of_file(connection.session(), asked).await?;
                Ok((last, found))
            });
            ask.await
        }
    }
}

/// `others` are tasks that exist: those who asked for them are not their users.
fn check_users(asked: &[i64], others: &[i64]) -> Option<Verdict> {
    let count = asked.iter().filter(|id| others.contains(id)).count();
    if count < ASKED || others.len() < DIFFERENT {
        return None;
    }
    Some(Verdict::warn(
        format!(
            "{count} of the newest {} requests for tasks that do not exist (404) were for tasks of other users: clients or services name the users differently than when the tasks were created",
            asked.len()
        ),
        Remedy::note(
            "compare X-User-ID of the service, or sub in the tokens of the sign-in service, with user_id in the table tasks: an e-mail address or a name in place of an id is another user, and so is an id that a new sign-in service has given",
        ),
    ))
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
    fn tasks_of_other_users() {
        let tasks: Vec<i64> = (1..=12).collect();
        assert!(check_users(&tasks, &tasks).is_some());
        assert!(check_users(&tasks, &tasks[..9]).is_none());
        // A page that asks for the same task again and again.
        assert!(check_users(&[7; 100], &[7]).is_none());
    }

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
