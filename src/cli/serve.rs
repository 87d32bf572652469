//! `todoctl serve`: migrate, then listen.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::api::{ApiContext, Server};
use crate::clock::Clock;
use crate::config::{Config, DatabaseConfig, DatabaseTarget, Environment, Warning};
use crate::jobs::Jobs;
use crate::services::mail::Mailer;
use crate::store::migrate::{self, LockWait, MigrateError, Up};
use crate::store::{ConnectError, Store};
use crate::telemetry;

use super::context::Context;
use super::hint::Hint;
use super::output;

/// How long a database may take to wake up.
const WAKE_BUDGET: Duration = Duration::from_secs(30);

/// How long a job may take to end what it was at when the last request was answered; both
/// were told to end together.
const JOB_GRACE: Duration = Duration::from_secs(1);

pub(super) const EXAMPLES: &str = "\
Settings come from the environment and from ./.env; .env.example lists them.
SIGTERM and SIGINT stop it once the requests under way are answered.

Examples:
  todoctl serve
  PORT=9000 LOG_LEVEL=debug todoctl serve
  todoctl serve --allow-newer          an older program, after a rollback";

/// Options of `todoctl serve`; everything else is configured by the environment.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Serve a database that a newer todoctl migrated, without migrating, rather than refuse it.
    #[arg(long)]
    pub allow_newer: bool,
}

/// Serves until SIGTERM or SIGINT. Exits with 0 when every accepted request was answered.
pub fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let loaded = context.config()?;
    let config = loaded.value;
    telemetry::start_logging(&config.telemetry)
        .map_err(|error| Hint::of(error, "LOG_LEVEL is no log filter", "LOG_LEVEL=info"))?;
    log_warnings(&loaded.warnings);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.http.workers)
        .enable_all()
        .build()
        .map_err(|error| Hint::of(error, "cannot start the worker threads", "WORKERS=1"))?;
    let code = runtime.block_on(serve(&config, context.clock(), options.allow_newer))?;
    // A statement that hangs in the database must not hold the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    Ok(code)
}

async fn serve(config: &Config, clock: Clock, allow_newer: bool) -> anyhow::Result<ExitCode> {
    // Before anything else, so that a signal during the start is not lost.
    let stop = stop_signal()?;
    let mut stop = std::pin::pin!(stop);
    let store = tokio::select! {
        store = open_store(&config.database, &clock, allow_newer) => store?,
        () = &mut stop => {
            tracing::info!("stopped before the database answered");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let context = ApiContext::new(config, store.clone(), clock.clone())
        .context("cannot set up the daemon")?;
    if !config.database.auto_migrate {
        note_pending_migrations(&context).await;
    }
    let metrics = context.metrics.jobs.clone();
    let server = Server::bind(config, context)?;
    let address = server.address()?;
    tracing::info!(%address, version = crate::VERSION, "listening");
    if config.environment == Environment::Development {
        greet(config, address);
    }
    let mailer = Mailer::new(&config.services)?;
    let jobs = Jobs::start(store.clone(), clock, mailer, metrics);
    let stop_jobs = jobs.stopper();
    let drained = server
        .run(async {
            stop.await;
            stop_jobs();
        })
        .await;
    jobs.stop(JOB_GRACE).await;
    store.close().await;
    if drained {
        tracing::info!("stopped");
    } else {
        tracing::warn!(
            "stopped before every request was answered: SHUTDOWN_GRACE_SECONDS was too short"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells log and metrics about migrations that somebody else is to apply. A database that
/// does not answer now is what the probes are for.
async fn note_pending_migrations(context: &ApiContext) {
    let pending = context.store.migrations_pending().await.unwrap_or(false);
    context.metrics.migrations_pending.set(i64::from(pending));
    if pending {
        tracing::warn!("migrations are pending: todoctl migrate up");
    }
}

/// Ready when SIGTERM or SIGINT arrives.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: finishing what runs"),
            _ = interrupt.recv() => tracing::info!("SIGINT: finishing what runs"),
        }
    })
}

/// Opens the database, once it is awake, and migrates it.
async fn open_store(
    config: &DatabaseConfig,
    clock: &Clock,
    allow_newer: bool,
) -> anyhow::Result<Store> {
    if config.auto_migrate {
        let up = Up {
            to: None,
            allow_newer,
        };
        let wait = LockWait::default();
        let applied = wake(|| migrate::up_with(&config.direct, clock, up, wait)).await?;
        for migration in applied.migrations {
            tracing::info!(
                version = migration.version,
                name = migration.description,
                "migrated"
            );
        }
        if let Some(newer) = applied.newer {
            tracing::warn!(
                database = newer.database,
                program = newer.program,
                "a newer todoctl migrated the database; going on without migrating"
            );
        }
    }
    Ok(wake(|| Store::connect(config, clock.clone())).await?)
}

/// An error that may go away when the database has woken up.
trait Transient {
    fn waking(&self) -> Option<&ConnectError>;
}

impl Transient for ConnectError {
    fn waking(&self) -> Option<&ConnectError> {
        self.is_transient().then_some(self)
    }
}

impl Transient for MigrateError {
    fn waking(&self) -> Option<&ConnectError> {
        match self {
            Self::Connect(error) => error.waking(),
            _ => None,
        }
    }
}

/// Tries until the budget is spent, each time a little later, and logs each try.
async fn wake<T, E, W>(mut attempt: impl FnMut() -> W) -> Result<T, E>
where
    W: Future<Output = Result<T, E>>,
    E: Transient,
{
    let deadline = Instant::now() + WAKE_BUDGET;
    let mut pause = Duration::from_millis(250);
    let mut tries = 1;
    loop {
        let error = match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let Some(reason) = error.waking() else {
            return Err(error);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left < pause {
            return Err(error);
        }
        tracing::warn!(
            tries,
            error = %reason,
            "the database is not ready; next try in {} ms, giving up in {} s",
            pause.as_millis(),
            left.as_secs()
        );
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(4));
        tries += 1;
    }
}

fn log_warnings(warnings: &[Warning]) {
    for warning in warnings {
        tracing::warn!(variable = warning.variable, "{}", warning.message);
    }
}

/// Tells a newcomer what to do next. No secret is printed.
fn greet(config: &Config, address: std::net::SocketAddr) {
    let base = reachable(address);
    let data = config.database.target.redacted();
    let mut lines = vec![
        String::new(),
        format!("  todoctl {} is ready", env!("CARGO_PKG_VERSION")),
        format!("  data   {data}"),
        format!("  docs   {base}/docs"),
    ];
    let token = match &config.database.target {
        DatabaseTarget::Sqlite(file) => {
            let secret = crate::config::generated_secret_path(file, "SERVICE_AUTH_TOKEN");
            secret
                .exists()
                .then(|| format!("$(cat {})", shell_quoted(&secret)))
        }
        DatabaseTarget::Postgres(_) => None,
    };
    let token = token.unwrap_or_else(|| "$SERVICE_AUTH_TOKEN".to_owned());
    lines.extend([
        "  Create a task, from this directory:".to_owned(),
        String::new(),
        format!("curl -sS {base}/tasks/ \\"),
        format!("  -H \"Authorization: Bearer {token}\" -H 'X-User-ID: me' \\"),
        "  -H 'Content-Type: application/json' -d '{\"title\": \"Pay rent\"}'".to_owned(),
        String::new(),
    ]);
    output::note(&lines.join("\n"));
}

/// A listener on every address is reached through loopback.
fn reachable(address: std::net::SocketAddr) -> String {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("http://{address}")
}

/// A path that a shell reads as one word, also inside `$(…)` within double quotes.
fn shell_quoted(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    if text.bytes().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
