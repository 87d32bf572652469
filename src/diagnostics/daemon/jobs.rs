//! The background jobs of the running daemon.

use std::time::Duration;

use crate::config::Remedy;
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::services::daemon::{DaemonStatus, MailStatus};

use super::status::of_status;

/// The job runs every 15 minutes; two runs may fail.
const REMINDERS_LATE_SECONDS: i64 = 45 * 60;

pub(super) async fn mails(context: &Context, limit: Duration) -> Verdict {
    let now = context.request.clock.now().unix_seconds();
    of_status(context, limit, |status| check_mails(status, now)).await
}

/// Why mails wait, and for how long, as far as the daemon tells.
fn pause(mails: &MailStatus, now: i64) -> String {
    let (Some(reason), Some(since)) = (&mails.paused_reason, mails.paused_since) else {
        return String::new();
    };
    let age = Duration::from_secs(u64::try_from(now - since).unwrap_or_default());
    format!(" ({reason}, for {})", humantime::format_duration(age))
}

/// Whether this reason of a pause begins with a status that the provider does not answer to a mail.
fn blames_address(reason: &str) -> bool {
    ["404", "405", "2"]
        .iter()
        .any(|status| reason.starts_with(status))
}

/// `now` is in seconds since 1970.
pub(super) fn check_mails(status: &DaemonStatus, now: i64) -> Verdict {
    let Some(mails) = &status.mails else {
        return Verdict::skip("the daemon has not read its outbox yet");
    };
    if mails.paused && mails.paused_reason.as_deref().is_some_and(blames_address) {
        return Verdict::warn(
            format!(
                "RESEND_API_URL does not lead to the mail provider{}: {} mails wait and are given up after 24 hours",
                pause(mails, now),
                mails.pending
            ),
            Remedy::note("correct RESEND_API_URL as services.mail says, and restart the daemon"),
        );
    }
    if mails.paused {
        return Verdict::warn(
            format!(
                "the mail provider refuses the key or the sender{}: {} mails wait and are given up after 24 hours",
                pause(mails, now),
                mails.pending
            ),
            Remedy::note(
                "the daemon's log has the reason: verify the domain of EMAIL_FROM at the provider, or correct RESEND_API_KEY and restart the daemon; this reads it without showing it: todoctl config set RESEND_API_KEY=-",
            ),
        );
    }
    if mails.dead == 0 {
        return Verdict::pass(format!("none; {} waiting", mails.pending));
    }
    Verdict::warn(
        format!(
            "{} mails were given up; {} waiting",
            mails.dead, mails.pending
        ),
        Remedy::note(
            "the daemon's log says why each was refused; correct RESEND_API_KEY and EMAIL_FROM, then restart the daemon",
        ),
    )
}

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
