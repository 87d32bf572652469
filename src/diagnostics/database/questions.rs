//! Questions that either engine answers.

use std::time::{Duration, Instant};

use crate::config::{DatabaseConfig, DatabaseTarget, PostgresTarget, Remedy};
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{Connection, ServerVersion};
use crate::diagnostics::verdict::Verdict;
use crate::store::{OLDEST_MAJOR, StoreError, known_message};

use super::behind::{ASKING, explained};
use super::fault::query_failed;

const SAMPLES: usize = 20;
/// A request runs a few queries one after the other, and each takes this long.
const SLOW: Duration = Duration::from_millis(100);

pub(super) async fn query(context: &Context, config: &DatabaseConfig, limit: Duration) -> Verdict {
    let answer = match &config.target {
        DatabaseTarget::Postgres(server) => return query_server(context, server, limit).await,
        DatabaseTarget::Sqlite(file) => context.file.ask(file, limit, Connection::query).await,
    };
    match answer {
        Ok(()) => Verdict::pass("answered"),
        Err(error) => query_failed(context, &error),
    }
}

/// A pooler that has no server connection to lend keeps the query, so time is left to ask it why.
async fn query_server(context: &Context, server: &PostgresTarget, limit: Duration) -> Verdict {
    let limit = limit.saturating_sub(2 * ASKING);
    let asked = context.server.ask(server, limit, Connection::query);
    match tokio::time::timeout(limit, asked).await {
        Ok(Ok(())) => Verdict::pass("answered"),
        Ok(Err(error)) => {
            let known = known_message(&error);
            explained(query_failed(context, &error), known, server).await
        }
        Err(_) => {
            let detail = format!("no answer within {} s", limit.as_secs().max(1));
            let remedy = Remedy::note("read the log of the database's server, which says more");
            explained(Verdict::fail(detail, remedy), None, server).await
        }
    }
}

pub(super) async fn latency(
    context: &Context,
    config: &DatabaseConfig,
    limit: Duration,
) -> Verdict {
    let times = match &config.target {
        DatabaseTarget::Postgres(server) => context.server.ask(server, limit, sample).await,
        DatabaseTarget::Sqlite(file) => context.file.ask(file, limit, sample).await,
    };
    match times {
        Ok(times) => check_latency(times),
        Err(error) => query_failed(context, &error),
    }
}

/// The times that some queries take.
async fn sample(connection: &mut impl Connection) -> Result<Vec<Duration>, StoreError> {
    let mut times = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let started = Instant::now();
        connection.query().await?;
        times.push(started.elapsed());
    }
    Ok(times)
}

pub(super) fn check_latency(mut times: Vec<Duration>) -> Verdict {
    times.sort_unstable();
    let (median, p95) = (percentile(&times, 50), percentile(&times, 95));
    let detail = format!(
        "p50 {}, p95 {} of {} queries",
        millis(median),
        millis(p95),
        times.len()
    );
    if median < SLOW {
        return Verdict::pass(detail);
    }
    let remedy = "run the daemon in the database's region: each request waits for several queries";
    Verdict::warn(detail, Remedy::note(remedy))
}

/// The nearest-rank percentile of sorted times; zero of none.
pub(super) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

pub(super) async fn version(
    context: &Context,
    config: &DatabaseConfig,
    limit: Duration,
) -> Verdict {
    let verdict = match &config.target {
        DatabaseTarget::Postgres(server) => context
            .server
            .ask(server, limit, async |connection| connection.version().await)
            .await
            .map(|version| check_version(&version)),
        DatabaseTarget::Sqlite(file) => context
            .file
            .ask(file, limit, async |connection| connection.version().await)
            .await
            .map(|version| Verdict::pass(format!("SQLite {version}"))),
    };
    verdict.unwrap_or_else(|error| query_failed(context, &error))
}

pub(super) fn check_version(version: &ServerVersion) -> Verdict {
    let text = &version.text;
    if version.major >= OLDEST_MAJOR {
        return Verdict::pass(format!("PostgreSQL {text}"));
    }
    Verdict::fail(
        format!("PostgreSQL {text} is older than {OLDEST_MAJOR}, the oldest that todoctl supports"),
        Remedy::note(format!(
            "upgrade the server to PostgreSQL {OLDEST_MAJOR} or newer"
        )),
    )
}
