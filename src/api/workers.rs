//! The threads that serve connections.
//!
//! Each has a runtime of its own, and a connection stays on one of them. A runtime with several
//! threads wakes idle ones to look for work of busy ones, which costs a short request up to a quarter
//! of its CPU time. What would occupy a thread for long runs elsewhere
//! ([`tokio::task::spawn_blocking`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{io, iter};

use tokio::runtime::Handle;

use crate::store::RuntimeThread;

/// The threads of one server. They end when it is dropped, with all connections that they serve.
pub(super) struct Workers {
    workers: Vec<Worker>,
    _threads: Vec<RuntimeThread>,
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
        let threads = (1..count).map(|number| RuntimeThread::start(format!("worker-{number}")));
        let threads: Vec<_> = threads.collect::<io::Result<_>>()?;
        let runtimes = threads.iter().map(|thread| thread.handle().clone());
        let workers = iter::once(Handle::current()).chain(runtimes);
        Ok(Self {
            workers: workers.map(Worker::new).collect(),
            _threads: threads,
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
    use std::thread;

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
