//! What runs beside requests: reminders and the mail outbox.
//!
//! [`Jobs`] runs them for as long as the daemon does; `todoctl jobs run` runs them once.
//! No job counts on being the only one: replicas run the same.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::services::mail::Mailer;
use crate::store::{Store, StoreError};
use crate::telemetry::JobMetrics;

pub mod outbox;
pub mod reminders;

use outbox::Outbox;

/// How long the reminder job rests between two runs.
const INTERVAL: Duration = Duration::from_mins(15);

/// Tells jobs to end after what they are at.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// One that is never set, for a run of its own.
    #[must_use]
    pub fn never() -> Self {
        Self(watch::channel(false).1)
    }

    /// Whether it is time to end.
    #[must_use]
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Ready when it is time to end.
    async fn set(&mut self) {
        // The other side went away without a word: there is nobody to stop for, ever.
        if self.0.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The running jobs of a daemon.
#[derive(Debug)]
pub struct Jobs {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Jobs {
    /// Starts them; without a mailer, reminders alone.
    #[must_use]
    pub fn start(store: Store, clock: Clock, mailer: Option<Mailer>, metrics: JobMetrics) -> Self {
        let (stop, stopping) = watch::channel(false);
        let stopping = Stop(stopping);
        let wake = Arc::new(Notify::new());
        let mails = mailer.is_some();
        let mut tasks = Vec::new();
        if let Some(mailer) = mailer {
            let outbox = Outbox::new(store.clone(), clock.clone(), mailer, metrics.clone());
            let courier = send_mails(outbox, clock.clone(), wake.clone(), stopping.clone());
            tasks.push(tokio::spawn(courier));
        }
        let reminders = remind(store, clock, mails, metrics, wake, stopping);
        tasks.push(tokio::spawn(reminders));
        Self { stop, tasks }
    }

    /// What [`Jobs::stop`] tells them, for whoever knows earlier.
    pub fn stopper(&self) -> impl FnOnce() + use<> {
        let stop = self.stop.clone();
        move || {
            stop.send_replace(true);
        }
    }

    /// Tells the jobs to end, and waits for what they are at, `limit` at most.
    pub async fn stop(self, limit: Duration) {
        self.stop.send_replace(true);
        let ended = futures_util::future::join_all(self.tasks);
        if tokio::time::timeout(limit, ended).await.is_err() {
            tracing::warn!("a job did not end in time; what it had not committed is done again");
        }
    }
}

/// The reminder job: at start, then every [`INTERVAL`].
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
                tracing::error!(%error, "reminders failed; they are tried again at the next run");
            }
        }
        wake.notify_one();
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = stop.set() => return,
        }
    }
}

/// One run of the reminder job, and the clearing away that goes with it.
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

/// Forgets rows of todoctl's own tables whose time is over.
async fn prune(store: &Store, clock: &Clock) -> Result<(), StoreError> {
    outbox::prune(store, clock.now()).await?;
    store.prune_attempts().await?;
    store.prune_idempotency_keys().await?;
    Ok(())
}

/// The outbox: after each reminder run, and when a try that was put off is due.
async fn send_mails(outbox: Outbox, clock: Clock, wake: Arc<Notify>, mut stop: Stop) {
    wake.notified().await;
    loop {
        let next = match send_once(&outbox, &stop).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%error, "the outbox failed; it is tried again after the next reminders");
                None
            }
        };
        let due = async {
            match next {
                Some(at) => {
                    let micros = at.micros().saturating_sub(clock.now().micros()).max(0);
                    // A clock that stands, or an old claim, must not make this spin.
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

async fn send_once(
    outbox: &Outbox,
    stop: &Stop,
) -> Result<Option<crate::domain::Timestamp>, StoreError> {
    outbox.deliver(stop).await?;
    outbox.next().await
}
