//! Questions to the server, on the connection that checks share.

use std::time::Duration;

use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::probe::ServerConnection;
use crate::diagnostics::verdict::Verdict;
use crate::store::StoreError;

/// The verdict on what the server answers to a question.
pub(super) async fn of_answer<T>(
    context: &Context,
    server: Server<'_>,
    limit: Duration,
    question: impl AsyncFnOnce(&mut ServerConnection) -> Result<T, StoreError>,
    verdict: impl FnOnce(&T) -> Verdict,
) -> Verdict {
    match context.server.ask(server.target, limit, question).await {
        Ok(answer) => verdict(&answer),
        Err(error) => query_failed(context, &error),
    }
}
