//! Whether the database can be reached, opened, asked and relied on, step by step.
//!
//! What follows from a failed step is skipped with the step's name. The ids are stable;
//! those of one engine do not appear in a report about the other.

use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::config::{ConfigError, DatabaseConfig, DatabaseTarget, Loaded};
use crate::store::{ConnectError, EngineVersion, ProbeConnection, StoreError, messages::Retry};

use super::check::{Budget, Check, Name, Outcome, Verdict};
use super::migrations::{self, MIGRATIONS};

mod file;
mod names;
mod network;
mod pooler;
mod server;

pub(super) use file::judge_file_system;
pub use names::NAMES;
use names::{
    FILE_ORDER, LATENCY, LOGIN, QUERY, SERVER_ORDER, STARTUP, UNKNOWN_ORDER, URL, VERSION,
};

/// A suspended database needs 10 to 15 s to wake.
const LOGIN_LIMIT: Duration = Duration::from_secs(20);
const QUERY_LIMIT: Duration = Duration::from_secs(5);
const LATENCY_LIMIT: Duration = Duration::from_secs(10);

/// A login that took longer has woken somebody.
const WAKING: Duration = Duration::from_secs(2);

const SAMPLES: usize = 20;
/// A request makes a few queries one after the other, and each costs this much.
const SLOW: Duration = Duration::from_millis(100);

/// The oldest PostgreSQL that is still fine.
const OLDEST_MAJOR: i32 = 12;

/// What is looked at, and how.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The database, or what is wrong with its variables.
    pub config: &'a Result<Loaded<DatabaseConfig>, ConfigError>,
    /// How many daemons share the server.
    pub replicas: usize,
    /// What the server's time is compared with.
    pub clock: &'a Clock,
    /// The time for all checks together.
    pub budget: Budget,
}

/// All checks of the database, in order; what follows from a failed one is skipped.
pub async fn checks(request: Request<'_>) -> Vec<Check> {
    let checks = vec![URL.done(judge_url(request.config), Duration::ZERO)];
    let Ok(Loaded { value: config, .. }) = request.config else {
        return skip_rest(checks, UNKNOWN_ORDER);
    };
    match &config.target {
        DatabaseTarget::Postgres(target) => {
            let checks = Box::pin(of_server(checks, request, config, target)).await;
            skip_rest(checks, SERVER_ORDER)
        }
        DatabaseTarget::Sqlite(target) => {
            let checks = Box::pin(of_file(checks, request, config, target)).await;
            skip_rest(checks, FILE_ORDER)
        }
    }
}

/// The checks of a server, up to the first one without which the rest makes no sense.
async fn of_server(
    mut checks: Vec<Check>,
    request: Request<'_>,
    config: &DatabaseConfig,
    target: &crate::config::PostgresTarget,
) -> Vec<Check> {
    let (check, address) = network::name(target, request.budget).await;
    checks.push(check);
    let Some(address) = address else {
        return checks;
    };
    checks.push(network::connection(target, &address, request.budget).await);
    if failed(&checks) {
        return checks;
    }
    checks.push(network::tls(target, &address, request).await);
    if failed(&checks) {
        return checks;
    }
    let (begun, open) = login(&config.target, request.budget).await;
    checks.extend(begun);
    let Some(open) = open else { return checks };
    // Each on connections of its own, so that a fault of the questions hides nothing.
    let (asked, pooler, migrations) = tokio::join!(
        async {
            let (mut checks, open) = questions(open, request.budget).await;
            if let Some(open) = open {
                server::checks(&mut checks, open, config, target, request).await;
            }
            checks
        },
        pooler::check(config, target, request.budget),
        migrations::check(&config.direct, request.budget),
    );
    checks.extend(asked);
    checks = skip_until(checks, SERVER_ORDER, names::POOLER);
    checks.push(pooler);
    checks = skip_until(checks, SERVER_ORDER, MIGRATIONS);
    checks.push(migrations);
    in_order(checks, SERVER_ORDER)
}

async fn of_file(
    mut checks: Vec<Check>,
    request: Request<'_>,
    config: &DatabaseConfig,
    target: &crate::config::SqliteTarget,
) -> Vec<Check> {
    checks.push(file::connection(target, request.budget).await);
    if failed(&checks) {
        // Where the file should be tells why it is not there.
        checks.push(file::directory(target));
        return in_order(skip_rest(checks, FILE_ORDER), FILE_ORDER);
    }
    checks.extend(file::facts(target));
    let (begun, open) = login(&config.target, request.budget).await;
    checks.extend(begun.into_iter().filter(|check| check.id == LOGIN.id));
    if let Some(open) = open {
        let (asked, open) = questions(open, request.budget).await;
        checks.extend(asked);
        if let Some(open) = open {
            checks.push(file::integrity(open, request.budget).await);
        }
        checks = skip_until(checks, FILE_ORDER, MIGRATIONS);
        checks.push(migrations::check(&config.direct, request.budget).await);
    }
    in_order(checks, FILE_ORDER)
}

fn failed(checks: &[Check]) -> bool {
    checks
        .last()
        .is_some_and(|check| check.outcome == Outcome::Fail)
}

/// Skips what of `order` was not made, because of the last check that failed.
fn skip_rest(checks: Vec<Check>, order: &[Name]) -> Vec<Check> {
    skip(checks, order.iter())
}

/// The same for what stands before `name`.
fn skip_until(checks: Vec<Check>, order: &[Name], name: Name) -> Vec<Check> {
    skip(checks, order.iter().take_while(|one| **one != name))
}

fn skip<'a>(mut checks: Vec<Check>, names: impl Iterator<Item = &'a Name>) -> Vec<Check> {
    let failed = checks.iter().rev().find(|one| one.outcome == Outcome::Fail);
    let reason = match failed {
        Some(check) => format!("not checked, because {} failed", check.id),
        None => "not checked: the step before it did not end".to_owned(),
    };
    for name in names {
        if !checks.iter().any(|check| check.id == name.id) {
            checks.push(name.skipped(&reason));
        }
    }
    checks
}

fn in_order(mut checks: Vec<Check>, order: &[Name]) -> Vec<Check> {
    let place = |check: &Check| order.iter().position(|name| name.id == check.id);
    checks.sort_by_key(place);
    checks
}

fn judge_url(config: &Result<Loaded<DatabaseConfig>, ConfigError>) -> Verdict {
    match config {
        Ok(Loaded { value, warnings }) if warnings.is_empty() => {
            Verdict::pass(value.target.redacted())
        }
        Ok(Loaded { value, warnings }) => {
            let mut texts = vec![value.target.redacted()];
            texts.extend(warnings.iter().map(ToString::to_string));
            Verdict::warn(texts.join("; "), None)
        }
        Err(error) => Verdict::of_problems(&error.problems),
    }
}

/// What a driver said, with what it means where the words alone do not tell.
fn explained(error: &ConnectError) -> String {
    let message = &error.message;
    match error.known {
        Some(known) if known.id.starts_with("neon.") || known.id.starts_with("pgbouncer.") => {
            let again = match known.retry {
                Retry::Yes => "trying again helps",
                Retry::Later => "trying again helps once that has changed",
                Retry::No => "trying again does not help",
            };
            format!("{message} ({}; {again})", known.happened)
        }
        _ => message.clone(),
    }
}

fn fault(error: &ConnectError) -> Verdict {
    Verdict::fail(explained(error), error.remedy.clone())
}

/// The start of a session: what is sent first, and who logs in.
async fn login(target: &DatabaseTarget, budget: Budget) -> (Vec<Check>, Option<ProbeConnection>) {
    let limit = budget.limit(LOGIN_LIMIT);
    let started = Instant::now();
    let outcome = if limit.is_zero() {
        None
    } else {
        Some(ProbeConnection::open(target, limit).await)
    };
    let took = started.elapsed();
    let skipped = |name: Name, why: &str| name.skipped(why);
    match outcome {
        None => {
            let why = "not checked: the time for all checks was used up";
            (vec![skipped(STARTUP, why), skipped(LOGIN, why)], None)
        }
        Some(Ok(open)) => {
            let verdict = Verdict::pass(greeting(target, took));
            let checks = vec![
                STARTUP.done(Verdict::pass(server::sent(target)), Duration::ZERO),
                LOGIN.done(verdict, took),
            ];
            (checks, Some(open))
        }
        Some(Err(error)) => (server::refused(&error, fault(&error), took), None),
    }
}

fn greeting(target: &DatabaseTarget, took: Duration) -> String {
    match target {
        DatabaseTarget::Postgres(server) => {
            let mut text = format!("as {} to the database {}", server.user, server.database);
            if took > WAKING {
                text += &format!(
                    ", after {:.1} s: a suspended database was waking",
                    took.as_secs_f64()
                );
            }
            text
        }
        DatabaseTarget::Sqlite(_) => "opened; a file asks for no password".to_owned(),
    }
}

/// What is asked of either engine on the open connection, which is given up at the first
/// fault: the answer may still be under way on it.
async fn questions(open: ProbeConnection, budget: Budget) -> (Vec<Check>, Option<ProbeConnection>) {
    let (check, open) = query(open, budget).await;
    let mut checks = vec![check];
    let Some(open) = open else {
        return (checks, None);
    };
    let (check, open) = latency(open, budget).await;
    checks.push(check);
    let Some(open) = open else {
        return (checks, None);
    };
    let (check, open) = version(open, budget).await;
    checks.push(check);
    (checks, open)
}

async fn query(mut open: ProbeConnection, budget: Budget) -> (Check, Option<ProbeConnection>) {
    let work = async move {
        match open.query().await {
            Ok(()) => (Verdict::pass("answered"), Some(open)),
            Err(error) => (query_failed(&error), None),
        }
    };
    QUERY.check(budget.limit(QUERY_LIMIT), work).await
}

fn query_failed(error: &StoreError) -> Verdict {
    let said = error.to_string();
    let remedy = match crate::store::messages::Known::find(&said) {
        Some(known) => known.remedy_anywhere(),
        None => {
            "todoctl db check, once more; if it fails again, the server's log says why".to_owned()
        }
    };
    Verdict::fail(said, remedy)
}

async fn latency(mut open: ProbeConnection, budget: Budget) -> (Check, Option<ProbeConnection>) {
    let work = async move {
        let mut times = Vec::with_capacity(SAMPLES);
        for _ in 0..SAMPLES {
            let started = Instant::now();
            if let Err(error) = open.query().await {
                return (query_failed(&error), None);
            }
            times.push(started.elapsed());
        }
        (judge_latency(times), Some(open))
    };
    LATENCY.check(budget.limit(LATENCY_LIMIT), work).await
}

fn judge_latency(mut times: Vec<Duration>) -> Verdict {
    times.sort_unstable();
    let (half, most) = (percentile(&times, 50), percentile(&times, 95));
    let detail = format!(
        "p50 {}, p95 {} of {} queries",
        millis(half),
        millis(most),
        times.len()
    );
    if half < SLOW {
        return Verdict::pass(detail);
    }
    let remedy = "run the daemon in the database's region; each request waits for several queries";
    Verdict::warn(detail, remedy.to_owned())
}

/// The nearest-rank percentile of sorted times; zero of none.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

async fn version(mut open: ProbeConnection, budget: Budget) -> (Check, Option<ProbeConnection>) {
    let work = async move {
        match open.version().await {
            Ok(version) => (judge_version(&version), Some(open)),
            Err(error) => (query_failed(&error), None),
        }
    };
    VERSION.check(budget.limit(QUERY_LIMIT), work).await
}

fn judge_version(version: &EngineVersion) -> Verdict {
    match version {
        EngineVersion::Sqlite { text } => Verdict::pass(format!("SQLite {text}")),
        EngineVersion::Postgres { text, major } if *major >= OLDEST_MAJOR => {
            Verdict::pass(format!("PostgreSQL {text}"))
        }
        EngineVersion::Postgres { text, .. } => Verdict::warn(
            format!("PostgreSQL {text} is older than {OLDEST_MAJOR} and untested"),
            format!("upgrade the server to PostgreSQL {OLDEST_MAJOR} or newer"),
        ),
    }
}

#[cfg(test)]
mod tests;
