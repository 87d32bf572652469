//! One program with its databases and running daemons, and a measurement of it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Serialize;

use crate::credentials::{Caller, Credentials, Secrets};
use crate::daemon::{self, Daemon};
use crate::load::{Load, Outcome, Pace};
use crate::postgres::{Postgres, Script};
use crate::proxy;
use crate::workload::{FIRST_USER, Seed, Stream, Workload};

const TASKS: u64 = 20_000;
/// More, because each is deleted once.
const TASKS_TO_DELETE: u64 = 100_000;
const USERS: u64 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    Postgres,
    Sqlite,
}

/// What one row of the result is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cell {
    pub workload: Workload,
    pub engine: Engine,
    /// Connections of clients.
    pub connections: usize,
    pub caller: Caller,
    /// How far away the database is.
    pub latency_ms: u64,
}

/// One run of the load.
pub struct Sample {
    pub outcome: Outcome,
    /// Microseconds a request.
    pub server_cpu: f64,
    pub postgres_cpu: Option<f64>,
    /// Connections to PostgreSQL that did more than a hundredth of its work.
    pub connections: Option<usize>,
    /// Resident memory of the daemon afterwards, in MiB.
    pub memory: f64,
}

pub struct Site<'a> {
    program: &'a Path,
    pub postgres: &'a Postgres,
    /// Of PostgreSQL.
    database: String,
    folder: PathBuf,
    secrets: Secrets,
    daemons: HashMap<(Engine, u64), Daemon>,
    scripts: HashMap<Workload, Script>,
    ports: HashMap<u64, u16>,
    /// How many tasks the database of PostgreSQL has, if nothing has changed them.
    seeded: Option<u64>,
    sqlite_copies: u32,
}

impl<'a> Site<'a> {
    /// Creates the database.
    pub fn new(
        program: &'a Path,
        postgres: &'a Postgres,
        database: &str,
        folder: &Path,
    ) -> Result<Self> {
        let site = Self {
            program,
            postgres,
            database: database.to_owned(),
            folder: folder.join(database),
            secrets: Secrets::new(),
            daemons: HashMap::new(),
            scripts: HashMap::new(),
            ports: HashMap::new(),
            seeded: None,
            sqlite_copies: 0,
        };
        postgres.create_database(database)?;
        let url = postgres.url(database, postgres.port);
        daemon::migrate(program, &site.folder, &url, &site.secrets)?;
        let users = FIRST_USER..FIRST_USER + USERS;
        let hashes: Vec<_> = users
            .map(|user| (user, site.secrets.session_hash(user)))
            .collect();
        postgres.add_sessions(database, &hashes)?;
        Ok(site)
    }

    pub fn measure(&mut self, cell: &Cell, pace: Pace, duration: Duration) -> Result<Sample> {
        let tasks = self.prepare(cell)?;
        let credentials = Credentials::new(cell.caller, &self.secrets, USERS);
        let stream = Stream::new(cell.workload, tasks, USERS, &credentials);
        let daemon = self.daemon(cell)?;
        let load = Load {
            address: daemon.address,
            clients: cell.connections,
            pace,
            duration,
        };
        let on_postgres = cell.engine == Engine::Postgres && cell.workload != Workload::Live;
        let cpu_before = daemon.cpu()?;
        let backends_before = on_postgres.then(|| self.postgres.cpu()).transpose()?;
        let outcome = load.run(&stream)?;
        let cpu = self.daemon(cell)?.cpu()?.saturating_sub(cpu_before);
        let backends = match backends_before {
            Some(before) => Some(self.backends(&before)?),
            None => None,
        };
        let memory = self.daemon(cell)?.memory()? as f64 / 1024.0;
        if outcome.answered == 0 {
            bail!("no request of {} was answered", cell.workload.name());
        }
        if cell.workload.writes() {
            self.changed(cell.engine);
        }
        let each = |time: Duration| time.as_secs_f64() * 1e6 / outcome.answered as f64;
        Ok(Sample {
            server_cpu: each(cpu),
            postgres_cpu: backends.map(|(cpu, _)| each(cpu)),
            connections: backends.map(|(_, connections)| connections),
            memory,
            outcome,
        })
    }

    /// Transactions a second of pgbench with the daemon's statement; `None` if there is none.
    pub fn pgbench(&mut self, cell: &Cell, duration: Duration) -> Result<Option<f64>> {
        if cell.engine != Engine::Postgres || cell.workload.pgbench().is_none() {
            return Ok(None);
        }
        let tasks = self.prepare(cell)?;
        if !self.scripts.contains_key(&cell.workload) {
            self.capture(cell.workload, tasks)?;
            self.prepare(cell)?;
        }
        let port = self.port(cell.latency_ms)?;
        let script = self.scripts.get(&cell.workload).context("captured above")?;
        let rate =
            self.postgres
                .pgbench(&self.database, port, script, cell.connections, duration)?;
        if cell.workload.writes() {
            self.changed(cell.engine);
        }
        Ok(Some(rate))
    }

    /// Asks PostgreSQL for the statement that one request causes.
    fn capture(&mut self, workload: Workload, tasks: u64) -> Result<()> {
        let cell = Cell {
            workload,
            engine: Engine::Postgres,
            connections: 1,
            caller: Caller::Service,
            latency_ms: 0,
        };
        let credentials = Credentials::new(cell.caller, &self.secrets, USERS);
        let stream = Stream::new(workload, tasks, USERS, &credentials);
        let load = Load {
            address: self.daemon(&cell)?.address,
            clients: 1,
            pace: Pace::Closed,
            duration: Duration::from_millis(20),
        };
        load.run(&stream)?;
        let statement = self.postgres.last_statement(&self.database)?;
        let script = Postgres::script(&self.folder, workload, &statement, tasks, USERS)?;
        self.scripts.insert(workload, script);
        if workload.writes() {
            self.changed(Engine::Postgres);
        }
        Ok(())
    }

    /// Provides a daemon and unchanged tasks, and returns how many there are.
    fn prepare(&mut self, cell: &Cell) -> Result<u64> {
        if cell.engine == Engine::Sqlite {
            self.prepare_sqlite(cell)?;
            return Ok(TASKS);
        }
        self.start_on_postgres(cell)?;
        let tasks = match cell.workload {
            Workload::Delete => TASKS_TO_DELETE,
            _ => TASKS,
        };
        if self.seeded != Some(tasks) {
            self.postgres.seed(&self.database, tasks, USERS)?;
            self.seeded = Some(tasks);
        }
        Ok(tasks)
    }

    fn start_on_postgres(&mut self, cell: &Cell) -> Result<()> {
        let key = (cell.engine, cell.latency_ms);
        if self.daemons.contains_key(&key) {
            return Ok(());
        }
        let port = self.port(cell.latency_ms)?;
        let url = self.postgres.url(&self.database, port);
        let folder = self.folder.join(format!("postgres-{}", cell.latency_ms));
        let daemon = Daemon::start(self.program, &folder, &url, &self.secrets)?;
        self.daemons.insert(key, daemon);
        // The daemon builds it after its start.
        let started = Instant::now();
        while !self.postgres.has_search_index(&self.database)? {
            if started.elapsed() > Duration::from_secs(30) {
                bail!("the daemon did not build the index for searches");
            }
            sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// The first time, a database gets its tasks. Each daemon has a copy of it, and the next one
    /// another copy if its tasks were changed.
    fn prepare_sqlite(&mut self, cell: &Cell) -> Result<()> {
        let key = (cell.engine, cell.latency_ms);
        if self.daemons.contains_key(&key) {
            return Ok(());
        }
        let template = self.folder.join("sqlite");
        let url = |folder: &Path| format!("sqlite://{}", folder.join("todo.db").display());
        if !template.exists() {
            let daemon = Daemon::start(self.program, &template, &url(&template), &self.secrets)?;
            let credentials = Credentials::new(Caller::Service, &self.secrets, USERS);
            let seed = Seed::new(TASKS, USERS, &credentials);
            let load = Load {
                address: daemon.address,
                clients: 1,
                pace: Pace::Closed,
                duration: Duration::from_secs(600),
            };
            load.run(&seed)?;
        }
        self.sqlite_copies += 1;
        let folder = self.folder.join(format!("sqlite-{}", self.sqlite_copies));
        fs::create_dir_all(&folder)?;
        fs::copy(template.join("todo.db"), folder.join("todo.db"))?;
        let daemon = Daemon::start(self.program, &folder, &url(&folder), &self.secrets)?;
        self.daemons.insert(key, daemon);
        Ok(())
    }

    fn changed(&mut self, engine: Engine) {
        match engine {
            Engine::Postgres => self.seeded = None,
            Engine::Sqlite => {
                self.daemons
                    .retain(|(engine, _), _| *engine != Engine::Sqlite);
                let folder = format!("sqlite-{}", self.sqlite_copies);
                let _ = fs::remove_dir_all(self.folder.join(folder));
            }
        }
    }

    fn daemon(&self, cell: &Cell) -> Result<&Daemon> {
        let daemon = self.daemons.get(&(cell.engine, cell.latency_ms));
        daemon.context("the daemon was not started")
    }

    /// The port of PostgreSQL, or of a proxy that delays.
    fn port(&mut self, latency_ms: u64) -> Result<u16> {
        if latency_ms == 0 {
            return Ok(self.postgres.port);
        }
        if let Some(port) = self.ports.get(&latency_ms) {
            return Ok(*port);
        }
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, self.postgres.port));
        let port = proxy::start(server, Duration::from_millis(latency_ms))?;
        self.ports.insert(latency_ms, port);
        Ok(port)
    }

    /// The CPU time of PostgreSQL since `before`, and how many of the daemon's connections
    /// did its work.
    fn backends(&self, before: &BTreeMap<u32, Duration>) -> Result<(Duration, usize)> {
        let used: Vec<_> = self
            .postgres
            .cpu()?
            .into_iter()
            .map(|(id, cpu)| {
                let earlier = before.get(&id).copied().unwrap_or_default();
                (id, cpu.saturating_sub(earlier))
            })
            .collect();
        let total: Duration = used.iter().map(|(_, cpu)| *cpu).sum();
        let query = format!(
            "SELECT pid FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()",
            self.database
        );
        let rows = self.postgres.sql("postgres", &[&query])?;
        let connections: Vec<u32> = rows.lines().filter_map(|line| line.parse().ok()).collect();
        let active = used
            .iter()
            .filter(|(id, cpu)| connections.contains(id) && *cpu * 100 > total)
            .count();
        Ok((total, active))
    }
}
