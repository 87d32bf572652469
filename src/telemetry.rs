//! Logs and metrics.

use std::io::{self, IsTerminal};
use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::ChronoUtc;

use crate::clock::Clock;
use crate::config::{LogFormat, TelemetryConfig};
use crate::domain::Timestamp;
use crate::store::Store;

mod clients;
mod jobs;
mod json_lines;
mod log_writer;
mod missing_tasks;
mod pages;
mod recent;
mod refusals;

pub use clients::{REFRESH, RecentClients};
pub use jobs::JobMetrics;
use json_lines::{JsonLines, JsonMembers};
use log_writer::{DroppedLines, LogWriter};
pub use pages::PageRequest;
pub use recent::{MINUTES, RecentFailure, RecentRequests, RouteFailures, Window};
pub use refusals::{RefusalKind, Refusals};

/// So many log lines may wait to be written.
const LOG_QUEUE: usize = 8192;

/// Of the process, as stderr is.
static LOG_LINES_DROPPED: LazyLock<DroppedLines> = LazyLock::new(|| {
    #[allow(clippy::expect_used, reason = "the name is a constant and valid")]
    let total = IntCounter::new(
        "todoctl_log_lines_dropped_total",
        "Log lines that could not be written to stderr, or not fast enough.",
    )
    .expect("valid counter options");
    DroppedLines::new(total, Clock::system())
});

/// Log lines of the last minutes before `now` that could not be written.
#[must_use]
pub fn dropped_log_lines(now: Timestamp) -> u64 {
    LOG_LINES_DROPPED.recent(now)
}

/// At the end, how long the reader of the log may take for the lines that wait.
const LOG_FLUSH: Duration = Duration::from_millis(500);

/// The log of the process. When it is dropped, it waits for the lines to be written.
#[must_use]
pub struct Logging(LogWriter);

impl Logging {
    /// Writes `text` between the log lines, in their order.
    pub fn print(&self, text: String) {
        self.0.line(text);
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.0.flush(LOG_FLUSH);
    }
}

/// Why logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `LOG_LEVEL` is not a tracing filter.
    #[error(transparent)]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// The thread that writes the lines.
    #[error("cannot start the thread that writes the log: {0}")]
    Thread(#[from] io::Error),
}

/// Starts logging to stderr, panics included. What becomes of the lines never matters to the work
/// that logs.
pub fn start_logging(config: &TelemetryConfig) -> Result<Logging, LoggingError> {
    let filter = EnvFilter::builder().parse(&config.level)?;
    let writer = LogWriter::start(io::stderr(), LOG_QUEUE, LOG_LINES_DROPPED.clone())?;
    let format = config.format.unwrap_or(if io::stderr().is_terminal() {
        LogFormat::Pretty
    } else {
        LogFormat::Json
    });
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer.clone())
        // It would print to stderr, which panics when stderr is closed.
        .log_internal_errors(false);
    // An error means that a subscriber is already set.
    let _ = match format {
        LogFormat::Pretty => builder
            .with_timer(ChronoUtc::rfc_3339())
            .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .with_target(false)
            .compact()
            .try_init(),
        LogFormat::Json => builder
            .fmt_fields(JsonMembers)
            .event_format(JsonLines(Clock::system()))
            .try_init(),
    };
    // The default hook writes to stderr itself, and waits for its reader.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let reason = panic.payload_as_str().unwrap_or("no text");
        tracing::error!(place, reason, "a task panicked");
    }));
    Ok(Logging(writer))
}

/// The daemon's metrics. None of them queries the database.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// What failed in the last minutes.
    pub recent: RecentRequests,
    /// The clients of the last minutes, for `/status`.
    pub clients: RecentClients,
    /// Answered requests by method, route template and status.
    pub requests: IntCounterVec,
    /// Seconds from a request's head to its answer's, by method and route template.
    pub latency: HistogramVec,
    /// Requests in progress.
    pub in_flight: IntGauge,
    /// Open client connections.
    pub connections: IntGauge,
    /// Bytes of large answers that clients have not taken yet.
    pub unsent_bytes: IntGauge,
    /// Attempts to authenticate by method and outcome.
    pub authentications: IntCounterVec,
    /// Refused credentials by reason.
    pub auth_refusals: IntCounterVec,
    /// Seconds that checking credentials took, by method.
    pub auth_validation: HistogramVec,
    /// 1 while the database lacks a migration; updated at start and by each `/health/ready`.
    pub migrations_pending: IntGauge,
    database_up: IntGauge,
    /// Requests refused because of overload, by what there was too much of.
    pub requests_shed: IntCounterVec,
    /// Requests answered with 429, by limit.
    pub rate_limited: IntCounterVec,
    /// Failed calls of Redis, including attempts to reconnect.
    pub rate_limit_backend_errors: IntCounter,
    /// Requests to the auth server by question and outcome.
    pub auth_server_requests: IntCounterVec,
    /// Access tokens issued for a refresh token.
    pub token_refreshes: IntCounter,
    /// Refused refreshes by reason.
    pub token_refresh_errors: IntCounterVec,
    /// Metrics of the background jobs.
    pub jobs: JobMetrics,
    pool: IntGaugeVec,
}

/// Upper bounds in seconds, from a cached read to the request timeout.
const LATENCY_BUCKETS: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0,
];

impl Metrics {
    /// Registers all metrics; `store` has its own histogram.
    pub fn new(store: &Store) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            recent: RecentRequests::default(),
            clients: RecentClients::default(),
            requests: IntCounterVec::new(
                Opts::new("http_requests_total", "Answered requests."),
                &["method", "route", "status"],
            )?,
            latency: HistogramVec::new(
                HistogramOpts::new(
                    "http_request_duration_seconds",
                    "Time from a request's head to its answer's.",
                )
                .buckets(LATENCY_BUCKETS.to_vec()),
                &["method", "route"],
            )?,
            in_flight: IntGauge::new("http_requests_in_flight", "Requests in progress.")?,
            connections: IntGauge::new("http_connections", "Open client connections.")?,
            unsent_bytes: IntGauge::new(
                "http_unsent_bytes",
                "Bytes of large answers that clients have not taken yet.",
            )?,
            authentications: IntCounterVec::new(
                Opts::new("auth_attempts_total", "Attempts to authenticate."),
                &["method", "outcome"],
            )?,
            auth_refusals: IntCounterVec::new(
                Opts::new(
                    "auth_refusals_total",
                    "Requests answered with 401 because of their credentials, by reason.",
                ),
                &["reason"],
            )?,
            auth_validation: HistogramVec::new(
                HistogramOpts::new(
                    "auth_validation_seconds",
                    "Time that checking credentials took.",
                )
                .buckets(vec![
                    0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.001, 0.01, 0.1, 1.0, 10.0,
                ]),
                &["method"],
            )?,
            migrations_pending: IntGauge::new(
                "todoctl_migrations_pending",
                "1 while the database lacks a migration of this program.",
            )?,
            database_up: IntGauge::new(
                "todoctl_database_up",
                "1 if the latest query was answered, 0 if not.",
            )?,
            requests_shed: IntCounterVec::new(
                Opts::new(
                    "todoctl_requests_shed_total",
                    "Requests refused because of overload: too many connections, too long a queue for the database, too many requests of one user, too many answers that clients do not read, a wait that was too long for the client.",
                ),
                &["reason"],
            )?,
            rate_limited: IntCounterVec::new(
                Opts::new("rate_limited_total", "Requests that exceeded a rate limit."),
                &["limit"],
            )?,
            rate_limit_backend_errors: IntCounter::new(
                "rate_limit_backend_errors_total",
                "Failed calls of Redis; meanwhile each replica counts by itself.",
            )?,
            auth_server_requests: IntCounterVec::new(
                Opts::new(
                    "auth_server_requests_total",
                    "Requests to the auth server, including those not sent because it failed.",
                ),
                &["question", "outcome"],
            )?,
            token_refreshes: IntCounter::new(
                "token_refresh_total",
                "Access tokens issued for a refresh token.",
            )?,
            token_refresh_errors: IntCounterVec::new(
                Opts::new(
                    "token_refresh_errors_total",
                    "Refused refreshes; a revoked token has no row and counts as invalid.",
                ),
                &["reason"],
            )?,
            jobs: JobMetrics::new()?,
            pool: IntGaugeVec::new(
                Opts::new(
                    "db_pool_connections",
                    "Database connections by pool and state.",
                ),
                &["pool", "state"],
            )?,
            registry: Registry::new(),
        };
        metrics.register(store)?;
        metrics.add_zeros();
        Ok(metrics)
    }

    /// Dashboards need the zeros too.
    fn add_zeros(&self) {
        for reason in ["connections", "queue", "share", "unsent", "client_left"] {
            self.requests_shed.with_label_values(&[reason]);
        }
        for reason in ["missing", "invalid", "expired", "revoked"] {
            self.token_refresh_errors.with_label_values(&[reason]);
        }
    }

    fn register(&self, store: &Store) -> Result<(), prometheus::Error> {
        let registry = &self.registry;
        let build = IntGaugeVec::new(
            Opts::new(
                "todoctl_build_info",
                "Always 1; version and commit are in the labels.",
            ),
            &["version", "commit"],
        )?;
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION"), crate::COMMIT])
            .set(1);
        registry.register(Box::new(build))?;
        registry.register(Box::new(self.requests.clone()))?;
        registry.register(Box::new(self.latency.clone()))?;
        registry.register(Box::new(self.in_flight.clone()))?;
        registry.register(Box::new(self.connections.clone()))?;
        registry.register(Box::new(self.unsent_bytes.clone()))?;
        registry.register(Box::new(self.authentications.clone()))?;
        registry.register(Box::new(self.auth_refusals.clone()))?;
        registry.register(Box::new(self.auth_validation.clone()))?;
        registry.register(Box::new(self.migrations_pending.clone()))?;
        registry.register(Box::new(self.database_up.clone()))?;
        registry.register(Box::new(self.requests_shed.clone()))?;
        registry.register(Box::new(self.rate_limited.clone()))?;
        registry.register(Box::new(self.rate_limit_backend_errors.clone()))?;
        registry.register(Box::new(self.auth_server_requests.clone()))?;
        registry.register(Box::new(self.token_refreshes.clone()))?;
        registry.register(Box::new(self.token_refresh_errors.clone()))?;
        registry.register(Box::new(self.pool.clone()))?;
        self.jobs.register(registry)?;
        for metric in store.metrics() {
            registry.register(metric)?;
        }
        registry.register(Box::new(LOG_LINES_DROPPED.total().clone()))?;
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))
    }

    /// The metrics in Prometheus's text format, with the current state of the pools.
    pub fn render(&self, store: &Store) -> Result<String, prometheus::Error> {
        // Before the first query: the daemon connected when it started.
        let answered = store.last_answer().unwrap_or(true);
        self.database_up.set(i64::from(answered));
        for (name, pool) in store.pools() {
            for (state, count) in [
                ("size", pool.size),
                ("idle", pool.idle),
                ("waiting", pool.waiting),
                ("max", pool.max),
            ] {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                self.pool.with_label_values(&[name, state]).set(count);
            }
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
