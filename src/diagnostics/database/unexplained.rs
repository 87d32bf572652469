//! Why a statement of a check ran into a time limit or got no server connection, and what a damaged
//! file belongs to.

use std::time::Duration;

use crate::config::{DatabaseTarget, PostgresTarget};
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::{Unexplained, Verdict};
use crate::store::messages::Place;

use super::{behind, damage, work};

/// The search for the cause may take as long.
const LIMIT: Duration = Duration::from_secs(3);

/// The verdict with its cause and the remedy for it: the session that holds a lock, a limit
/// that is too short, what the pooler cannot log in for, or a damaged table or index. Without any and without a remedy, that of the
/// message.
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
            if matches!(unexplained, Unexplained::Right(_)) {
                verdict.remedy = None;
            }
            cause.remedy
        }
        None if verdict.remedy.is_some() => return verdict,
        None => {
            let (Unexplained::Timeout(known)
            | Unexplained::Pooler(known)
            | Unexplained::Right(known)
            | Unexplained::File(known, _)) = unexplained;
            Some((known.remedy)(place))
        }
    };
    verdict.remedy = Some(verdict.remedy.unwrap_or_default().then(remedy));
    verdict
}

async fn cause(
    context: &Context,
    server: &PostgresTarget,
    unexplained: &Unexplained,
) -> Option<Verdict> {
    match unexplained {
        Unexplained::File(_, message) => damage::owner(context, server, message, LIMIT).await,
        Unexplained::Pooler(_) => behind::lends_none(server).await,
        Unexplained::Right(_) => behind::lacks_right(context, server).await,
        Unexplained::Timeout(_) => match work::culprit(context, server, LIMIT).await {
            None => work::short_limits(context, server, LIMIT).await,
            culprit => culprit,
        },
    }
}
