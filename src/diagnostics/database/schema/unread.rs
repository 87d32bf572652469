//! Whether the counts of unread notifications are right, which triggers keep.

use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget, SqliteTarget};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::{is_ended_by_limit, query_failed};
use crate::diagnostics::verdict::Verdict;
use crate::store::inspect::Unread;
use crate::store::{StoreError, known_message};

use super::home::home;
use super::issue::{Issue, Place, Step, no_tables, verdict};
use super::triggers::counted_again;

/// What is said where the comparison takes too long. Both engines answer from an index, at some
/// million notifications a second.
const TOO_MANY: &str = "not compared: there are too many unread notifications for the time limit";

pub(super) async fn unread(context: &Context, config: &DatabaseConfig, limit: Duration) -> Verdict {
    let asked = match &config.target {
        DatabaseTarget::Postgres(target) => {
            of_server(context, Server { config, target }, limit).await
        }
        DatabaseTarget::Sqlite(file) => of_file(context, file, limit).await,
    };
    match asked {
        Ok(verdict) => verdict,
        Err(error) if is_ended_by_limit(&error) => Verdict::skip(TOO_MANY),
        // The table is missing.
        Err(error)
            if known_message(&error).is_some_and(|known| known.id == "postgres.no-table") =>
        {
            Verdict::skip_because_failed("database.schema")
        }
        Err(error) => query_failed(context, &error),
    }
}

async fn of_server(
    context: &Context,
    server: Server<'_>,
    limit: Duration,
) -> Result<Verdict, StoreError> {
    let Some(home) = home(context, server, limit).await? else {
        return Ok(no_tables());
    };
    let found = context
        .server
        .ask(server.target, limit, async |connection| {
            Unread::of_server(connection.session(), home.schema).await
        })
        .await?;
    let correction = home.alter("notifications", counted_again(home, None));
    Ok(check(Place::Server(server.target), found, correction))
}

async fn of_file(
    context: &Context,
    file: &SqliteTarget,
    limit: Duration,
) -> Result<Verdict, StoreError> {
    let question = context.file.ask(file, limit, async |connection| {
        Unread::of_file(connection.session()).await
    });
    match tokio::time::timeout(limit, question).await {
        Ok(found) => {
            let correction = Step::Run(format!("BEGIN IMMEDIATE; {FILE_COUNT}; COMMIT"));
            Ok(check(Place::File(file), found?, correction))
        }
        Err(_) => Ok(Verdict::skip(TOO_MANY)),
    }
}

/// Where a SQLite file keeps the counts.
pub(super) const UNREAD: &str = "table todoctl_unread";

/// Counts again in a SQLite file, in a transaction of the caller's.
pub(super) const FILE_COUNT: &str = "DELETE FROM todoctl_unread; \
     INSERT INTO todoctl_unread (user_id, unread) \
     SELECT user_id, count(*) FROM notifications WHERE NOT is_read GROUP BY user_id";

fn check(place: Place<'_>, found: Unread, correction: Step) -> Verdict {
    let Unread { wrong, users } = found;
    let issue = (wrong > 0).then(|| {
        Issue::fail(
            format!("{wrong} of {users} users are told a wrong number of unread notifications"),
            [correction],
        )
        .fixable()
    });
    verdict(place, issue.into_iter().collect(), "right for all users")
}
