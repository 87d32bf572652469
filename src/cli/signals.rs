//! What signals do to the commands.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code of a command that a signal ends is this and the signal's number, as in shells.
const SIGNALLED: i32 = 128;

/// The exit code that SIGTERM and SIGINT end the process with.
#[derive(Clone, Default)]
pub(super) struct ExitOnSignal(Arc<Mutex<Option<u8>>>);

impl ExitOnSignal {
    /// For commands that run until a signal ends them. Before, the code tells the signal.
    pub(super) fn set_code(&self, code: u8) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
    }

    fn code(&self, signal: SignalKind) -> i32 {
        let code = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        code.map_or(SIGNALLED + signal.as_raw_value(), i32::from)
    }
}

/// From now on SIGTERM and SIGINT end the process at once, whatever it does. They do so by
/// default, but not in the first process of a container, for which the kernel has no defaults.
pub(super) fn end_at_once() -> anyhow::Result<ExitOnSignal> {
    let exit = ExitOnSignal::default();
    let of_thread = exit.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let (mut terminate, mut interrupt) = {
        let _runtime = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        )
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let kind = runtime.block_on(async {
                tokio::select! {
                    _ = terminate.recv() => SignalKind::terminate(),
                    _ = interrupt.recv() => SignalKind::interrupt(),
                }
            });
            #[allow(clippy::exit, reason = "the command may be waiting for anything")]
            std::process::exit(of_thread.code(kind));
        })
        .context("cannot start the thread that waits for signals")?;
    Ok(exit)
}

/// The name of the signal that a terminal sends when it closes.
pub(super) const HANGUP: &str = "SIGHUP";

/// The signals that the daemon takes. Must be made within a runtime.
pub(super) struct DaemonSignals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
}

impl DaemonSignals {
    /// SIGTERM, SIGINT and SIGHUP stop the daemon; SIGUSR1, SIGUSR2 and SIGXFSZ are ignored from
    /// now on. Without the last one, a write beyond the limit of a file's size (setrlimit(2)) fails
    /// and does not end the process.
    pub fn listen() -> std::io::Result<Self> {
        let file_size = rustix::process::Signal::XFSZ.as_raw();
        drop(signal(SignalKind::from_raw(file_size))?);
        // Once tokio has a handler, it stays.
        drop(signal(SignalKind::user_defined1())?);
        drop(signal(SignalKind::user_defined2())?);
        // nohup has it ignored, so that the daemon outlives its terminal.
        let hangup = if is_ignored(SignalKind::hangup()) {
            None
        } else {
            Some(signal(SignalKind::hangup())?)
        };
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup,
        })
    }

    /// Waits for one that stops the daemon; its name.
    pub async fn stop(mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = hangup => HANGUP,
        }
    }
}

/// Whether the process was started with the signal ignored (proc(5): bit n-1 is signal n). False
/// where there is no /proc.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}
