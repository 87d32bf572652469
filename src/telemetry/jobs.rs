//! Metrics of the background jobs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::domain::Timestamp;
use crate::store::{Accounts, MailOutcome};

/// Why no mail is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) since: Timestamp,
    /// When a mail is tried again.
    pub(crate) until: Timestamp,
    /// The provider's status and name of the error.
    pub(crate) reason: String,
}

/// Metrics of the reminder job and of the mail outbox. A scrape does not query the database.
#[derive(Clone)]
pub struct JobMetrics {
    /// Created notifications by type.
    pub notifications: IntCounterVec,
    /// Tasks that a run skipped.
    pub skipped_tasks: IntCounter,
    /// When a run last succeeded, in seconds since 1970.
    pub last_reminder_run: IntGauge,
    /// Attempts to send a mail, by outcome.
    pub mails: IntCounterVec,
    /// Mails by state, when the outbox was last read.
    pub outbox: IntGaugeVec,
    /// 1 while no mail is tried, because the provider refuses the configuration.
    pub outbox_paused: IntGauge,
    pause: Arc<Mutex<Option<Pause>>>,
    last_sent: Arc<Mutex<Option<Timestamp>>>,
    accounts: Arc<Mutex<Option<Accounts>>>,
    outcomes: Arc<Mutex<Option<Vec<MailOutcome>>>>,
}

impl JobMetrics {
    /// New metrics, not registered.
    pub fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            notifications: IntCounterVec::new(
                Opts::new(
                    "reminder_notifications_total",
                    "Created notifications by type.",
                ),
                &["type"],
            )?,
            skipped_tasks: IntCounter::new(
                "reminder_skipped_tasks_total",
                "Tasks that a reminder run skipped because the database refused them.",
            )?,
            last_reminder_run: IntGauge::new(
                "reminder_last_success_timestamp_seconds",
                "When a reminder run last succeeded.",
            )?,
            mails: IntCounterVec::new(
                Opts::new(
                    "mail_attempts_total",
                    "Attempts to send a mail, by outcome.",
                ),
                &["outcome"],
            )?,
            outbox: IntGaugeVec::new(
                Opts::new(
                    "mail_outbox_rows",
                    "Mails in the outbox: waiting (pending) or given up (dead).",
                ),
                &["state"],
            )?,
            outbox_paused: IntGauge::new(
                "mail_outbox_paused",
                "1 while the mail provider refuses the key or the sender; mails wait.",
            )?,
            pause: Arc::default(),
            last_sent: Arc::default(),
            accounts: Arc::default(),
            outcomes: Arc::default(),
        })
    }

    /// The provider refuses every mail, for this reason.
    pub(crate) fn pause_outbox(&self, now: Timestamp, until: Timestamp, reason: &str) {
        self.outbox_paused.set(1);
        let mut pause = locked(&self.pause);
        let since = pause.as_ref().map_or(now, |pause| pause.since);
        let reason = reason.to_owned();
        *pause = Some(Pause {
            since,
            until,
            reason,
        });
    }

    /// The provider accepted a mail.
    pub(crate) fn mail_accepted(&self, now: Timestamp) {
        *locked(&self.last_sent) = Some(now);
        self.resume_outbox();
    }

    /// The provider accepted a mail, or none waits any more.
    pub(crate) fn resume_outbox(&self) {
        self.outbox_paused.set(0);
        *locked(&self.pause) = None;
    }

    /// When the provider last accepted a mail, if it has since the start.
    pub(crate) fn last_sent(&self) -> Option<Timestamp> {
        *locked(&self.last_sent)
    }

    /// Why mails wait; `None` if they are sent.
    pub(crate) fn pause(&self) -> Option<Pause> {
        locked(&self.pause).clone()
    }

    /// Sets whether users' addresses can be read, and tells whether that has changed.
    pub(crate) fn set_accounts(&self, accounts: Accounts) -> bool {
        locked(&self.accounts).replace(accounts) != Some(accounts)
    }

    /// Whether users' addresses can be read, once a reminder run has looked.
    pub(crate) fn accounts(&self) -> Option<Accounts> {
        *locked(&self.accounts)
    }

    /// Sets how many mails wait and how many were given up, and the outcomes of the last ones.
    pub(crate) fn set_outbox(&self, pending: i64, dead: i64, outcomes: Vec<MailOutcome>) {
        self.outbox.with_label_values(&["pending"]).set(pending);
        self.outbox.with_label_values(&["dead"]).set(dead);
        *locked(&self.outcomes) = Some(outcomes);
    }

    /// Pending and dead mails, and the outcomes of the last ones, once the outbox has been read.
    pub(crate) fn outbox_rows(&self) -> Option<(i64, i64, Vec<MailOutcome>)> {
        let rows = |state| self.outbox.with_label_values(&[state]).get();
        let outcomes = locked(&self.outcomes).clone()?;
        Some((rows("pending"), rows("dead"), outcomes))
    }

    /// Registers all of them.
    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.notifications.clone()))?;
        registry.register(Box::new(self.skipped_tasks.clone()))?;
        registry.register(Box::new(self.last_reminder_run.clone()))?;
        registry.register(Box::new(self.mails.clone()))?;
        registry.register(Box::new(self.outbox.clone()))?;
        registry.register(Box::new(self.outbox_paused.clone()))
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for JobMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobMetrics").finish_non_exhaustive()
    }
}
