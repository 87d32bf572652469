//! The triggers that others have put on todoctl's tables.

use std::time::Duration;

use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::store::inspect::ForeignTrigger;

use super::home::{Home, home};

/// The triggers of others on todoctl's tables; `None` if they cannot be read.
pub(super) async fn foreign_triggers<'a>(
    context: &'a Context,
    server: Server<'_>,
    limit: Duration,
) -> Option<(Home<'a>, Vec<ForeignTrigger>)> {
    let home = home(context, server, limit).await.ok()??;
    let ask = context
        .server
        .ask(server.target, limit, async |connection| {
            ForeignTrigger::ask(connection.session(), home.schema).await
        });
    Some((home, ask.await.ok()?))
}
