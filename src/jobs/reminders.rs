//! The reminder job; contract 9.2.
//!
//! Reads pages of due tasks without locks, then creates each page's notifications in one
//! transaction. A page that fails is halved until the failing row is isolated; that task is
//! logged and skipped.

use std::time::Duration;

use crate::domain::{NotificationKind, TaskId, Timestamp};
use crate::store::{Accounts, DueTask, MailTerms, Reminded, ReminderWindow, Store, StoreError};
use crate::telemetry::JobMetrics;

use super::stop::Stop;

/// Tasks in one transaction. Small, because changes to these tasks wait for it.
const BATCH: usize = 200;

/// A task that is due within this time is due soon.
const SOON: Duration = Duration::from_hours(24);

/// A mail is given up after this time. The mail provider remembers idempotency keys for as long.
const MAIL_LIFETIME: Duration = Duration::from_hours(24);

/// The maximum number of passes. Each one retries the rows that other sessions had locked.
const PASSES: usize = 3;

/// The outcome of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct ReminderRun {
    /// Notifications that a task is due soon.
    pub due_soon: usize,
    /// Notifications that a task is overdue.
    pub overdue: usize,
    /// Mails put into the outbox.
    pub mails: usize,
    /// Tasks for which the database refused a notification; the log names them.
    pub skipped: usize,
}

/// Creates all notifications that are due now, and with `mails` a mail for each user whose
/// address is known.
///
/// Several processes may run it at the same time. After `stop`, finishes the batch in progress and
/// returns. An unreachable database is an error; committed batches stay.
pub async fn run(
    store: &Store,
    now: Timestamp,
    mails: bool,
    stop: &Stop,
    metrics: &JobMetrics,
) -> Result<ReminderRun, StoreError> {
    let window = ReminderWindow {
        now,
        soon: now.saturating_add(SOON),
        // Cannot fail: the start of a valid instant's day is valid.
        today: Timestamp::start_of_day(now.to_datetime().date_naive()).unwrap_or(now),
    };
    let terms = (mails && knows_addresses(store, metrics).await?).then(|| MailTerms {
        key_prefix: unique_prefix(),
        expires_at: now.saturating_add(MAIL_LIFETIME),
    });
    let mut job = Job {
        store,
        window,
        terms,
        stop,
        metrics,
        done: ReminderRun::default(),
    };
    for kind in [NotificationKind::DueSoon, NotificationKind::Overdue] {
        job.all(kind).await?;
    }
    if !stop.is_set() {
        metrics.last_reminder_run.set(now.unix_seconds());
    }
    Ok(job.done)
}

/// Whether users' addresses can be read. If not, there are reminders without mails.
async fn knows_addresses(store: &Store, metrics: &JobMetrics) -> Result<bool, StoreError> {
    match store.accounts().await {
        Err(error) if !error.is_unavailable() => {
            tracing::warn!(%error, "cannot read the auth server's accounts; no mails are sent");
            Ok(false)
        }
        Err(error) => Err(error),
        Ok(accounts) => {
            if metrics.set_accounts(accounts) && accounts != Accounts::Ready {
                tracing::warn!(
                    accounts = accounts.as_str(),
                    "the auth server's accounts cannot be read, so no reminders are mailed: todoctl doctor --only daemon.mails says why"
                );
            }
            Ok(accounts == Accounts::Ready)
        }
    }
}

/// Unique among all machines that share the mail account.
fn unique_prefix() -> String {
    let mut bytes = [0; 16];
    // Without random numbers, use the process id.
    if getrandom::fill(&mut bytes).is_err() {
        bytes[..4].copy_from_slice(&std::process::id().to_be_bytes());
    }
    format!("todoctl-{}", hex::encode(bytes))
}

struct Job<'a> {
    store: &'a Store,
    window: ReminderWindow,
    terms: Option<MailTerms>,
    stop: &'a Stop,
    metrics: &'a JobMetrics,
    done: ReminderRun,
}

impl Job<'_> {
    /// Repeats passes until one finds nothing to do, because locked rows are skipped.
    async fn all(&mut self, kind: NotificationKind) -> Result<(), StoreError> {
        let mut skipped = Vec::new();
        for _ in 0..PASSES {
            if self.pass(kind, &mut skipped).await? == 0 {
                break;
            }
        }
        self.done.skipped += skipped.len();
        self.metrics.skipped_tasks.inc_by(skipped.len() as u64);
        Ok(())
    }

    /// Tries all due tasks once, by due date, and returns their number.
    async fn pass(
        &mut self,
        kind: NotificationKind,
        skipped: &mut Vec<TaskId>,
    ) -> Result<usize, StoreError> {
        let mut after: Option<DueTask> = None;
        let mut tried = 0;
        while !self.stop.is_set() {
            let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
            let page = self
                .store
                .due_tasks(kind, &self.window, after, limit)
                .await?;
            let tasks: Vec<TaskId> = page
                .iter()
                .map(|task| task.id)
                .filter(|id| !skipped.contains(id))
                .collect();
            tried += tasks.len();
            self.batch(kind, tasks, skipped).await?;
            match page.last() {
                Some(last) if page.len() == BATCH => after = Some(*last),
                _ => break,
            }
        }
        Ok(tried)
    }

    /// Creates a batch's notifications. A batch that fails is halved and retried.
    async fn batch(
        &mut self,
        kind: NotificationKind,
        tasks: Vec<TaskId>,
        skipped: &mut Vec<TaskId>,
    ) -> Result<(), StoreError> {
        let mut parts = vec![tasks];
        while let Some(mut part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let terms = self.terms.as_ref();
            match self.store.remind(kind, &self.window, &part, terms).await {
                Ok(made) => self.count(kind, made),
                // Smaller batches would fail too.
                Err(error) if error.is_unavailable() || error.needs_migration() => {
                    return Err(error);
                }
                Err(error) if part.len() == 1 => {
                    let task = part[0];
                    tracing::error!(task, %error, "cannot create a notification; skipping the task");
                    skipped.push(task);
                }
                Err(error) => {
                    tracing::warn!(tasks = part.len(), %error, "a batch failed; retrying it in halves");
                    let second = part.split_off(part.len() / 2);
                    parts.push(second);
                    parts.push(part);
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, kind: NotificationKind, made: Reminded) {
        match kind {
            NotificationKind::DueSoon => self.done.due_soon += made.notifications,
            NotificationKind::Overdue => self.done.overdue += made.notifications,
        }
        self.done.mails += made.mails;
        self.metrics
            .notifications
            .with_label_values(&[kind.as_str()])
            .inc_by(made.notifications as u64);
    }
}
