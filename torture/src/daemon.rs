//! `todoctl serve` as a process.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep, timeout};

use crate::http::{Answer, Client, Request};
use crate::support::ports::free_port;

pub const TOKEN: &str = "5f0c1d2e3b4a59687786958493a2b1c0d1e2f3a4b5c6d7e8f90a1b2c3d4e5f60";

/// Signs the JWTs of the sign-in service.
pub const JWT_SECRET: &str = "7d1e2f3a4b5c69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

/// The key of the hashes of session tokens.
pub const SESSION_SECRET: &str = "6a1b1d2e3b4a59687786958493a2b1c0d1e2f3a4b5c6d7e8f90a1b2c3d4e5f60";

/// Connections to the database that each daemon may have.
pub const CONNECTIONS: usize = 8;

/// The daemons' time limit for a request.
pub const TIME_LIMIT: Duration = Duration::from_millis(800);

/// A daemon is expected to be ready within this time, on a busy machine too.
const START: Duration = Duration::from_mins(2);

/// Last lines of its log that are kept.
const LINES: usize = 400;

/// A daemon, which may be down.
#[derive(Debug)]
pub struct Daemon {
    pub port: u16,
    program: PathBuf,
    directory: PathBuf,
    settings: Vec<(&'static str, String)>,
    child: Option<Child>,
    log: Arc<Log>,
}

/// What the process uses.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub files: usize,
    pub threads: usize,
    pub memory_kib: usize,
}

/// The reader of a daemon's log pipe.
#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    stalled: Mutex<bool>,
    resumed: Condvar,
    closed: AtomicBool,
    /// Whether it listens, and so has started.
    has_listened: AtomicBool,
}

impl Daemon {
    /// A daemon that is not started yet.
    pub fn new(program: &Path, directory: &Path, settings: Vec<(&'static str, String)>) -> Self {
        Self {
            port: free_port(),
            program: program.to_owned(),
            directory: directory.to_owned(),
            settings,
            child: None,
            log: Arc::default(),
        }
    }

    /// `todoctl` with this daemon's settings.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(&self.directory)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("PORT", self.port.to_string())
            .env(
                "REQUEST_TIMEOUT_SECONDS",
                TIME_LIMIT.as_secs_f64().to_string(),
            )
            .env("SQLALCHEMY_POOL_SIZE", CONNECTIONS.to_string())
            .env("SQLALCHEMY_POOL_OVERFLOW", "0")
            .env("SHUTDOWN_GRACE_SECONDS", "3")
            .env("SERVICE_AUTH_TOKEN", TOKEN)
            .env("SESSION_HASH_SECRET", SESSION_SECRET)
            .env("JWT_SECRET", JWT_SECRET)
            // Tokens that were revoked are tried again and again.
            .env("AUTH_FAILURES_PER_MINUTE", "0")
            .env(
                "ENCRYPTION_KEY",
                "ZmVybmV0LWtleS1vZi0zMi1ieXRlcy1mb3ItdGVzdHM=",
            )
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    pub fn start(&mut self) -> anyhow::Result<()> {
        let mut child = self
            .command(&["serve"])
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let pipe = child.stderr.take().context("no log pipe")?;
        self.log = Arc::new(Log {
            lines: Mutex::new(self.log.last()),
            ..Log::default()
        });
        self.log.read(pipe);
        self.child = Some(child);
        Ok(())
    }

    /// Starts it if it is not running. It may have ended while it started, where the database was
    /// full or locked; one that ended while it served requests is an error.
    pub fn ensure_running(&mut self) -> anyhow::Result<()> {
        if let Some(child) = &mut self.child {
            if let Some(status) = child.try_wait()? {
                self.child = None;
                let has_served = self.log.has_listened.load(SeqCst);
                ensure!(
                    !has_served,
                    "a daemon ended while it served requests: {status}"
                );
                return self.start();
            }
            return Ok(());
        }
        self.start()
    }

    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let child = self.child.as_ref().context("the daemon is not running")?;
        let pid = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("no such process")?;
        kill_process(pid, signal).context("cannot send a signal")
    }

    /// As `kill -9`.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = ended(&mut child, START).await;
        }
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        let mut child = self.child.take().context("the daemon is not running")?;
        if !ended(&mut child, START).await {
            let _ = child.kill();
            let _ = child.wait();
            bail!("a daemon did not end within {START:?} after SIGTERM");
        }
        Ok(())
    }

    /// Waits until it sends a probe's 200.
    pub async fn until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        let probe = Request {
            method: "GET",
            path: "/health/ready".to_owned(),
            user: "probe".to_owned(),
            token: None,
            headers: Vec::new(),
            body: None,
        };
        loop {
            self.ensure_running()?;
            let mut client = Client::new(self.port, TOKEN);
            let answer = timeout(Duration::from_secs(4), client.send(&probe)).await;
            if matches!(answer, Ok(Answer::Status { code: 200, .. })) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "a daemon was not ready within {START:?}"
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn usage(&self) -> anyhow::Result<Usage> {
        let child = self.child.as_ref().context("the daemon is not running")?;
        let process = PathBuf::from(format!("/proc/{}", child.id()));
        let status = fs::read_to_string(process.join("status"))?;
        let number = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(|rest| rest.trim_start_matches(':').split_whitespace().next())
                .and_then(|word| word.parse().ok())
                .with_context(|| format!("no {name} in /proc"))
        };
        Ok(Usage {
            files: fs::read_dir(process.join("fd"))?.count(),
            threads: number("Threads")?,
            memory_kib: number("VmRSS")?,
        })
    }

    /// Stops reading its log, or goes on.
    pub fn stall_log(&self, stalled: bool) {
        *self
            .log
            .stalled
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = stalled;
        self.log.resumed.notify_all();
    }

    /// Closes the pipe that it writes its log to, with the next line.
    pub fn close_log(&self) {
        self.log.closed.store(true, SeqCst);
    }

    pub fn last_lines(&self) -> Vec<String> {
        self.log.last()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.stall_log(false);
    }
}

impl Log {
    fn read(self: &Arc<Self>, pipe: ChildStderr) {
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if line.contains("\"listening\"") {
                    log.has_listened.store(true, SeqCst);
                }
                {
                    let mut lines = log.lines.lock().unwrap_or_else(PoisonError::into_inner);
                    if lines.len() == LINES {
                        lines.remove(0);
                    }
                    lines.push(line);
                }
                let stalled = log.stalled.lock().unwrap_or_else(PoisonError::into_inner);
                drop(log.resumed.wait_while(stalled, |stalled| *stalled));
                if log.closed.load(SeqCst) {
                    return;
                }
            }
        });
    }

    fn last(&self) -> Vec<String> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Waits for the end of a process.
pub async fn ended(child: &mut Child, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        sleep(Duration::from_millis(3)).await;
    }
    false
}
