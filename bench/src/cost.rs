//! What the daemon costs before it does anything: its start, its size, its idle time.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::credentials::Secrets;
use crate::daemon::{self, Daemon};
use crate::postgres::Postgres;
use crate::statistics::Spread;

pub const STARTS: usize = 9;
pub const IDLE_SECONDS: u64 = 20;

#[derive(Serialize)]
pub struct Cost {
    pub binary_mib: f64,
    pub engines: Vec<Engine>,
}

#[derive(Serialize)]
pub struct Engine {
    pub name: &'static str,
    /// From the start of the process to the first 200 of /health; the migrations are applied.
    pub start_ms: Spread,
    pub idle_cpu_percent: f64,
    pub idle_memory_mib: f64,
}

pub fn run(program: &Path, postgres: &Postgres, folder: &Path) -> Result<Cost> {
    let secrets = Secrets::new();
    postgres.create_database("bench_cost")?;
    let file = folder.join("todo.db");
    let urls = [
        ("SQLite", format!("sqlite://{}", file.display())),
        ("PostgreSQL", postgres.url("bench_cost", postgres.port)),
    ];
    let mut engines = Vec::new();
    for (name, url) in urls {
        eprintln!("bench: start and idle time, {name}");
        daemon::migrate(program, folder, &url, &secrets)?;
        // The first start also makes the indexes for searches.
        drop(Daemon::start(program, folder, &url, &secrets)?);
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            let daemon = Daemon::start(program, folder, &url, &secrets)?;
            starts.push(daemon.start.as_secs_f64() * 1e3);
        }
        let daemon = Daemon::start(program, folder, &url, &secrets)?;
        sleep(Duration::from_secs(2));
        let before = daemon.cpu()?;
        sleep(Duration::from_secs(IDLE_SECONDS));
        let used = daemon.cpu()?.saturating_sub(before);
        engines.push(Engine {
            name,
            start_ms: Spread::of(starts).context("at least one start")?,
            idle_cpu_percent: 100.0 * used.as_secs_f64() / IDLE_SECONDS as f64,
            idle_memory_mib: daemon.memory()? as f64 / 1024.0,
        });
    }
    Ok(Cost {
        binary_mib: fs::metadata(program)?.len() as f64 / 1024.0 / 1024.0,
        engines,
    })
}
