//! The threads that serve connections.
//!
//! Each has a runtime of its own, and a connection stays on one of them. A runtime with several
//! threads wakes idle ones to look for work of busy ones, which costs a short request up to a quarter
//! of its CPU time. What would occupy a thread for long runs elsewhere
//! ([`tokio::task::spawn_blocking`]).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// The threads of one server. They end when it is dropped, with all connections that they serve.
pub(super) struct Workers {
    workers: Vec<Worker>,
    _running: watch::Sender<()>,
}

#[derive(Clone)]
struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
}

impl Worker {
    fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            connections: Arc::default(),
        }
    }
}

impl Workers {
    /// The present runtime, and as many threads as are missing for `count`.
    pub fn start(count: usize) -> io::Result<Self> {
        let (running, ended) = watch::channel(());
        let mut workers = vec![Worker::new(Handle::current())];
        for number in 1..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            workers.push(Worker::new(runtime.handle().clone()));
            let mut ended = ended.clone();
            let serve = move || {
                // Nothing is ever sent.
                let _ = runtime.block_on(ended.changed());
                // It may be parsing a body.
                runtime.shutdown_background();
            };
            thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(serve)?;
        }
        Ok(Self {
            workers,
            _running: running,
        })
    }

    /// A place on the worker that has the fewest connections.
    pub fn place(&self) -> Place {
        let connections = |worker: &&Worker| worker.connections.load(Ordering::Relaxed);
        let fewest = self.workers.iter().min_by_key(connections);
        // There is at least the present runtime.
        let worker = fewest.unwrap_or(&self.workers[0]).clone();
        worker.connections.fetch_add(1, Ordering::Relaxed);
        Place(worker)
    }
}

/// Where a connection is served. It is counted there until this is dropped.
pub(super) struct Place(Worker);

impl Place {
    pub fn runtime(&self) -> Handle {
        self.0.runtime.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn connections_are_spread_evenly() {
        let workers = Workers::start(3).unwrap();
        let mut places: Vec<_> = (0..6).map(|_| workers.place()).collect();
        let threads = |places: &[Place]| {
            let runtimes = places.iter().map(Place::runtime);
            let threads: Vec<_> = runtimes
                .map(|runtime| runtime.spawn(async { thread::current().id() }))
                .collect();
            async move {
                let mut ids = Vec::new();
                for thread in threads {
                    ids.push(thread.await.unwrap());
                }
                ids
            }
        };
        let served = threads(&places).await;
        assert_eq!(served[..3], served[3..]);
        assert_eq!(served[..3].iter().collect::<HashSet<_>>().len(), 3);
        // The one that ended makes room.
        places.remove(4);
        places.push(workers.place());
        assert_eq!(threads(&places[5..]).await, served[4..5]);
    }

    #[tokio::test]
    async fn they_end_with_their_server() {
        let workers = Workers::start(2).unwrap();
        let _first = workers.place();
        let second = workers.place().runtime();
        let serving = second.spawn(pending::<()>());
        drop(workers);
        assert!(serving.await.unwrap_err().is_cancelled());
    }
}
