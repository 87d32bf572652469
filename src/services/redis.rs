//! Redis, where replicas count requests together.
//!
//! While it does not answer, nobody waits for it: callers are told at once to
//! count by themselves, and a task in the background tries until it is back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use prometheus::IntCounter;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, Script};

use crate::config::Secret;

/// A request waits this long for Redis at most.
const PATIENCE: Duration = Duration::from_millis(100);

/// The task in the background waits longer: nobody waits for it.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// Between two tries to reach it again.
const PAUSE: Duration = Duration::from_secs(1);

/// Our keys begin with this: Redis may be shared.
const PREFIX: &str = "todoctl:limit:";

/// What the tries to reach Redis again count, so that they find out whether it can be written.
const PROBE: &str = "probe";

/// Counts one more and returns the count and the milliseconds that are left of
/// its window. One script, so that a key cannot be left without an end.
const COUNT: &str = "
    local count = redis.call('INCR', KEYS[1])
    local left = redis.call('PTTL', KEYS[1])
    if left < 0 then
        redis.call('PEXPIRE', KEYS[1], ARGV[1])
        left = tonumber(ARGV[1])
    end
    return {count, left}";

/// What Redis counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// How often in this window, this time included.
    pub count: u64,
    /// When the window ends, from now.
    pub left: Duration,
}

/// `REDIS_URL` cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("REDIS_URL cannot be used: {0}")]
pub struct RedisUrlError(#[source] RedisError);

/// Why Redis did not count.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer within {} ms", _0.as_millis())]
    TimedOut(Duration),
    #[error(transparent)]
    Refused(#[from] RedisError),
}

/// Counts in fixed windows, each from its first count on. Cheap to clone.
#[derive(Clone)]
pub struct RedisCounter(Arc<Shared>);

struct Shared {
    client: Client,
    connection: RwLock<ConnectionManager>,
    script: Script,
    up: AtomicBool,
    errors: IntCounter,
}

impl RedisCounter {
    /// Counts with the Redis at `url`, which need not answer yet.
    ///
    /// `errors` counts its failures. Must be called within a runtime.
    pub fn new(url: &Secret, errors: IntCounter) -> Result<Self, RedisUrlError> {
        let client = Client::open(url.expose()).map_err(RedisUrlError)?;
        let connection = ConnectionManager::new_lazy_with_config(client.clone(), connecting())
            .map_err(RedisUrlError)?;
        Ok(Self(Arc::new(Shared {
            client,
            connection: RwLock::new(connection),
            script: Script::new(COUNT),
            up: AtomicBool::new(true),
            errors,
        })))
    }

    /// Counts `key` once more, in a window of `length`; `None` while Redis does not answer.
    pub async fn count(&self, key: &str, length: Duration) -> Option<Count> {
        if !self.0.up.load(Ordering::Relaxed) {
            return None;
        }
        let connection = self.0.connection.read();
        let connection = connection.unwrap_or_else(PoisonError::into_inner).clone();
        match self.0.count(connection, key, length, PATIENCE).await {
            Ok(count) => Some(count),
            Err(failure) => {
                self.0.errors.inc();
                // One line an outage, not one a request.
                if self.0.up.swap(false, Ordering::Relaxed) {
                    tracing::warn!(error = %failure, "Redis does not answer: limits are each replica's own");
                    tokio::spawn(find_again(Arc::downgrade(&self.0)));
                }
                None
            }
        }
    }
}

impl Shared {
    async fn count(
        &self,
        mut connection: ConnectionManager,
        key: &str,
        length: Duration,
        patience: Duration,
    ) -> Result<Count, Failure> {
        let mut call = self.script.key(format!("{PREFIX}{key}"));
        call.arg(u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
        let answer = tokio::time::timeout(patience, call.invoke_async(&mut connection)).await;
        let (count, left): (u64, u64) = answer.map_err(|_| Failure::TimedOut(patience))??;
        Ok(Count {
            count,
            left: Duration::from_millis(left),
        })
    }

    /// Counts on a new connection, and keeps that one if it is good. The old one
    /// may lead to a machine that is gone, which TCP takes a quarter of an hour to find out.
    async fn reconnect(&self) -> Result<(), Failure> {
        let connecting = ConnectionManager::new_with_config(self.client.clone(), connecting());
        let connection = tokio::time::timeout(CONNECT_PATIENCE, connecting)
            .await
            .map_err(|_| Failure::TimedOut(CONNECT_PATIENCE))??;
        self.count(connection.clone(), PROBE, PAUSE, CONNECT_PATIENCE)
            .await?;
        *self
            .connection
            .write()
            .unwrap_or_else(PoisonError::into_inner) = connection;
        Ok(())
    }
}

fn connecting() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_PATIENCE))
        .set_response_timeout(Some(CONNECT_PATIENCE))
        // The task in the background tries again by itself.
        .set_number_of_retries(0)
}

/// Tries until Redis counts again, for as long as somebody wants to know.
async fn find_again(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        match shared.reconnect().await {
            Ok(()) => {
                shared.up.store(true, Ordering::Relaxed);
                tracing::info!("Redis answers again: limits are shared");
                return;
            }
            Err(_) => shared.errors.inc(),
        }
    }
}

impl std::fmt::Debug for RedisCounter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The connection knows the password.
        f.debug_struct("RedisCounter")
            .field("up", &self.0.up)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TLS finds its one provider, and what does not speak it is an outage like any other.
    #[tokio::test]
    async fn tls_is_spoken() {
        use tokio::io::AsyncReadExt as _;

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rediss://{}/0", listener.local_addr().unwrap());
        let hello = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut first = [0; 3];
            stream.read_exact(&mut first).await.unwrap();
            first
        });
        let errors = IntCounter::new("errors", "errors").unwrap();
        let counter = RedisCounter::new(&Secret::new(url), errors.clone()).unwrap();
        assert_eq!(counter.count("key", PAUSE).await, None);
        assert_eq!(errors.get(), 1);
        // A handshake record of TLS (RFC 8446, section 5.1).
        assert_eq!(hello.await.unwrap(), [22, 3, 1]);
        // While it is looked for, nobody waits for it.
        let started = std::time::Instant::now();
        assert_eq!(counter.count("key", PAUSE).await, None);
        assert!(started.elapsed() < PATIENCE);
    }

    #[tokio::test]
    async fn its_password_is_not_shown() {
        let errors = IntCounter::new("errors", "errors").unwrap();
        let url = Secret::new("redis://:canary@127.0.0.1:1/0");
        let counter = RedisCounter::new(&url, errors).unwrap();
        assert!(!format!("{counter:?}").contains("canary"));
    }
}
