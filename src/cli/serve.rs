//! `todoctl serve`: migrates the database, then serves the API.

use std::fs::File;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use backon::{ExponentialBuilder, Retryable as _};

use crate::api::{ApiContext, Server};
use crate::clock::Clock;
use crate::config::{
    Audit, Config, DatabaseConfig, DatabaseTarget, Environment, Origin, PoolerMode, SecretName,
    Source, Warning, generated_secret_path, shell_word,
};
use crate::jobs::Jobs;
use crate::services::daemon::local_address_of;
use crate::services::mail::Mailer;
use crate::services::run_record::{RunRecord, leave_failed_start};
use crate::store::inspect::Guarded;
use crate::store::migrate::{self, LockWait, MigrateError, Up};
use crate::store::{
    ConnectError, ConnectFault, Store, compare_urls, has_no_tables, open_postgres_within,
};
use crate::telemetry::Logging;

use super::context::{Context, start_logging};
use super::new_secrets::{NewSecrets, refuse_absent};
use super::output;
use super::signals::{DaemonSignals, HANGUP};
use continuity::Continuity;

mod already;
mod continuity;

/// How long to wait for a suspended or starting database.
const WAKE_BUDGET: Duration = Duration::from_secs(30);

/// It creates the tables.
const FIRST_MIGRATION: i64 = 1;

/// How long the server may take to say whether it hides rows.
const HIDDEN_ROWS_LIMIT: Duration = Duration::from_secs(2);

/// How long jobs may run on after the last request was answered, and the database may take to
/// close. Jobs receive the stop signal together with the server. What another process keeps from
/// closing needs nothing but the next start.
const END_GRACE: Duration = Duration::from_secs(1);

pub(super) const EXAMPLES: &str = "\
Variables are read from the environment and from ./.env; .env.example lists them.
On SIGTERM, SIGINT or SIGHUP it answers every request that has reached it,
then exits: with code 1 if SHUTDOWN_GRACE_SECONDS was too short for one.
It ignores SIGUSR1 and SIGUSR2, and SIGHUP under nohup.

Examples:
  todoctl serve
  PORT=9000 LOG_LEVEL=debug todoctl serve
  todoctl serve --allow-newer          (after rolling back to this version)";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Serve a database whose schema is newer than this todoctl, without migrating it.
    #[arg(long)]
    allow_newer: bool,
}

/// Serves until SIGTERM, SIGINT or SIGHUP. A start that fails leaves the reason for doctor.
pub(super) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let outcome = run_daemon(options, context);
    if let Err(error) = &outcome {
        let source = context.source();
        if let Some(target) = Audit::of(source).target() {
            let text = output::error_text(error, source);
            leave_failed_start(target, &text, context.clock().now());
        }
    }
    outcome
}

fn run_daemon(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    // The first of the threads that serve connections; the server starts the others.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    context.refuse_missing_service()?;
    runtime.block_on(refuse_absent(context, &SecretName::ALL))?;
    let new_secrets = runtime.block_on(NewSecrets::expect(context))?;
    let loaded = context.config()?;
    let config = loaded.value;
    let log = start_logging(&config.telemetry)?;
    log_warnings(&loaded.warnings);
    new_secrets.warn();
    let _open = open_secrets(&config.database.target);
    let code = runtime.block_on(serve(&config, context, options.allow_newer, &log))?;
    // Do not wait for a statement that hangs in the database.
    runtime.shutdown_timeout(Duration::from_millis(100));
    Ok(code)
}

/// The files of generated secrets, open while the daemon runs: if somebody deletes them, they can be
/// copied from there (`proc_pid_fd(5)`) before the next start generates others.
fn open_secrets(target: &DatabaseTarget) -> Vec<File> {
    let DatabaseTarget::Sqlite(file) = target else {
        return Vec::new();
    };
    let paths = SecretName::ALL.map(|name| generated_secret_path(file, name.as_str()));
    let open = paths.iter().map(File::open);
    open.filter_map(Result::ok).collect()
}

async fn serve(
    config: &Config,
    cli: &Context,
    allow_newer: bool,
    log: &Logging,
) -> anyhow::Result<ExitCode> {
    let clock = cli.clock();
    // First of all, so that a signal during the start is not lost.
    let signals = DaemonSignals::listen()?;
    let mut stop = std::pin::pin!(async {
        let signal = signals.stop().await;
        tracing::info!("{signal} received; finishing requests in progress");
        signal
    });
    let continuity = Continuity::new(cli.source(), config);
    continuity.refuse_without_log().await?;
    continuity.refuse_other_log().await?;
    let (store, is_new) = tokio::select! {
        opened = open_store(&config.database, &clock, allow_newer, &continuity) => opened?,
        _ = &mut stop => {
            tracing::info!("stopped while waiting for the database");
            return Ok(ExitCode::SUCCESS);
        }
    };
    continuity.begin(&store, is_new).await;
    let context = ApiContext::new(config, store.clone(), clock.clone())
        .context("cannot set up the daemon")?;
    if !config.database.auto_migrate {
        report_pending_migrations(&context).await;
    }
    let hidden = warn_of_hidden_rows(&config.database.target);
    // Without an answer, the daemon starts all the same.
    let _ = tokio::time::timeout(HIDDEN_ROWS_LIMIT, hidden).await;
    let metrics = context.metrics.jobs.clone();
    let clients = context.metrics.clients.clone();
    let server = Server::bind(config, context)
        .map_err(|error| already::explained(error, &config.database.target))?;
    let address = server.address()?;
    tracing::info!(%address, version = crate::VERSION, "listening");
    // Without a terminal stderr is a log, and this is no log line.
    if config.environment == Environment::Development && std::io::stderr().is_terminal() {
        log.print(first_steps(config, cli.source(), address));
    }
    let record = RunRecord::begin(&config.database.target, address, clock.now());
    let mailer = Mailer::new(&config.services)?;
    let jobs = Jobs::start(store.clone(), clock.clone(), mailer, metrics);
    let stop_jobs = jobs.stopper();
    let mut signal = "";
    let count_created = || clients.created(clock.now());
    let run = server.run(async {
        signal = stop.await;
        stop_jobs();
    });
    let drained = tokio::select! {
        drained = run => drained,
        never = continuity.follow(&store, count_created) => match never {},
    };
    let end = tokio::time::Instant::now() + END_GRACE;
    jobs.stop(END_GRACE).await;
    if clients.has_clients() {
        continuity.had_clients_at(address);
    }
    continuity.end(&store, count_created).await;
    store.keep_deleted_file().await;
    if tokio::time::timeout_at(end, store.close()).await.is_err() {
        tracing::warn!("the database was not closed in time; the next start does not need that");
    }
    match record {
        Some(record) if signal == HANGUP => record.leave_after_hangup(),
        record => drop(record),
    }
    if drained {
        tracing::info!("stopped");
        Ok(ExitCode::SUCCESS)
    } else {
        tracing::warn!(
            "stopped with requests unanswered; SHUTDOWN_GRACE_SECONDS was too short for them"
        );
        Ok(ExitCode::FAILURE)
    }
}

/// Reports pending migrations to log and metrics. If the database does not answer, the
/// health probes report that.
async fn report_pending_migrations(context: &ApiContext) {
    let pending = context.store.migrations_pending().await.unwrap_or(false);
    context.metrics.migrations_pending.set(i64::from(pending));
    if pending {
        tracing::warn!("migrations are pending: todoctl migrate up");
    }
}

/// Row-level security makes lists empty without any error. Where the server cannot be asked,
/// requests fail and say why.
async fn warn_of_hidden_rows(target: &DatabaseTarget) {
    let DatabaseTarget::Postgres(server) = target else {
        return;
    };
    let Ok(mut session) = open_postgres_within(server, HIDDEN_ROWS_LIMIT).await else {
        return;
    };
    for table in Guarded::ask(&mut session, None).await.unwrap_or_default() {
        if !table.closed.is_empty() || !table.limited.is_empty() {
            tracing::warn!(
                table = table.name,
                "row-level security hides rows of this table from the daemon's role; todoctl doctor --only database.row_security says how to open it"
            );
        }
    }
}

/// Migrates the database and connects to it. The second value tells whether its tables are new.
async fn open_store(
    config: &DatabaseConfig,
    clock: &Clock,
    allow_newer: bool,
    continuity: &Continuity,
) -> anyhow::Result<(Store, bool)> {
    let mut is_new = false;
    if config.auto_migrate {
        wake(|| compare_urls(config), ConnectError::is_transient).await?;
        let has_no_tables =
            async || wake(|| has_no_tables(&config.direct), ConnectError::is_transient).await;
        continuity.refuse_emptied(has_no_tables).await?;
        let up = Up {
            to: None,
            allow_newer,
        };
        let wait = LockWait::default();
        let migrate = || migrate::up_with(&config.direct, clock, up, wait);
        let applied = wake(migrate, MigrateError::is_transient).await?;
        for migration in applied.migrations {
            is_new |= migration.version == FIRST_MIGRATION;
            tracing::info!(
                version = migration.version,
                name = migration.description,
                "applied migration"
            );
        }
        if let Some(newer) = applied.newer {
            tracing::warn!(
                database = newer.database,
                program = newer.program,
                "the schema is newer than this todoctl; serving without migrating"
            );
        }
    }
    let mut config = config.clone();
    if config.auto_migrate && config.pooler == PoolerMode::Detect && config.has_one_address() {
        // Otherwise the migrations would have failed.
        config.pooler = PoolerMode::None;
    }
    let connect = || Store::connect(&config, clock.clone());
    let store = wake(connect, ConnectError::is_transient).await?;
    if !config.auto_migrate {
        refuse_other_database(&config).await?;
    }
    Ok((store, is_new))
}

/// Fails where `migrate up` would migrate another database than the one that is served. Serving
/// does not need the direct address itself.
async fn refuse_other_database(config: &DatabaseConfig) -> Result<(), ConnectError> {
    match compare_urls(config).await {
        Err(error) if error.fault != ConnectFault::OtherDatabase => {
            tracing::warn!(
                %error,
                "DATABASE_URL_UNPOOLED cannot be used; migrations need it"
            );
            Ok(())
        }
        compared => compared,
    }
}

/// Retries a database that is not ready, with growing pauses and within [`WAKE_BUDGET`].
async fn wake<T, E, W>(
    attempt: impl FnMut() -> W,
    is_transient: impl FnMut(&E) -> bool,
) -> Result<T, E>
where
    W: Future<Output = Result<T, E>>,
    E: std::error::Error,
{
    let deadline = Instant::now() + WAKE_BUDGET;
    let left = || deadline.saturating_duration_since(Instant::now());
    let pauses = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(250))
        .with_max_delay(Duration::from_secs(4))
        .without_max_times();
    attempt
        .retry(pauses)
        .when(is_transient)
        .adjust(|_, pause| pause.filter(|pause| *pause <= left()))
        .notify(|error, pause| {
            tracing::warn!(
                %error,
                "the database is not ready; retrying in {} ms, giving up in {} s",
                pause.as_millis(),
                left().as_secs()
            );
        })
        .await
}

fn log_warnings(warnings: &[Warning]) {
    for warning in warnings {
        tracing::warn!(variable = warning.variable, "{warning}");
    }
}

/// Where the daemon is, and a command that creates a task. No secret is printed. It takes the
/// way of the log lines: in their order, and whatever becomes of stderr.
fn first_steps(config: &Config, source: &Source, address: SocketAddr) -> String {
    let base = local_address_of(address);
    let data = config.database.target.redacted();
    let token = match &config.database.target {
        DatabaseTarget::Sqlite(file) => {
            let secret = generated_secret_path(file, SecretName::ServiceAuthToken.as_str());
            secret
                .exists()
                .then(|| format!("$(cat {})", shell_word(&secret)))
        }
        DatabaseTarget::Postgres(_) => None,
    };
    let token = token.unwrap_or_else(|| configured_token(source));
    format!(
        r#"
  todoctl {} is ready
  data   {data}
  docs   {base}/docs
  Create a task, from this directory:

curl -sS {base}/tasks/ \
  -H "Authorization: Bearer {token}" -H 'X-User-ID: me' \
  -H 'Content-Type: application/json' -d '{{"title": "Pay rent"}}'

"#,
        env!("CARGO_PKG_VERSION"),
    )
}

/// The shell's expression for the configured service token.
fn configured_token(source: &Source) -> String {
    let value_of = |name: &str| match (source.origin(name), source.file()) {
        (Some(Origin::File), Some(file)) => {
            Some(format!("$(sed -n 's/^{name}=//p' {})", shell_word(file)))
        }
        (Some(_), _) => Some(format!("${name}")),
        (None, _) => None,
    };
    value_of("SERVICE_AUTH_TOKEN")
        .or_else(|| {
            Some(format!(
                "$(cat \"{}\")",
                value_of("SERVICE_AUTH_TOKEN_FILE")?
            ))
        })
        .unwrap_or_else(|| "$SERVICE_AUTH_TOKEN".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_read_from_where_it_is_configured() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("my env");
        let from_file = |text: &str| {
            std::fs::write(&file, text).unwrap();
            configured_token(&Source::load(Some(&file)).unwrap())
        };
        let quoted = format!("'{}'", file.display());
        assert_eq!(
            from_file("SERVICE_AUTH_TOKEN=abc"),
            format!("$(sed -n 's/^SERVICE_AUTH_TOKEN=//p' {quoted})")
        );
        assert_eq!(
            from_file("SERVICE_AUTH_TOKEN_FILE=/run/token"),
            format!("$(cat \"$(sed -n 's/^SERVICE_AUTH_TOKEN_FILE=//p' {quoted})\")")
        );
        let from_environment = Source::from_values([("SERVICE_AUTH_TOKEN", "abc")]);
        assert_eq!(configured_token(&from_environment), "$SERVICE_AUTH_TOKEN");
    }
}
