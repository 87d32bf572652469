//! Reminders, notifications and mails.

use std::time::Duration;

use crate::clock::Clock;
use crate::domain::{NotificationId, NotificationKind, Task};
use crate::store::database::Store;
use crate::store::outbox::OutboxEnd;
use crate::store::reminders::{DueTask, MailTerms, ReminderWindow};

use super::fault::{TrialFault, same, seen};
use super::sample::{Sample, due};

const TABLE: &str = "notifications";
const OUTBOX: &str = "todoctl_outbox";
const SECOND: Duration = Duration::from_secs(1);
const PAGE: i64 = 200;

/// One run of the job at a time when no task but the sample's is due.
pub(super) async fn remind(store: &Store, sample: &Sample, task: &Task) -> Result<(), TrialFault> {
    let before = due().saturating_sub(SECOND);
    let after = due().saturating_add(SECOND);
    let from = Some(DueTask { id: 0, due: before });
    let soon = ReminderWindow {
        now: before,
        soon: after,
        today: before,
    };
    let overdue = ReminderWindow {
        now: after,
        soon: after,
        today: before,
    };
    let terms = MailTerms {
        key_prefix: sample.id.clone(),
        expires_at: sample.now,
    };
    for (kind, window, mails) in [
        (NotificationKind::DueSoon, soon, Some(&terms)),
        (NotificationKind::Overdue, overdue, None),
    ] {
        let due = store.due_tasks(kind, &window, from, PAGE).await?;
        seen("tasks", due.iter().find(|one| one.id == task.id))?;
        let reminded = store.remind(kind, &window, &[task.id], mails).await?;
        if reminded.notifications != 1 {
            return Err(TrialFault::Swallowed(TABLE));
        }
        if mails.is_some() && reminded.mails != 1 {
            return Err(TrialFault::Swallowed(OUTBOX));
        }
    }
    Ok(())
}

/// What the courier does before and after it hands a mail over, at a time when no mail but the
/// sample's is due.
pub(super) async fn send(store: &Store) -> Result<(), TrialFault> {
    let store = store.with_clock(Clock::fixed(due()));
    let claimed = store.claim_mails(due().saturating_add(SECOND), 1).await?;
    let mail = seen(OUTBOX, claimed.first())?;
    if !store.end_mail(mail, &OutboxEnd::Sent).await? {
        return Err(TrialFault::Swallowed(OUTBOX));
    }
    store.outbox_status().await?;
    store.mail_outcomes(due()).await?;
    Ok(())
}

/// The newest notification.
pub(super) async fn list(store: &Store, sample: &Sample) -> Result<NotificationId, TrialFault> {
    let list = store.notifications(&sample.user, PAGE).await?;
    let newest = seen(TABLE, list.notifications.first())?;
    // The count is kept by triggers.
    if list.unread != 2 {
        return Err(TrialFault::Swallowed("todoctl_unread"));
    }
    Ok(newest.id)
}

pub(super) async fn mark_read(
    store: &Store,
    sample: &Sample,
    id: NotificationId,
) -> Result<(), TrialFault> {
    let read = store.mark_notification_read(&sample.user, id).await?;
    let read = read.ok_or(TrialFault::Swallowed(TABLE))?;
    same(TABLE, &[("is_read", read.is_read)])?;
    store.mark_all_notifications_read(&sample.user).await?;
    Ok(())
}
