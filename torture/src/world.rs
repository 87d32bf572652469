//! A database, its daemons, and what is between them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use fastrand::Rng;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::daemon::{CONNECTIONS, Daemon, Usage};
use crate::database::Database;
use crate::metrics::metrics_of;
use crate::peers::Peers;
use crate::postgres::Server;
use crate::preload::{Libraries, Preloaded};
use crate::proxy::Proxy;
use crate::small_disk::SmallDisk;
use crate::support::pgbouncer::PgBouncer;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// What a lane has only one of.
#[derive(Debug)]
pub struct Stage {
    pub engine: Engine,
    pub program: PathBuf,
    pub server: Option<Arc<Server>>,
    /// Where SQLite files are.
    pub disk: Option<SmallDisk>,
    pub libraries: Libraries,
}

/// Daemons on one database.
#[derive(Debug)]
pub struct World {
    pub engine: Engine,
    pub database: Database,
    pub daemons: Vec<Mutex<Daemon>>,
    pub ports: Vec<u16>,
    /// One for each daemon on PostgreSQL.
    pub proxies: Vec<Proxy>,
    pub bouncer: Option<Mutex<PgBouncer>>,
    pub server: Option<Arc<Server>>,
    pub is_on_small_disk: bool,
    pub peers: Peers,
    /// Of each daemon.
    pub preloaded: Vec<Preloaded>,
    /// What the daemons used after their first requests.
    usage: Vec<Usage>,
    /// The daemons' settings; the SQLite database.
    directory: tempfile::TempDir,
    /// What the harness writes, where no disk is full.
    files: tempfile::TempDir,
}

const ACCOUNTS: &str = "CREATE TABLE \"user\" (id text PRIMARY KEY, email text)";
const REFRESH_TOKENS: &str = "CREATE TABLE user_sessions (
    id text PRIMARY KEY, \"userId\" text NOT NULL, token text NOT NULL UNIQUE,
    \"expiresAt\" timestamp(3) NOT NULL, \"ipAddress\" text, \"userAgent\" text,
    \"createdAt\" timestamp(3) NOT NULL, \"updatedAt\" timestamp(3) NOT NULL)";

/// Growth that is no leak: connections of clients, and memory that the allocator keeps.
const MORE: Usage = Usage {
    files: 40,
    threads: 24,
    memory_kib: 160 * 1024,
};

impl Stage {
    pub async fn build(
        engine: Engine,
        program: &Path,
        libraries: &Libraries,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            engine,
            program: program.to_owned(),
            server: match engine {
                Engine::Postgres => Some(Arc::new(Server::start().await?)),
                Engine::Sqlite => None,
            },
            disk: match engine {
                Engine::Sqlite => SmallDisk::mount()
                    .inspect_err(|error| {
                        eprintln!(
                            "torture: WITHOUT full disks, for which root is needed: {error:#}"
                        );
                    })
                    .ok(),
                Engine::Postgres => None,
            },
            libraries: libraries.clone(),
        })
    }

    /// Builds a world; how many daemons, and whether behind a pooler, follows from `rng`.
    pub async fn world(&self, name: &str, rng: &mut Rng) -> anyhow::Result<World> {
        let mut directory = tempfile::Builder::new();
        directory.prefix("todoctl-torture-");
        let directory = match &self.disk {
            Some(disk) => directory.tempdir_in(disk.path())?,
            None => directory.tempdir()?,
        };
        let mut world = World {
            engine: self.engine,
            database: Database::Sqlite(directory.path().join("todo.db")),
            daemons: Vec::new(),
            ports: Vec::new(),
            proxies: Vec::new(),
            bouncer: None,
            server: self.server.clone(),
            is_on_small_disk: self.disk.is_some(),
            peers: Peers::start(rng).await,
            preloaded: Vec::new(),
            usage: Vec::new(),
            directory,
            files: tempfile::Builder::new()
                .prefix("todoctl-torture-")
                .tempdir()?,
        };
        match &self.server {
            Some(server) => self.on_server(&mut world, server, name, rng).await?,
            None => {
                let url = format!(
                    "sqlite://{}",
                    world.directory.path().join("todo.db").display()
                );
                let settings = vec![("DATABASE_URL", url)];
                world.add(self, settings, rng).await?;
            }
        }
        // The first one migrates.
        for daemon in &world.daemons {
            let mut daemon = daemon.lock().await;
            daemon.start()?;
            daemon.until_ready().await?;
        }
        // The auth server's, which have the users' addresses and refresh tokens.
        for table in [ACCOUNTS, REFRESH_TOKENS] {
            world.database.execute(table).await?;
        }
        Ok(world)
    }

    async fn on_server(
        &self,
        world: &mut World,
        server: &Arc<Server>,
        name: &str,
        rng: &mut Rng,
    ) -> anyhow::Result<()> {
        server
            .execute("postgres", &format!("CREATE DATABASE {name}"))
            .await?;
        world.database = Database::Postgres {
            server: Arc::clone(server),
            name: name.to_owned(),
        };
        let direct = server.url_of(name);
        let mut target = server.address()?;
        let is_pooled = rng.u8(..4) == 0;
        if is_pooled {
            let bouncer = PgBouncer::start_with(direct.as_str(), "transaction", CONNECTIONS);
            let port = url::Url::parse(&bouncer.url)?.port().context("no port")?;
            target.set_port(port);
            world.bouncer = Some(Mutex::new(bouncer));
        }
        for _ in 0..rng.usize(1..=3) {
            let proxy = Proxy::to(target).await?;
            let url = server.url_at(name, proxy.port)?;
            world.proxies.push(proxy);
            let mut settings = vec![("DATABASE_URL", url.to_string())];
            if is_pooled {
                settings.push(("DATABASE_URL_UNPOOLED", direct.to_string()));
            }
            world.add(self, settings, rng).await?;
        }
        Ok(())
    }
}

impl World {
    async fn add(
        &mut self,
        stage: &Stage,
        mut settings: Vec<(&'static str, String)>,
        rng: &mut Rng,
    ) -> anyhow::Result<()> {
        settings.extend(self.peers.settings().await);
        let is_file = matches!(self.engine, Engine::Sqlite);
        self.preloaded.push(Preloaded::add(
            &stage.libraries,
            &mut settings,
            self.files.path(),
            self.daemons.len(),
            // Both cost time, so they are not in every world.
            (is_file && rng.bool()).then(|| self.directory.path()),
            rng.u8(..3) == 0,
        )?);
        let daemon = Daemon::new(&stage.program, self.directory.path(), settings);
        self.ports.push(daemon.port);
        self.daemons.push(Mutex::new(daemon));
        Ok(())
    }

    pub fn is_pooled(&self) -> bool {
        self.bouncer.is_some()
    }

    /// Undoes what a fault may have left behind.
    pub async fn heal(&self) -> anyhow::Result<()> {
        for proxy in &self.proxies {
            proxy.heal();
        }
        if let Some(server) = &self.server {
            server.ensure_running().await?;
        }
        for daemon in &self.daemons {
            let mut daemon = daemon.lock().await;
            daemon.stall_log(false);
            daemon.ensure_running()?;
        }
        Ok(())
    }

    /// Waits until no request is in work, nor a statement on the server.
    pub async fn until_idle(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let mut busy = Vec::new();
            for &port in &self.ports {
                let in_flight = in_flight(port).await;
                if in_flight != Some(1) {
                    busy.push(format!("{in_flight:?} requests in work"));
                }
            }
            let (_, working) = self.database.sessions().await?;
            if working > 0 {
                busy.push(format!("{working} sessions in work"));
            }
            if busy.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "not idle: {}", busy.join(", "));
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The most sessions that the daemons may have, with a few for jobs and migrations.
    pub fn most_sessions(&self) -> i64 {
        i64::try_from(self.daemons.len() * (CONNECTIONS + 2)).unwrap_or(i64::MAX)
    }

    /// Remembers what the daemons use.
    pub async fn measure(&mut self) -> anyhow::Result<()> {
        self.usage.clear();
        for daemon in &self.daemons {
            self.usage.push(daemon.lock().await.usage()?);
        }
        Ok(())
    }

    /// Waits until the daemons use about what they did when [`World::measure`] was called; what
    /// they use too much of, if they do not.
    pub async fn leaks(&self) -> anyhow::Result<Vec<String>> {
        // Threads for blocking work end after 10 s without any.
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            let mut leaks = Vec::new();
            for (daemon, before) in self.daemons.iter().zip(&self.usage) {
                let now = daemon.lock().await.usage()?;
                let is_more = now.files > before.files + MORE.files
                    || now.threads > before.threads + MORE.threads
                    || now.memory_kib > before.memory_kib + MORE.memory_kib;
                if is_more {
                    leaks.push(format!("a daemon uses {now:?}, and used {before:?}"));
                }
            }
            let (sessions, _) = self.database.sessions().await?;
            if sessions > self.most_sessions() {
                leaks.push(format!(
                    "{sessions} sessions on the server, of {}",
                    self.most_sessions()
                ));
            }
            if leaks.is_empty() || Instant::now() > deadline {
                return Ok(leaks);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends the daemons and the database.
    pub async fn end(self) -> anyhow::Result<()> {
        for daemon in &self.daemons {
            daemon.lock().await.kill().await;
        }
        drop(self.bouncer);
        if let Database::Postgres { server, name } = &self.database {
            let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            server.execute("postgres", &statement).await?;
        }
        Ok(())
    }
}

/// Requests in work, the question itself included.
async fn in_flight(port: u16) -> Option<u64> {
    metrics_of(port)
        .await?
        .lines()
        .find_map(|line| line.strip_prefix("http_requests_in_flight "))?
        .parse()
        .ok()
}
