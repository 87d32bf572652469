//! Writes log lines on a thread of its own. Logging never fails and never blocks the work that
//! logs: lines that cannot be queued or written are counted and dropped.
//!
//! tracing-appender has such a writer, but it does not count failed writes, and when it ends with
//! a full queue it prints to stdout, which panics if stdout is closed.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines are written together up to this many bytes.
const BATCH_BYTES: usize = 64 * 1024;

/// A line waits so long for others. A thread that sleeps need not be woken for each of them, which
/// costs a busy daemon more than writing does.
const BATCH_PAUSE: Duration = Duration::from_millis(10);

/// A queue of lines and the thread that writes them. Cheap to clone.
#[derive(Clone)]
pub(super) struct LogWriter {
    queue: SyncSender<Vec<u8>>,
    /// Lines that are neither written nor dropped yet.
    pending: Arc<AtomicU64>,
    dropped: IntCounter,
}

impl LogWriter {
    /// Starts the thread. At most `capacity` lines wait for it.
    pub(super) fn start(
        output: impl Write + Send + 'static,
        capacity: usize,
        dropped: IntCounter,
    ) -> io::Result<Self> {
        let (queue, lines) = sync_channel(capacity);
        let writer = Self {
            queue,
            pending: Arc::default(),
            dropped,
        };
        let (pending, dropped) = (writer.pending.clone(), writer.dropped.clone());
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(&lines, output, &pending, &dropped))?;
        Ok(writer)
    }

    /// Queues a line, which has its line break.
    pub fn line(&self, line: impl Into<Vec<u8>>) {
        self.pending.fetch_add(1, Ordering::AcqRel);
        if self.queue.try_send(line.into()).is_err() {
            self.pending.fetch_sub(1, Ordering::AcqRel);
            self.dropped.inc();
        }
    }

    /// Waits until the queued lines are written, at most `limit`: their reader may have stalled.
    pub fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.pending.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn write_lines(
    lines: &Receiver<Vec<u8>>,
    mut output: impl Write,
    pending: &AtomicU64,
    dropped: &IntCounter,
) {
    while let Ok(mut batch) = lines.recv() {
        thread::sleep(BATCH_PAUSE);
        let mut count = 1;
        while batch.len() < BATCH_BYTES
            && let Ok(line) = lines.try_recv()
        {
            batch.extend_from_slice(&line);
            count += 1;
        }
        if output.write_all(&batch).is_err() {
            dropped.inc_by(count);
        }
        pending.fetch_sub(count, Ordering::AcqRel);
    }
}

impl Write for &LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = &'a LogWriter;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn counter() -> IntCounter {
        IntCounter::new("dropped", "Dropped.").unwrap()
    }

    /// Takes nothing until it is told to, and then everything or an error.
    struct Stalled(mpsc::Receiver<io::Result<()>>, mpsc::Sender<Vec<u8>>);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().unwrap_or(Ok(()))?;
            let _ = self.1.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (go, stalled) = mpsc::channel();
        let (sender, written) = mpsc::channel();
        let writer = LogWriter::start(Stalled(stalled, sender), 4, counter()).unwrap();
        for number in 0..1000 {
            writer.line(format!("{number}\n"));
        }
        // The queue's four, and what the thread took before it stalled.
        assert!((900..=996).contains(&writer.dropped.get()));
        writer.flush(Duration::from_millis(20));
        drop(go);
        writer.flush(Duration::from_secs(10));
        let text: Vec<u8> = written.try_iter().flatten().collect();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().count() as u64 + writer.dropped.get(), 1000);
        assert!(text.starts_with("0\n"));
    }

    #[test]
    fn a_failed_write_is_counted_and_the_next_line_is_tried() {
        let (go, stalled) = mpsc::channel();
        let (sender, written) = mpsc::channel();
        let writer = LogWriter::start(Stalled(stalled, sender), 4, counter()).unwrap();
        for kind in [io::ErrorKind::BrokenPipe, io::ErrorKind::StorageFull] {
            go.send(Err(kind.into())).unwrap();
            writer.line("lost\n");
            writer.flush(Duration::from_secs(10));
        }
        assert_eq!(writer.dropped.get(), 2);
        go.send(Ok(())).unwrap();
        writer.line("kept\n");
        writer.flush(Duration::from_secs(10));
        assert_eq!(written.try_recv().unwrap(), b"kept\n");
    }
}
