//! What a check says when there is no daemon, or one that does not tell.

use std::time::Duration;

use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::services::daemon::{DaemonStatus, RequestStatus};

pub(super) const NO_DAEMON: &str = "no daemon is running";

pub(super) const OLDER: &str = "skipped: the daemon is older than this check";

/// The daemon's status, or the verdict without one.
pub(super) async fn daemon_status(
    context: &Context,
    limit: Duration,
) -> Result<&DaemonStatus, Verdict> {
    let daemon = context.daemon(limit).await;
    match &daemon.status {
        _ if daemon.is_absent() => Err(Verdict::skip(NO_DAEMON)),
        Ok(status) => Ok(status),
        Err(error) => Err(Verdict::skip(format!(
            "skipped: the daemon's status is not known: {error}"
        ))),
    }
}

/// The same of its requests.
pub(super) async fn daemon_requests(
    context: &Context,
    limit: Duration,
) -> Result<&RequestStatus, Verdict> {
    let status = daemon_status(context, limit).await?;
    let requests = status.requests.as_ref();
    requests.ok_or_else(|| Verdict::skip(OLDER))
}

/// The verdict on the daemon's status, or why there is none.
pub(super) async fn of_status(
    context: &Context,
    limit: Duration,
    verdict: impl FnOnce(&DaemonStatus) -> Verdict,
) -> Verdict {
    let status = daemon_status(context, limit).await;
    status.map_or_else(|none| none, verdict)
}
