//! Verdicts on answers about the service's tables, before which there is no verdict.

use std::time::Duration;

use sqlx::PgConnection;

use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::probe::ServerConnection;
use crate::diagnostics::verdict::Verdict;
use crate::store::StoreError;

use super::home::{Home, home};
use super::issue::no_tables;

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
