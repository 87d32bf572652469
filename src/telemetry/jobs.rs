//! What the jobs count.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// Counts of the reminder job and of the mail outbox. The jobs keep them; a scrape asks
/// nothing of the database.
#[derive(Clone)]
pub struct JobMetrics {
    /// Notifications made, by type.
    pub notifications: IntCounterVec,
    /// Tasks that a run had to leave out.
    pub skipped_tasks: IntCounter,
    /// When a run last ended well, in seconds since 1970.
    pub last_reminder_run: IntGauge,
    /// Tries to send a mail, by outcome.
    pub mails: IntCounterVec,
    /// Mails that wait and mails that were given up, when the outbox was last looked at.
    pub outbox: IntGaugeVec,
    outbox_was_read: Arc<AtomicBool>,
}

impl JobMetrics {
    /// Fresh counts, registered nowhere.
    pub fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            notifications: IntCounterVec::new(
                Opts::new(
                    "reminder_notifications_total",
                    "Notifications made, by type.",
                ),
                &["type"],
            )?,
            skipped_tasks: IntCounter::new(
                "reminder_skipped_tasks_total",
                "Tasks that a reminder run left out because the database refused them.",
            )?,
            last_reminder_run: IntGauge::new(
                "reminder_last_success_timestamp_seconds",
                "When a reminder run last ended well.",
            )?,
            mails: IntCounterVec::new(
                Opts::new("mail_attempts_total", "Tries to send a mail, by outcome."),
                &["outcome"],
            )?,
            outbox: IntGaugeVec::new(
                Opts::new(
                    "mail_outbox_rows",
                    "Mails that wait (pending) or were given up (dead).",
                ),
                &["state"],
            )?,
            outbox_was_read: Arc::default(),
        })
    }

    /// Sets how many mails wait and how many were given up.
    pub(crate) fn set_outbox(&self, pending: i64, dead: i64) {
        self.outbox.with_label_values(&["pending"]).set(pending);
        self.outbox.with_label_values(&["dead"]).set(dead);
        self.outbox_was_read.store(true, Ordering::Release);
    }

    /// Pending and dead mails, once the outbox has been read.
    pub(crate) fn outbox_rows(&self) -> Option<(i64, i64)> {
        let rows = |state| self.outbox.with_label_values(&[state]).get();
        self.outbox_was_read
            .load(Ordering::Acquire)
            .then(|| (rows("pending"), rows("dead")))
    }

    /// Adds all of them to what `/metrics` shows.
    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.notifications.clone()))?;
        registry.register(Box::new(self.skipped_tasks.clone()))?;
        registry.register(Box::new(self.last_reminder_run.clone()))?;
        registry.register(Box::new(self.mails.clone()))?;
        registry.register(Box::new(self.outbox.clone()))
    }
}

impl std::fmt::Debug for JobMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobMetrics").finish_non_exhaustive()
    }
}
