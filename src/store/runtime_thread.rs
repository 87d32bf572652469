//! A thread with a runtime of its own.

use std::{io, thread};

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// It ends when this is dropped, and everything that runs on it.
pub(crate) struct RuntimeThread {
    handle: Handle,
    _running: watch::Sender<()>,
}

impl RuntimeThread {
    pub fn start(name: String) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (running, mut ended) = watch::channel(());
        let run = move || {
            // Nothing is ever sent.
            let _ = runtime.block_on(ended.changed());
            // It may be at work for somebody on a thread for blocking work.
            runtime.shutdown_background();
        };
        thread::Builder::new().name(name).spawn(run)?;
        Ok(Self {
            handle,
            _running: running,
        })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}
