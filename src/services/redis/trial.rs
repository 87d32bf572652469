//! Counting once, for diagnostics.

use std::time::{Duration, Instant};

use redis::aio::ConnectionManager;
use redis::{Client, Cmd, FromRedisValue, RedisError, Script};

use crate::config::Secret;

use super::{COUNT, Failure, PROBE, RECONNECT_PAUSE, client, connection_config, count};

/// How often is measured: a machine with much to do is slow at times.
const TRIES: u32 = 3;

/// How long a Redis that does not count may take to say what it is.
const EXPLAIN_LIMIT: Duration = Duration::from_secs(1);

/// Why a Redis that answers does not count.
#[derive(Debug)]
pub(crate) struct TryError {
    pub(crate) message: String,
    /// Whether an answer did not come in time.
    pub(crate) is_late: bool,
    /// Whether it answers at once what changes nothing, and the rest not in time.
    pub(crate) is_paused: bool,
    /// What it is a replica of.
    pub(crate) replica: Option<Replica>,
    /// What INFO tells; empty where it is not allowed.
    info: String,
}

/// A replica's primary.
#[derive(Debug)]
pub(crate) struct Replica {
    /// As the replica reaches it.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Whether the replica is connected with it.
    pub(crate) is_linked: bool,
    /// What both call the data that they share; empty where they may not be asked.
    pub(crate) history: String,
}

impl TryError {
    fn new(failure: impl Into<Failure>) -> Self {
        let failure = failure.into();
        Self {
            is_late: failure.is_late(),
            ..Self::of_message(&failure.to_string())
        }
    }

    /// With the words of a Redis that refuses the connection.
    pub(crate) fn of_message(message: &str) -> Self {
        Self {
            message: message.to_owned(),
            is_late: false,
            is_paused: false,
            replica: None,
            info: String::new(),
        }
    }

    /// The bytes of memory in use.
    pub(crate) fn used_memory(&self) -> Option<u64> {
        value(&self.info, "used_memory")?.parse().ok()
    }

    /// Whether it is no Redis for data, but one that watches others.
    pub(crate) fn is_sentinel(&self) -> bool {
        value(&self.info, "redis_mode") == Some("sentinel")
    }
}

impl Failure {
    fn is_late(&self) -> bool {
        match self {
            Self::TimedOut(_) => true,
            Self::Refused(error) => error.is_timeout(),
        }
    }
}

/// Counts once at the Redis of `url`, as a daemon does when it reconnects: logs in, selects the
/// database and runs the script on a key that expires after a second. Returns how long Redis takes
/// for it once it knows the script.
pub(crate) async fn try_count(url: &Secret, limit: Duration) -> Result<Duration, TryError> {
    let work = async {
        let client = client(url).map_err(TryError::new)?;
        let connection = connect(&client).await.map_err(TryError::new)?;
        match count_often(&connection, limit).await {
            Ok(took) => Ok(took),
            Err(failure) => Err(explained(&client, connection, failure).await),
        }
    };
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(TryError::new(Failure::TimedOut(limit))))
}

async fn count_often(connection: &ConnectionManager, limit: Duration) -> Result<Duration, Failure> {
    let script = Script::new(COUNT);
    let count = || count(&script, connection.clone(), PROBE, RECONNECT_PAUSE, limit);
    count().await?;
    let mut least = limit;
    for _ in 0..TRIES {
        let started = Instant::now();
        count().await?;
        least = least.min(started.elapsed());
    }
    Ok(least)
}

/// What a replica answers to ROLE: `slave`, host and port of its primary, the state of their connection,
/// and how far it has got.
type Role = (String, String, u16, String, i64);

/// With what Redis tells about itself.
async fn explained(
    client: &Client,
    mut connection: ConnectionManager,
    failure: Failure,
) -> TryError {
    let mut error = TryError::new(failure);
    let explain = async {
        if error.is_late {
            // The other one still waits for its answer.
            connection = connect(client).await.ok()?;
            let pong: String = ask(&mut connection, &redis::cmd("PING")).await?;
            error.is_paused = pong == "PONG";
        }
        error.info = ask(&mut connection, &redis::cmd("INFO"))
            .await
            .unwrap_or_default();
        let (_, host, port, state, _): Role = ask(&mut connection, &redis::cmd("ROLE")).await?;
        error.replica = Some(Replica {
            host,
            port,
            is_linked: state == "connected",
            history: history(&error.info).unwrap_or_default().to_owned(),
        });
        Some(())
    };
    // What it has told until then is enough.
    let _ = tokio::time::timeout(EXPLAIN_LIMIT, explain).await;
    error
}

/// Whether the Redis of `url` is the primary whose data have this name.
pub(crate) async fn is_primary(url: &Secret, of: &str, limit: Duration) -> bool {
    let work = async {
        let mut connection = connect(&client(url).ok()?).await.ok()?;
        let info: String = ask(&mut connection, &redis::cmd("INFO")).await?;
        Some(value(&info, "role") == Some("master") && history(&info) == Some(of))
    };
    let found = tokio::time::timeout(limit, work).await;
    found.ok().flatten().unwrap_or(false)
}

async fn connect(client: &Client) -> Result<ConnectionManager, RedisError> {
    ConnectionManager::new_with_config(client.clone(), connection_config()).await
}

async fn ask<T: FromRedisValue>(connection: &mut ConnectionManager, command: &Cmd) -> Option<T> {
    command.query_async(connection).await.ok()
}

fn history(info: &str) -> Option<&str> {
    value(info, "master_replid")
}

fn value<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = info.lines().filter_map(|line| line.split_once(':'));
    lines.find_map(|(one, value)| (one == name).then_some(value))
}
