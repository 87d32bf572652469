//! The reminder job; contract 9.2.
//!
//! Pages of due tasks are read without locks; each is then worked off in a transaction of
//! its own, whose statements do not grow with it. One that fails is halved until the
//! row that makes it fail is alone; that one is logged and left out.

use std::time::Duration;

use crate::domain::{NotificationKind, TaskId, Timestamp};
use crate::store::{DueTask, MailTerms, Reminded, ReminderWindow, Store, StoreError};
use crate::telemetry::JobMetrics;

use super::Stop;

/// Tasks in one transaction. A change to one of them waits until it has ended, so it is
/// small enough for nobody to notice.
const BATCH: usize = 200;

/// What is due within this time is due soon.
const SOON: Duration = Duration::from_hours(24);

/// A reminder that comes later than this is of no use. It is also as long as the mail
/// provider tells tries of one mail from another.
const MAIL_LIFETIME: Duration = Duration::from_hours(24);

/// What others held at the moment is looked at again, so often in all.
const PASSES: usize = 3;

/// What one run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct ReminderRun {
    /// Notifications that a task is due soon.
    pub due_soon: usize,
    /// Notifications that a task is overdue.
    pub overdue: usize,
    /// Mails that wait to be sent.
    pub mails: usize,
    /// Tasks that the database refused to have notified; the log names them.
    pub skipped: usize,
}

/// Makes every notification that is called for now. With `mails`, users whose address is
/// known get one too.
///
/// Any number of processes may run it at once. After `stop` the batch under way is the last.
/// Fails where the database is out of reach; what was made by then stays.
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
        // The day of an instant within the range is within it.
        today: Timestamp::start_of_day(now.to_datetime().date_naive()).unwrap_or(now),
    };
    let terms = (mails && knows_addresses(store).await?).then(|| MailTerms {
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

/// Whether users' addresses can be had. That they cannot is no reason not to remind.
async fn knows_addresses(store: &Store) -> Result<bool, StoreError> {
    match store.has_accounts().await {
        Err(error) if !error.is_unavailable() => {
            tracing::warn!(%error, "there are no mails: the auth server's accounts cannot be looked at");
            Ok(false)
        }
        known => known,
    }
}

/// What no other run has, on any machine that shares the mail account.
fn unique_prefix() -> String {
    let mut bytes = [0; 16];
    // Without randomness the process's number has to do.
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
    /// Passes until one has nothing to do: rows that somebody held are free by then.
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

    /// Everything once, in the order of the due dates; how many tasks were tried.
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

    /// One batch, in halves of halves where it fails.
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
                // Smaller batches would fare no better.
                Err(error) if error.is_unavailable() || error.wants_migration() => {
                    return Err(error);
                }
                Err(error) if part.len() == 1 => {
                    let task = part[0];
                    tracing::error!(task, %error, "a task cannot be notified of and is left out");
                    skipped.push(task);
                }
                Err(error) => {
                    tracing::warn!(tasks = part.len(), %error, "a batch failed and is halved");
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
