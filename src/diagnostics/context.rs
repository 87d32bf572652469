//! What the checks of one run share: the configuration, parsed once, and answers that several
//! checks use.

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::clock::Clock;
use crate::config::{
    Audit, ConfigError, DatabaseConfig, DatabaseTarget, PostgresTarget, Section, Source,
    SqliteTarget,
};
use crate::services::run_record::{LastRun, Run, last_run};
use crate::store::ConnectError;
use crate::store::inspect::Relations;
use crate::store::migrate::drift::Drift;

use super::observed::Daemon;
use super::probe::{self, Address, FileConnection, FileFacts, ServerConnection, Stuck};
use super::session::Session;

/// The parameters of a run.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) source: Source,
    /// What is wrong with the `.env` file.
    pub(crate) broken: Option<ConfigError>,
    pub(crate) clock: Clock,
    /// How many daemons share the database server.
    pub(crate) replicas: usize,
    /// Whether a missing SQLite file is a failure. Before the first start of a daemon, which
    /// creates the file, it is not.
    pub(crate) file_must_exist: bool,
    /// Whether remedies that change the database are tried before they are reported.
    pub(crate) tries_remedies: bool,
}

/// A request, and what its checks share.
pub(crate) struct Context {
    pub(super) request: Request,
    pub(super) audit: Audit,
    pub(super) server: Session<ServerConnection>,
    pub(super) file: Session<FileConnection>,
    address: OnceCell<Result<Address, ConnectError>>,
    stuck: OnceCell<Option<Stuck>>,
    facts: OnceLock<io::Result<FileFacts>>,
    daemon: OnceCell<Daemon>,
    /// What the names of the tables lead to on a server.
    pub(super) relations: OnceCell<Relations>,
    /// How a server's schema differs from the migrations.
    pub(super) drift: OnceCell<Drift>,
    turn: Mutex<()>,
}

impl Context {
    pub(crate) fn new(request: Request) -> Self {
        Self {
            audit: Audit::of(&request.source),
            request,
            server: Session::new(),
            file: Session::new(),
            address: OnceCell::new(),
            stuck: OnceCell::new(),
            facts: OnceLock::new(),
            daemon: OnceCell::new(),
            relations: OnceCell::new(),
            drift: OnceCell::new(),
            turn: Mutex::new(()),
        }
    }

    /// For questions to a server in a transaction that `connection` has begun.
    pub(super) fn on_server(request: Request, connection: ServerConnection) -> Self {
        Self {
            server: Session::holding(connection),
            ..Self::new(request)
        }
    }

    /// The same for a file.
    pub(super) fn on_file(request: Request, connection: FileConnection) -> Self {
        Self {
            file: Session::holding(connection),
            ..Self::new(request)
        }
    }

    /// The database, unless something is wrong with its variables.
    pub(super) fn database(&self) -> Option<&DatabaseConfig> {
        let is_sound = self.audit.problems_of(Section::Database).next().is_none();
        self.audit.database.as_ref().filter(|_| is_sound)
    }

    pub(super) fn target(&self) -> Option<&DatabaseTarget> {
        self.database().map(|config| &config.target)
    }

    /// The server's address, resolved once.
    pub(super) async fn address(
        &self,
        server: &PostgresTarget,
        limit: Duration,
    ) -> &Result<Address, ConnectError> {
        self.address
            .get_or_init(|| probe::resolve(server, limit))
            .await
    }

    /// Whether a server is on this machine, as far as its address was resolved.
    pub(super) fn is_here(&self, server: &PostgresTarget) -> bool {
        let is_target = |target: &DatabaseTarget| matches!(target, DatabaseTarget::Postgres(own) if own.host == server.host);
        let resolved = || self.address.get().and_then(|found| found.as_ref().ok());
        server.is_loopback()
            || self.target().is_some_and(is_target) && resolved().is_some_and(Address::is_loopback)
    }

    /// Tries the file system of a SQLite file, once.
    pub(super) async fn try_disk(&self) {
        if let Some(DatabaseTarget::Sqlite(file)) = self.target() {
            self.stuck.get_or_init(|| Stuck::of(&file.path)).await;
        }
    }

    /// Whether everybody who uses the file system of the SQLite file waits for it.
    pub(super) fn stuck(&self) -> Option<&Stuck> {
        self.stuck.get()?.as_ref()
    }

    /// The attributes of the database file, read once.
    pub(super) fn facts(&self, file: &SqliteTarget) -> &io::Result<FileFacts> {
        self.facts.get_or_init(|| FileFacts::of(file))
    }

    /// The daemon at HOST and PORT, queried once; without a PORT, where the one of this database
    /// listens.
    pub(super) async fn daemon(&self, limit: Duration) -> &Daemon {
        let observe = async || {
            let mut http = self.audit.http.clone();
            if let Some(run) = self.elsewhere() {
                (http.host, http.port) = (run.address.ip(), run.address.port());
            }
            Daemon::observe(&http, &self.audit.telemetry, limit).await
        };
        self.daemon.get_or_init(observe).await
    }

    /// The daemon of this database that listens at another address than the default one, where no
    /// PORT is set, as in a `.env` file that was emptied.
    pub(super) fn elsewhere(&self) -> Option<Run> {
        let is_set = self.request.source.get("PORT").is_some();
        let target = self.target().filter(|_| !is_set)?;
        match last_run(target) {
            Some(LastRun::Running(run)) if run.address.port() != self.audit.http.port => Some(run),
            _ => None,
        }
    }

    /// Waits until no other check uses the shared connection.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    pub(super) async fn close(&self) {
        self.server.close().await;
        self.file.close().await;
    }
}
