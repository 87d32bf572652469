//! Background jobs: reminders, the mail outbox, and the upkeep of searches.
//!
//! [`Jobs`] runs them while the daemon runs; `todoctl jobs run` runs them once. Several
//! replicas may run the same jobs at the same time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::services::mail::Mailer;
use crate::store::{Store, StoreError};
use crate::telemetry::JobMetrics;

pub mod outbox;
pub mod reminders;
mod search;
mod stop;

use outbox::Outbox;
pub use search::SearchUpkeep;
pub use stop::Stop;

/// The pause between two runs of the reminder job.
const INTERVAL: Duration = Duration::from_mins(15);

/// The running jobs of a daemon.
#[derive(Debug)]
pub struct Jobs {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Jobs {
    /// Starts all jobs; the outbox only if there is a mailer.
    #[must_use]
    pub fn start(store: Store, clock: Clock, mailer: Option<Mailer>, metrics: JobMetrics) -> Self {
        let (stop, stopping) = Stop::channel();
        let wake = Arc::new(Notify::new());
        let mails = mailer.is_some();
        let mut tasks = Vec::new();
        if let Some(mailer) = mailer {
            let outbox = Outbox::new(store.clone(), clock.clone(), mailer, metrics.clone());
            let sender = send_mails(outbox, clock.clone(), wake.clone(), stopping.clone());
            tasks.push(tokio::spawn(sender));
        }
        tasks.push(tokio::spawn(keep_searchable(
            store.clone(),
            stopping.clone(),
        )));
        let reminders = remind(store, clock, mails, metrics, wake, stopping);
        tasks.push(tokio::spawn(reminders));
        Self { stop, tasks }
    }

    /// Sends the signal of [`Jobs::stop`] without waiting.
    pub fn stopper(&self) -> impl FnOnce() + use<> {
        let stop = self.stop.clone();
        move || {
            stop.send_replace(true);
        }
    }

    /// Signals the jobs to end, and waits up to `limit` for their batches in progress.
    pub async fn stop(self, limit: Duration) {
        self.stop.send_replace(true);
        let ended = futures_util::future::join_all(self.tasks);
        if tokio::time::timeout(limit, ended).await.is_err() {
            tracing::warn!("a job did not end in time; its uncommitted work will be repeated");
        }
    }
}

/// Runs reminders at start, then every [`INTERVAL`].
async fn remind(
    store: Store,
    clock: Clock,
    mails: bool,
    metrics: JobMetrics,
    wake: Arc<Notify>,
    mut stop: Stop,
) {
    loop {
        match run_reminders(&store, &clock, mails, &stop, &metrics).await {
            Ok(done) => tracing::info!(
                due_soon = done.due_soon,
                overdue = done.overdue,
                mails = done.mails,
                skipped = done.skipped,
                "reminders"
            ),
            Err(error) => {
                tracing::error!(%error, "reminders failed; the next run tries again");
            }
        }
        wake.notify_one();
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = stop.set() => return,
        }
    }
}

/// Keeps tasks searchable: at start and every [`INTERVAL`]. When a search finds texts that are not
/// folded, folds them.
async fn keep_searchable(store: Store, mut stop: Stop) {
    let mut upkeep = SearchUpkeep::new(store.clone());
    let mut interval = tokio::time::interval(INTERVAL);
    loop {
        let outcome = tokio::select! {
            _ = interval.tick() => upkeep.run(&stop).await,
            () = store.until_unfolded() => upkeep.fold(&stop).await,
            () = stop.set() => return,
        };
        match outcome {
            Ok(0) => {}
            Ok(tasks) => tracing::info!(tasks, "folded texts for searches"),
            Err(error) => {
                tracing::error!(%error, "the upkeep of searches failed; the next run tries again");
            }
        }
    }
}

/// Runs reminders once and deletes expired rows.
pub async fn run_reminders(
    store: &Store,
    clock: &Clock,
    mails: bool,
    stop: &Stop,
    metrics: &JobMetrics,
) -> Result<reminders::ReminderRun, StoreError> {
    let done = reminders::run(store, clock.now(), mails, stop, metrics).await?;
    prune(store, clock).await?;
    Ok(done)
}

/// Deletes expired rows of todoctl's own tables.
async fn prune(store: &Store, clock: &Clock) -> Result<(), StoreError> {
    outbox::prune(store, clock.now()).await?;
    store.prune_attempts().await?;
    store.prune_idempotency_keys().await?;
    Ok(())
}

/// Sends mails after each reminder run, and when a postponed mail is due.
async fn send_mails(outbox: Outbox, clock: Clock, wake: Arc<Notify>, mut stop: Stop) {
    wake.notified().await;
    loop {
        let next = match send_once(&outbox, &stop).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%error, "the outbox failed; the next attempt follows the next reminder run");
                None
            }
        };
        let due = async {
            match next {
                Some(at) => {
                    let micros = at.micros().saturating_sub(clock.now().micros()).max(0);
                    // At least a second: a stopped clock or an old claim must not make this spin.
                    let wait =
                        Duration::from_micros(micros.unsigned_abs()).max(Duration::from_secs(1));
                    tokio::time::sleep(wait).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = wake.notified() => {}
            () = stop.set() => return,
        }
    }
}

/// Sends what is due, and returns when the next mail is.
async fn send_once(outbox: &Outbox, stop: &Stop) -> Result<Option<Timestamp>, StoreError> {
    outbox.deliver(stop).await?;
    outbox.next().await
}
