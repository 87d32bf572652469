//! A daemon that is measured.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::connection::Connection;
use crate::credentials::Secrets;
use crate::process;

const START_LIMIT: Duration = Duration::from_secs(60);

const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nHost: bench\r\n\r\n";

pub struct Daemon {
    child: Child,
    pub address: SocketAddr,
    /// From the start of the process to the first 200 of /health.
    pub start: Duration,
}

impl Daemon {
    /// Starts the program in an empty folder, with nothing of the caller's environment, and waits
    /// until it is healthy.
    pub fn start(
        program: &Path,
        folder: &Path,
        database_url: &str,
        secrets: &Secrets,
    ) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let address = free_address()?;
        let log = File::create(folder.join("log"))?;
        let started = Instant::now();
        let child = command(program, folder, database_url, secrets)
            .arg("serve")
            .env("PORT", address.port().to_string())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut daemon = Self {
            child,
            address,
            start: Duration::ZERO,
        };
        loop {
            let health = Connection::open(address).and_then(|mut it| Ok(it.exchange(HEALTH)?));
            if let Ok(200) = health {
                daemon.start = started.elapsed();
                return Ok(daemon);
            }
            if started.elapsed() > START_LIMIT || daemon.child.try_wait()?.is_some() {
                let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
                let end: Vec<_> = log.lines().rev().take(5).collect();
                bail!("the daemon did not become healthy:\n{}", end.join("\n"));
            }
            sleep(Duration::from_millis(1));
        }
    }

    pub fn cpu(&self) -> Result<Duration> {
        process::cpu(self.child.id())
    }

    /// Resident memory, in KiB.
    pub fn memory(&self) -> Result<u64> {
        process::memory(self.child.id())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let id = self.child.id().try_into().ok().and_then(Pid::from_raw);
        if let Some(id) = id {
            let _ = kill_process(id, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// Applies the migrations, so that no start that is measured does.
pub fn migrate(program: &Path, folder: &Path, url: &str, secrets: &Secrets) -> Result<()> {
    fs::create_dir_all(folder)?;
    let output = command(program, folder, url, secrets)
        .args(["migrate", "up"])
        .output()
        .with_context(|| format!("starting {}", program.display()))?;
    if !output.status.success() {
        bail!("migrate up: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn command(program: &Path, folder: &Path, database_url: &str, secrets: &Secrets) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_clear()
        .envs(secrets.environment())
        .env("ENVIRONMENT", "production")
        .env("HOST", "127.0.0.1")
        .env("LOG_FORMAT", "json")
        // All clients have one address, which is not to be limited like one client.
        .env("TRUSTED_PROXIES", "127.0.0.1")
        .env("DATABASE_URL", database_url);
    command
}

/// An address of this machine whose port was free a moment ago.
pub fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}
