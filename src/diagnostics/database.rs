//! Whether the database can be reached, opened and asked, step by step.

use std::time::{Duration, Instant};

use crate::config::{
    ConfigError, DatabaseConfig, DatabaseTarget, Loaded, PostgresTarget, SqliteTarget,
};
use crate::store::{ConnectError, EngineVersion, ProbeConnection, StoreError, reach};

use super::check::{Check, Name, Outcome, Verdict};
use super::migrations::{self, MIGRATIONS};

const URL: Name = Name {
    id: "database.url",
    title: "URL",
};
const CONNECTION: Name = Name {
    id: "database.connection",
    title: "Connection",
};
const LOGIN: Name = Name {
    id: "database.login",
    title: "Login",
};
const QUERY: Name = Name {
    id: "database.query",
    title: "Query",
};
const LATENCY: Name = Name {
    id: "database.latency",
    title: "Latency",
};
const VERSION: Name = Name {
    id: "database.version",
    title: "Version",
};

/// For the name server and the server each.
const REACH_LIMIT: Duration = Duration::from_secs(5);
const CONNECTION_LIMIT: Duration = Duration::from_secs(11);
/// A suspended database needs 10 to 15 s to wake.
const LOGIN_LIMIT: Duration = Duration::from_secs(20);
const QUERY_LIMIT: Duration = Duration::from_secs(5);
const LATENCY_LIMIT: Duration = Duration::from_secs(10);

const SAMPLES: usize = 20;
/// A request makes a few queries one after the other, and each costs this much.
const SLOW: Duration = Duration::from_millis(100);

/// The oldest PostgreSQL that is still fine.
const OLDEST_MAJOR: i32 = 12;

/// All checks of the database, in order; what follows from a failed one is skipped.
pub async fn checks(config: &Result<Loaded<DatabaseConfig>, ConfigError>) -> Vec<Check> {
    let mut checks = vec![URL.done(judge_url(config), Duration::ZERO)];
    let Ok(Loaded { value: config, .. }) = config else {
        return skip_rest(
            checks,
            &[CONNECTION, LOGIN, QUERY, LATENCY, VERSION, MIGRATIONS],
        );
    };

    checks.push(connection(&config.target).await);
    if failed(&checks) {
        return skip_rest(checks, &[LOGIN, QUERY, LATENCY, VERSION, MIGRATIONS]);
    }

    let (check, open) = login(&config.target).await;
    checks.push(check);
    let Some(open) = open else {
        return skip_rest(checks, &[QUERY, LATENCY, VERSION, MIGRATIONS]);
    };

    let checks = questions(checks, open).await;
    // On a connection of its own, so a fault of the questions does not hide it.
    let migrations = migrations::check(&config.direct).await;
    checks.into_iter().chain([migrations]).collect()
}

/// What is asked on the open connection, which is given up at the first fault:
/// the answer may still be under way on it.
async fn questions(mut checks: Vec<Check>, open: ProbeConnection) -> Vec<Check> {
    let (check, open) = query(open).await;
    checks.push(check);
    let Some(open) = open else {
        return skip_rest(checks, &[LATENCY, VERSION]);
    };
    let (check, open) = latency(open).await;
    checks.push(check);
    let Some(open) = open else {
        return skip_rest(checks, &[VERSION]);
    };
    let (check, open) = version(open).await;
    checks.push(check);
    if let Some(open) = open {
        open.close().await;
    }
    checks
}

fn failed(checks: &[Check]) -> bool {
    checks
        .last()
        .is_some_and(|check| check.outcome == Outcome::Fail)
}

/// Skips `names` because of the last check that was made.
fn skip_rest(mut checks: Vec<Check>, names: &[Name]) -> Vec<Check> {
    let id = checks.last().map_or("", |check| check.id);
    let reason = format!("not checked, because {id} failed");
    checks.extend(names.iter().map(|name| name.skipped(&reason)));
    checks
}

fn judge_url(config: &Result<Loaded<DatabaseConfig>, ConfigError>) -> Verdict {
    let join = |texts: Vec<String>| texts.join("; ");
    match config {
        Ok(Loaded { value, warnings }) if warnings.is_empty() => {
            Verdict::pass(value.target.redacted())
        }
        Ok(Loaded { value, warnings }) => {
            let mut texts = vec![value.target.redacted()];
            let said = warnings
                .iter()
                .map(|one| format!("{}: {}", one.variable, one.message));
            texts.extend(said);
            Verdict::warn(join(texts), None)
        }
        Err(error) => {
            let problems = &error.problems;
            let said = problems
                .iter()
                .map(|one| format!("{}: {}", one.variable, one.message));
            let remedies = problems.iter().map(|one| one.remedy.clone());
            let remedies = remedies.filter(|remedy| !remedy.is_empty());
            Verdict::fail(join(said.collect()), join(remedies.collect()))
        }
    }
}

async fn connection(target: &DatabaseTarget) -> Check {
    let work = async {
        let verdict = match target {
            DatabaseTarget::Postgres(server) => connection_postgres(server).await,
            DatabaseTarget::Sqlite(file) => connection_sqlite(file).await,
        };
        (verdict, None::<()>)
    };
    CONNECTION.check(CONNECTION_LIMIT, work).await.0
}

async fn connection_postgres(server: &PostgresTarget) -> Verdict {
    match reach(server, REACH_LIMIT).await {
        Ok(address) => Verdict::pass(format!("{address} accepts connections")),
        Err(error) => fault(&error),
    }
}

async fn connection_sqlite(file: &SqliteTarget) -> Verdict {
    let place = file.path.display();
    // The kind first: opening a named pipe would wait for its other end.
    let opened = match tokio::fs::metadata(&file.path).await {
        Ok(found) if !found.is_file() => {
            let remedy = "point DATABASE_URL at a file: DATABASE_URL=sqlite://data/todo.db";
            return Verdict::fail(format!("{place} is not a file"), remedy.to_owned());
        }
        Ok(found) => tokio::fs::File::open(&file.path).await.map(|_| found.len()),
        Err(error) => Err(error),
    };
    match opened {
        Ok(bytes) => Verdict::pass(format!("{place} is readable, {bytes} bytes")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Verdict::fail(
            format!("{place} does not exist yet"),
            "todoctl migrate up".to_owned(),
        ),
        Err(error) => Verdict::fail(
            format!("{place} cannot be read: {error}"),
            format!("let this user read and write {place} and its directory"),
        ),
    }
}

fn fault(error: &ConnectError) -> Verdict {
    Verdict::fail(error.message.clone(), error.remedy.clone())
}

async fn login(target: &DatabaseTarget) -> (Check, Option<ProbeConnection>) {
    let work = async {
        match ProbeConnection::open(target).await {
            Ok(open) => {
                let detail = match target {
                    DatabaseTarget::Postgres(server) => {
                        format!("as {} to the database {}", server.user, server.database)
                    }
                    DatabaseTarget::Sqlite(_) => "opened; a file asks for no password".to_owned(),
                };
                (Verdict::pass(detail), Some(open))
            }
            Err(error) => (fault(&error), None),
        }
    };
    LOGIN.check(LOGIN_LIMIT, work).await
}

async fn query(mut open: ProbeConnection) -> (Check, Option<ProbeConnection>) {
    let work = async move {
        match open.query().await {
            Ok(()) => (Verdict::pass("answered"), Some(open)),
            Err(error) => (query_failed(&error), None),
        }
    };
    QUERY.check(QUERY_LIMIT, work).await
}

fn query_failed(error: &StoreError) -> Verdict {
    let remedy = "todoctl db check, once more; if it fails again, the server's log says why";
    Verdict::fail(error.to_string(), remedy.to_owned())
}

async fn latency(mut open: ProbeConnection) -> (Check, Option<ProbeConnection>) {
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
    LATENCY.check(LATENCY_LIMIT, work).await
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

async fn version(mut open: ProbeConnection) -> (Check, Option<ProbeConnection>) {
    let work = async move {
        match open.version().await {
            Ok(version) => (judge_version(&version), Some(open)),
            Err(error) => (query_failed(&error), None),
        }
    };
    VERSION.check(QUERY_LIMIT, work).await
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
