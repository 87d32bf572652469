//! What a check says when there is no daemon, or one that does not tell.

use std::time::Duration;

use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::services::daemon::DaemonStatus;

pub(super) const NO_DAEMON: &str = "no daemon is running";

pub(super) const OLDER: &str = "skipped: the daemon is older than this check";

/// The verdict on the daemon's status, or why there is none.
pub(super) async fn of_status(
    context: &Context,
    limit: Duration,
    verdict: impl FnOnce(&DaemonStatus) -> Verdict,
) -> Verdict {
    let daemon = context.daemon(limit).await;
    match &daemon.status {
        _ if daemon.is_absent() => Verdict::skip(NO_DAEMON),
        Ok(status) => verdict(status),
        Err(error) => Verdict::skip(format!(
            "skipped: the daemon's status is not known: {error}"
        )),
    }
}
