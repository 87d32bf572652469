//! The reminder job of the running daemon.

use std::time::Duration;

use crate::config::Remedy;
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::services::daemon::DaemonStatus;

use super::status::of_status;

/// The job runs every 15 minutes; two runs may fail.
const REMINDERS_LATE_SECONDS: i64 = 45 * 60;

pub(super) async fn reminders(context: &Context, limit: Duration) -> Verdict {
    let now = context.request.clock.now().unix_seconds();
    of_status(context, limit, |status| check_reminders(status, now)).await
}

/// `now` is in seconds since 1970.
pub(super) fn check_reminders(status: &DaemonStatus, now: i64) -> Verdict {
    let run_once = || {
        Remedy::note("the daemon's log says why they fail; this runs them once:")
            .then(Remedy::command("todoctl jobs run reminders"))
    };
    let Some(last) = status.last_reminder_run else {
        let detail = "no reminder run has succeeded yet";
        let started = status.process.map(|process| process.started);
        let is_new = started.is_none_or(|started| now - started <= REMINDERS_LATE_SECONDS);
        return if is_new {
            Verdict::skip(detail)
        } else {
            Verdict::warn(detail, run_once())
        };
    };
    let age = Duration::from_secs(u64::try_from(now - last).unwrap_or_default());
    let detail = format!(
        "the last successful run ended {} min ago",
        age.as_secs() / 60
    );
    if now - last <= REMINDERS_LATE_SECONDS {
        return Verdict::pass(detail);
    }
    Verdict::warn(detail, run_once())
}
