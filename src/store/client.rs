//! Whether a request still has a client.
//!
//! A request whose client has given up must not keep others waiting, so it leaves the queues in
//! which it waits for its turn, and its search is stopped. Other work that has begun goes on: it
//! ends soon.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::error::StoreError;

/// A client that has closed its side of the connection may be waiting for its answer, or be gone:
/// nothing tells which. So its request waits so much longer for its turn, or its search runs so much
/// longer.
const HALF_CLOSED_GRACE: Duration = Duration::from_secs(1);

/// What a connection knows of its client. It is dropped with the connection.
#[derive(Debug, Default)]
pub(crate) struct ClientState(watch::Sender<Option<Instant>>);

impl ClientState {
    /// The client has closed its side of the connection.
    pub fn close(&self) {
        self.0.send_if_modified(|closed| {
            let is_news = closed.is_none();
            closed.get_or_insert_with(Instant::now);
            is_news
        });
    }

    pub fn watch(&self) -> ClientWatch {
        ClientWatch(Some(self.0.subscribe()))
    }
}

/// The client of a request, or that of work which has none.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientWatch(Option<watch::Receiver<Option<Instant>>>);

impl ClientWatch {
    /// Whether the client has closed its side of the connection, or the connection has ended.
    pub fn has_closed(&self) -> bool {
        let state = self.0.as_ref();
        state.is_some_and(|state| state.borrow().is_some() || state.has_changed().is_err())
    }

    /// Waits until the connection has ended, or until the client has closed its side of it for as long
    /// as `grace`.
    pub async fn has_left(&self, grace: Duration) {
        let Some(mut state) = self.0.clone() else {
            return std::future::pending().await;
        };
        // Boxed, to keep it out of the future of every request: few wait.
        Box::pin(async move {
            let closed = state.wait_for(Option::is_some).await.map(|closed| *closed);
            if let Ok(Some(closed)) = closed {
                // It changes no more, so this is the end of the connection or of the time.
                let _ = timeout_at(closed + grace, state.changed()).await;
            }
        })
        .await;
    }
}

tokio::task_local! {
    static CLIENT: ClientWatch;
}

/// Runs the work of a request of `client`.
pub(super) fn on_behalf_of_client<F: Future>(
    client: ClientWatch,
    work: F,
) -> impl Future<Output = F::Output> + use<F> {
    CLIENT.scope(client, work)
}

/// Waits for a turn of the present work, as long as its client waits for the answer. `turn` should be
/// a reference: there is room for it twice.
pub(super) async fn while_client_waits<F: Future>(turn: F) -> Result<F::Output, StoreError> {
    tokio::select! {
        biased;
        outcome = turn => Ok(outcome),
        () = client_has_left() => Err(StoreError::ClientLeft),
    }
}

/// Completes when the client of the present work has left; never, if it has none.
pub(super) async fn client_has_left() {
    let client = CLIENT.try_with(ClientWatch::clone);
    client.unwrap_or_default().has_left(HALF_CLOSED_GRACE).await;
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Instant;

    use futures_util::FutureExt as _;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_client_that_has_closed_its_side_has_some_time_left() {
        let state = ClientState::default();
        let client = state.watch();
        let mut left = pin!(client.has_left(SHORT));
        assert!(left.as_mut().now_or_never().is_none());
        let started = Instant::now();
        state.close();
        state.close();
        left.await;
        assert!(started.elapsed() >= SHORT);
        // The next one who asks waits no longer.
        let left = client.has_left(SHORT);
        assert!(pin!(left).now_or_never().is_some());
    }

    #[tokio::test]
    async fn the_end_of_the_connection_is_the_end() {
        for is_closed in [false, true] {
            let state = ClientState::default();
            let client = state.watch();
            let mut left = pin!(client.has_left(Duration::from_secs(3600)));
            if is_closed {
                state.close();
            }
            assert!(left.as_mut().now_or_never().is_none());
            drop(state);
            left.await;
        }
        let nobody = ClientWatch::default();
        assert!(nobody.has_left(Duration::ZERO).now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_turn_is_not_waited_for_without_a_client() {
        let state = ClientState::default();
        let waits = on_behalf_of_client(
            state.watch(),
            while_client_waits(std::future::pending::<()>()),
        );
        let mut waits = pin!(waits);
        assert!(waits.as_mut().now_or_never().is_none());
        drop(state);
        assert!(matches!(waits.await, Err(StoreError::ClientLeft)));
        // A turn that is there is taken all the same.
        let gone = ClientState::default().watch();
        let turn = on_behalf_of_client(gone, while_client_waits(std::future::ready(1)));
        assert_eq!(turn.await.unwrap(), 1);
        assert_eq!(while_client_waits(std::future::ready(2)).await.unwrap(), 2);
    }
}
