//! Work that continues when nobody waits for it any more.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that is polled by the task that waits for it. If it is dropped before it has ended, it
/// becomes a task of its own and runs to its end. If it panics, it has ended.
///
/// A task for each request would cost a hop between the runtime's threads and back.
pub(super) struct Uninterrupted<F: Future<Output = ()> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output = ()> + Send + 'static> Uninterrupted<F> {
    pub fn new(work: F) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Future for Uninterrupted<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(work) = &mut self.0 else {
            return Poll::Ready(());
        };
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        if matches!(polled, Ok(Poll::Pending)) {
            return Poll::Pending;
        }
        self.0 = None;
        Poll::Ready(())
    }
}

impl<F: Future<Output = ()> + Send + 'static> Drop for Uninterrupted<F> {
    fn drop(&mut self) {
        // Without a runtime, everything has been stopped.
        if let Some(work) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn dropped_work_runs_to_its_end() {
        let (go_on, wait) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let mut work = Uninterrupted::new(async move {
            wait.await.unwrap();
            done.send("ended").unwrap();
        });
        let polled = tokio::time::timeout(Duration::from_millis(1), &mut work).await;
        assert!(polled.is_err());
        drop(work);
        go_on.send(()).unwrap();
        assert_eq!(ended.await, Ok("ended"));
    }

    #[tokio::test]
    async fn work_that_ended_does_not_run_again() {
        let mut count = 0;
        let (done, ended) = oneshot::channel();
        let mut work = Uninterrupted::new(async move {
            count += 1;
            done.send(count).unwrap();
        });
        (&mut work).await;
        drop(work);
        assert_eq!(ended.await, Ok(1));
    }

    #[tokio::test]
    async fn work_that_panicked_is_not_polled_again() {
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&polls);
        let work = Uninterrupted::new(poll_fn(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            panic!("on purpose")
        }));
        assert!(tokio::spawn(work).await.is_ok());
        tokio::task::yield_now().await;
        assert_eq!(polls.load(Ordering::Relaxed), 1);
    }
}
