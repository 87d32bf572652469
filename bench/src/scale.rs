//! Many tasks, many connections, and a load that goes on for long.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;

use crate::connection::Connection;
use crate::credentials::{Caller, Credentials, Secrets};
use crate::daemon::{self, Daemon};
use crate::load::{Load, Pace, Requests};
use crate::postgres::{Postgres, insert_tasks};
use crate::statistics::Spread;
use crate::workload::{Stream, Workload};

pub const ROUNDS: usize = 5;
pub const SECONDS: u64 = 2;

/// Before, so that PostgreSQL's process knows most pages of the large table, as it does in a daemon
/// that has been running.
const WARM_UP: Duration = Duration::from_secs(10);

const SMALL_TASKS: u64 = 10_000;
const MANY: u64 = 200_000;
const FEW: u64 = 200;

/// The users with many and with few tasks, beyond all others.
const USER_WITH_MANY: u64 = 100_000_001;
const USER_WITH_FEW: u64 = 100_000_002;

/// Requests a second of the mixed load.
const MIXED_RATE: f64 = 2000.0;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Tasks of the large table.
    #[arg(long, default_value_t = 5_000_000)]
    tasks: u64,
    /// Their users.
    #[arg(long, default_value_t = 10_000)]
    users: u64,
    /// Idle keep-alive connections.
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Minutes of the mixed load.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
}

#[derive(Serialize)]
pub struct Scale {
    tasks: u64,
    users: u64,
    small_tasks: u64,
    pub pairs: Vec<Pair>,
    pub idle: Idle,
    pub mixed: Mixed,
}

impl Scale {
    pub fn failed(&self) -> u64 {
        let pairs: u64 = self.pairs.iter().map(|pair| pair.failed).sum();
        pairs + self.mixed.failed
    }
}

/// Two measurements whose median latencies are compared, on one connection.
#[derive(Serialize)]
pub struct Pair {
    pub name: String,
    pub small_us: Spread,
    pub large_us: Spread,
    /// Of the two in the same round.
    pub ratio: Spread,
    pub failed: u64,
}

#[derive(Serialize)]
pub struct Idle {
    pub connections: usize,
    pub memory_mib: f64,
    /// Of a point read at 1,000 requests a second, without and with them.
    pub p50_us: [f64; 2],
    pub p99_us: [f64; 2],
}

#[derive(Serialize)]
pub struct Mixed {
    pub minutes: u64,
    pub requests_per_second: f64,
    /// Medians of the second tenth and of the last tenth of the time.
    pub memory_mib: [f64; 2],
    pub failed: u64,
}

/// The same request again and again.
struct Repeated(Vec<u8>);

impl Requests for Repeated {
    fn next(&self, into: &mut Vec<u8>) -> Option<u16> {
        into.extend_from_slice(&self.0);
        Some(200)
    }
}

fn first_page(secrets: &Secrets, user: u64) -> Repeated {
    let request = format!(
        "GET /tasks/?cursor=&limit=20 HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\nX-User-ID: {user}\r\n\r\n",
        secrets.service
    );
    Repeated(request.into_bytes())
}

pub fn run(program: &Path, postgres: &Postgres, folder: &Path, options: &Options) -> Result<Scale> {
    let secrets = Secrets::new();
    let start = |name: &str, inserts: &[String]| {
        let database = format!("bench_{name}");
        let folder = folder.join(name);
        postgres.create_database(&database)?;
        let url = postgres.url(&database, postgres.port);
        daemon::migrate(program, &folder, &url, &secrets)?;
        eprintln!("bench: making the {name} table");
        for insert in inserts {
            postgres.sql(&database, &[insert])?;
        }
        postgres.sql(&database, &["VACUUM ANALYZE tasks", "CHECKPOINT"])?;
        let daemon = Daemon::start(program, &folder, &url, &secrets)?;
        eprintln!("bench: waiting for the {name} table's index for searches");
        let started = Instant::now();
        while !postgres.has_search_index(&database)? {
            if started.elapsed() > Duration::from_secs(1800) {
                bail!("the daemon did not build the index for searches");
            }
            thread::sleep(Duration::from_secs(1));
        }
        postgres.sql(&database, &["VACUUM ANALYZE tasks", "CHECKPOINT"])?;
        Ok(daemon)
    };
    // As many tasks for each user as in the large table.
    let small_users = (SMALL_TASKS * options.users / options.tasks).max(1);
    let small = start("small", &[insert_tasks(SMALL_TASKS, small_users)])?;
    let one_user = |user: u64, tasks: u64| {
        insert_tasks(tasks, 1).replace("(1000 + n % 1)::text", &format!("'{user}'"))
    };
    let large = start(
        "large",
        &[
            insert_tasks(options.tasks, options.users),
            one_user(USER_WITH_MANY, MANY),
            one_user(USER_WITH_FEW, FEW),
        ],
    )?;

    let small_callers = Credentials::new(Caller::Service, &secrets, small_users);
    let large_callers = Credentials::new(Caller::Service, &secrets, options.users);
    let small_stream = |workload| Stream::new(workload, SMALL_TASKS, small_users, &small_callers);
    let large_stream =
        |workload| Stream::new(workload, options.tasks, options.users, &large_callers);
    let mut pairs = Vec::new();
    for workload in [Workload::Point, Workload::List20] {
        pairs.push(pair(
            format!(
                "{}: {SMALL_TASKS} and {} tasks",
                workload.name(),
                options.tasks
            ),
            (small.address, &small_stream(workload)),
            (large.address, &large_stream(workload)),
        )?);
    }
    pairs.push(pair(
        format!("first page by cursor: a user with {FEW} and one with {MANY} tasks"),
        (large.address, &first_page(&secrets, USER_WITH_FEW)),
        (large.address, &first_page(&secrets, USER_WITH_MANY)),
    )?);
    drop(large);
    let idle = idle(&small, options.idle, &small_stream(Workload::Point))?;
    let mixed = mixed(&small, options.minutes, &small_stream(Workload::Mixed))?;
    Ok(Scale {
        tasks: options.tasks,
        users: options.users,
        small_tasks: SMALL_TASKS,
        pairs,
        idle,
        mixed,
    })
}

type Side<'a> = (SocketAddr, &'a dyn Requests);

fn pair(name: String, small: Side<'_>, large: Side<'_>) -> Result<Pair> {
    eprintln!("bench: {name}");
    let mut failed = 0;
    let mut median = |(address, requests): Side<'_>, duration| -> Result<f64> {
        let load = Load {
            address,
            clients: 1,
            pace: Pace::Closed,
            duration,
        };
        let outcome = load.run(requests)?;
        failed += outcome.failed;
        Ok(outcome.percentile(50.0))
    };
    for side in [small, large] {
        median(side, WARM_UP)?;
    }
    let each = Duration::from_secs(SECONDS);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push((median(small, each)?, median(large, each)?));
    }
    let spread = |value: fn(&(f64, f64)) -> f64| {
        let spread = Spread::of(rounds.iter().map(value));
        spread.ok_or_else(|| anyhow::anyhow!("no rounds"))
    };
    Ok(Pair {
        name,
        small_us: spread(|(small, _)| *small)?,
        large_us: spread(|(_, large)| *large)?,
        ratio: spread(|(small, large)| large / small)?,
        failed,
    })
}

fn idle(daemon: &Daemon, connections: usize, requests: &dyn Requests) -> Result<Idle> {
    eprintln!("bench: {connections} idle connections");
    let load = Load {
        address: daemon.address,
        clients: 4,
        pace: Pace::Open(1000.0),
        duration: Duration::from_secs(5),
    };
    let without = load.run(requests)?;
    let before = daemon.memory()?;
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut connection = Connection::open(daemon.address)?;
        let mut request = Vec::new();
        let expected = requests.next(&mut request);
        let status = connection.exchange(&request)?;
        if expected != Some(status) {
            bail!("{status} after {} connections", open.len());
        }
        open.push(connection);
    }
    let memory = daemon.memory()?.saturating_sub(before);
    let with = load.run(requests)?;
    Ok(Idle {
        connections: open.len(),
        memory_mib: memory as f64 / 1024.0,
        p50_us: [without.percentile(50.0), with.percentile(50.0)],
        p99_us: [without.percentile(99.0), with.percentile(99.0)],
    })
}

fn mixed(daemon: &Daemon, minutes: u64, requests: &dyn Requests) -> Result<Mixed> {
    eprintln!("bench: a mixed load for {minutes} minutes");
    let load = Load {
        address: daemon.address,
        clients: 64,
        pace: Pace::Open(MIXED_RATE),
        duration: Duration::from_secs(60 * minutes),
    };
    let (outcome, memory) = thread::scope(|scope| {
        let running = scope.spawn(|| load.run(requests));
        let mut memory = Vec::new();
        while !running.is_finished() {
            memory.push(daemon.memory()? as f64 / 1024.0);
            thread::sleep(Duration::from_secs(1));
        }
        let outcome = running.join();
        Ok::<_, anyhow::Error>((outcome, memory))
    })?;
    let outcome = outcome.map_err(|_| anyhow::anyhow!("the load panicked"))??;
    let tenth = memory.len() / 10;
    let median = |part: &[f64]| Spread::of(part.iter().copied()).map_or(0.0, |it| it.median);
    Ok(Mixed {
        minutes,
        requests_per_second: outcome.rate(),
        memory_mib: [
            median(&memory[tenth..2 * tenth]),
            median(&memory[memory.len() - tenth..]),
        ],
        failed: outcome.failed,
    })
}
