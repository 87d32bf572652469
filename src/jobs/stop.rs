//! The signal that ends jobs.

use tokio::sync::watch;

/// Tells jobs to end after the batch in progress.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// A sender that stops, and the signal.
    pub(super) fn channel() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// A signal that is never set, for a single run.
    #[must_use]
    pub fn never() -> Self {
        Self::channel().1
    }

    /// Whether jobs should end.
    #[must_use]
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Completes when jobs should end.
    pub(super) async fn set(&mut self) {
        // An error means that the sender was dropped: the signal will never come.
        if self.0.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
