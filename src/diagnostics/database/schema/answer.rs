//! Verdicts on answers about the service's tables, before which there is no verdict.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::timeout;

use crate::config::{DatabaseConfig, DatabaseTarget};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::probe::{FileConnection, ServerConnection};
use crate::diagnostics::verdict::Verdict;
use crate::store::inspect::Asked;
use crate::store::messages::KnownMessage;
use crate::store::{StoreError, known_message};

use super::home::{Home, home};
use super::issue::{Place, no_tables};

/// The verdict on what the server answers to a question about a schema.
pub(super) async fn of_tables<T>(
    context: &Context,
    server: Server<'_>,
    limit: Duration,
    question: impl AsyncFnOnce(&mut PgConnection, &str) -> Result<T, StoreError>,
    verdict: impl FnOnce(Home<'_>, &T) -> Verdict,
) -> Verdict {
    let asked = async {
        let Some(home) = home(context, server, limit).await? else {
            return Ok(None);
        };
        let question = async |connection: &mut ServerConnection| {
            question(connection.session(), home.schema).await
        };
        let answer = context.server.ask(server.target, limit, question).await?;
        Ok::<_, StoreError>(Some((home, answer)))
    };
    match asked.await {
        Ok(Some((home, answer))) => verdict(home, &answer),
        Ok(None) => no_tables(),
        Err(error) => query_failed(context, &error),
    }
}

/// The verdict on what either engine answers to a question that reads many rows: `too_many` where the
/// time for it does not suffice.
pub(super) async fn of_rows<T>(
    context: &Context,
    config: &DatabaseConfig,
    limit: Duration,
    too_many: &'static str,
    question: impl AsyncFnOnce(Asked<'_>) -> Result<T, StoreError>,
    verdict: impl FnOnce(Place<'_>, Option<Home<'_>>, T) -> Verdict,
) -> Verdict {
    let answer = match &config.target {
        DatabaseTarget::Postgres(target) => {
            let home = match home(context, Server { config, target }, limit).await {
                Ok(Some(home)) => home,
                Ok(None) => return no_tables(),
                Err(error) => return query_failed(context, &error),
            };
            let question = async |connection: &mut ServerConnection| {
                question(Asked::Server(connection.session(), home.schema)).await
            };
            let answer = context.server.ask(target, limit, question).await;
            answer.map(|found| verdict(Place::Server(target), Some(home), found))
        }
        DatabaseTarget::Sqlite(file) => {
            let question = async |connection: &mut FileConnection| {
                question(Asked::File(connection.session())).await
            };
            let answer = timeout(limit, context.file.ask(file, limit, question)).await;
            match answer {
                Ok(answer) => answer.map(|found| verdict(Place::File(file), None, found)),
                Err(_) => return Verdict::skip(too_many),
            }
        }
    };
    match answer {
        Ok(verdict) => verdict,
        Err(error) if error.is_ended_by_limit() => Verdict::skip(too_many),
        Err(error) if known_message(&error).is_some_and(KnownMessage::is_of_tables) => {
            Verdict::skip_because_failed("database.schema")
        }
        Err(error) => query_failed(context, &error),
    }
}
