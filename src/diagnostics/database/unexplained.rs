//! Why a statement of a check ran into a time limit, got no server connection or found no table, and
//! what a damaged file belongs to.

use std::time::Duration;

use crate::config::{DatabaseTarget, PostgresTarget};
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::{Outcome, Unexplained, Verdict};
use crate::store::messages::{KnownMessage, Place};

use super::trial::verdict_of;
use super::{behind, damage, work};

/// The search for the cause may take as long.
const LIMIT: Duration = Duration::from_secs(3);

/// The verdict with its cause and the remedy for it: the session that holds a lock, a limit
/// that is too short, what the pooler cannot log in for, what the schema or the role lacks, or a
/// damaged table or index. Without any and without a remedy, that of the message.
pub(in crate::diagnostics) async fn with_cause(context: &Context, mut verdict: Verdict) -> Verdict {
    let Some(unexplained) = verdict.unexplained.take() else {
        return verdict;
    };
    let place = context.target().map_or(Place::Unknown, Place::from);
    let cause = match context.target() {
        Some(DatabaseTarget::Postgres(server)) => cause(context, server, &unexplained).await,
        _ => None,
    };
    let remedy = match cause {
        Some(cause) => {
            verdict.detail += &format!("; {}", cause.detail);
            if unexplained.known.is_of_catalogue() {
                verdict.remedy = None;
            }
            cause.remedy
        }
        None if verdict.remedy.is_some() => return verdict,
        None => Some(unexplained.known.remedy_at(place, &unexplained.message)),
    };
    verdict.remedy = Some(verdict.remedy.unwrap_or_default().then(remedy));
    verdict
}

async fn cause(
    context: &Context,
    server: &PostgresTarget,
    unexplained: &Unexplained,
) -> Option<Verdict> {
    let Unexplained { known, message } = unexplained;
    if known.is_of_server_file() {
        return damage::owner(context, server, message, LIMIT).await;
    }
    if known.is_of_pooled_login() {
        return behind::lends_none(server).await;
    }
    if known.is_of_catalogue() {
        if !known.is_of_tables()
            && let Some(other_role) = behind::lacks_right(context, server).await
        {
            return Some(other_role);
        }
        return lacking(context, known, LIMIT).await;
    }
    match work::culprit(context, server, LIMIT).await {
        None => work::short_limits(context, server, LIMIT).await,
        culprit => culprit,
    }
}

/// What the schema or the role of a server lacks, if a check finds it now.
pub(in crate::diagnostics) async fn lacking(
    context: &Context,
    known: &KnownMessage,
    limit: Duration,
) -> Option<Verdict> {
    let config = context.database()?;
    let checks = if known.is_of_tables() {
        ["database.tables", "database.schema"]
    } else {
        ["database.role", "database.row_security"]
    };
    for id in checks {
        if let Some(found) = verdict_of(id, context, config, limit).await
            && found.outcome == Outcome::Fail
            && let Some(remedy) = found.remedy
        {
            return Some(Verdict::fail(format!("the cause is named by {id}"), remedy));
        }
    }
    None
}
