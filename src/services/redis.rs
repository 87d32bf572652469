//! Shared rate-limit counters in Redis.
//!
//! While Redis is down, [`RedisCounter::count`] returns `None` without waiting, and callers use
//! counters of their own process. A background task reconnects.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use prometheus::IntCounter;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, Script, TlsCertificates};

use crate::clock::Clock;
use crate::config::Secret;
use crate::domain::Timestamp;

use super::tls;

mod trial;

pub(crate) use trial::{Replica, TryError, is_primary, try_count};

/// How long a request waits for Redis.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(100);

/// How long the background task waits for a connection or an answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause between two attempts to reconnect.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// The prefix of all keys: other services may use the same Redis. After it, counters have a word
/// for the database, because another todoctl may use it too, such as that of staging.
const PREFIX: &str = "todoctl:limit:";

/// The key that the background task increments to check that Redis accepts writes.
const PROBE: &str = "probe";

/// Increments a counter and returns it with the milliseconds left in its window. A script is
/// atomic, so no key is left without an expiry. A value that another program has written in place
/// of the counter is replaced; otherwise it would end the counting of all users.
const COUNT: &str = "
    local count = redis.pcall('INCR', KEYS[1])
    if type(count) == 'table' then
        for _, fault in ipairs({'WRONGTYPE', 'not an integer', 'would overflow'}) do
            if string.find(count.err, fault) then
                redis.call('DEL', KEYS[1])
            end
        end
        count = redis.call('INCR', KEYS[1])
    end
    local left = redis.call('PTTL', KEYS[1])
    if left < 0 then
        redis.call('PEXPIRE', KEYS[1], ARGV[1])
        left = tonumber(ARGV[1])
    end
    return {count, left}";

/// A counter's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The count in this window, this call included.
    pub count: u64,
    /// The time until the window ends.
    pub left: Duration,
}

/// `REDIS_URL` is not valid.
#[derive(Debug, thiserror::Error)]
#[error("REDIS_URL is not valid: {0}")]
pub struct RedisUrlError(#[source] RedisError);

/// Why Redis did not count.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer within {} ms", _0.as_millis())]
    TimedOut(Duration),
    #[error(transparent)]
    Refused(#[from] RedisError),
}

impl Failure {
    /// What Redis did, without the words of the network, which may have names of other machines.
    fn label(&self) -> String {
        let Self::Refused(error) = self else {
            return self.to_string();
        };
        match error.code() {
            Some(code) if code != "ERR" => code.to_uppercase(),
            _ if error.is_timeout() => "no answer".to_owned(),
            _ if error.is_io_error() => "unreachable".to_owned(),
            _ => error.category().to_owned(),
        }
    }
}

/// Over TLS it trusts `SSL_CERT_FILE` if that is set, else the embedded roots.
fn client(url: &Secret) -> Result<Client, RedisError> {
    match tls::ca_bundle() {
        Some(bundle) if url.expose().starts_with("rediss:") => {
            let certificates = TlsCertificates {
                client_tls: None,
                root_cert: Some(bundle.to_vec()),
            };
            Client::build_with_tls(url.expose(), certificates)
        }
        _ => Client::open(url.expose()),
    }
}

/// Counts in fixed windows that start with their first count. Cheap to clone.
#[derive(Clone)]
pub struct RedisCounter(Arc<Shared>);

struct Shared {
    client: Client,
    connection: RwLock<ConnectionManager>,
    script: Script,
    up: AtomicBool,
    /// When and why it did not count when it was last asked.
    failure: Mutex<Option<(Timestamp, String)>>,
    clock: Clock,
    errors: IntCounter,
    /// Between the prefix and the caller's key.
    scope: String,
}

impl RedisCounter {
    /// Counts together with those of the same `scope`. Does not connect yet. `errors` counts
    /// failures. Must be called within a runtime.
    pub fn new(
        url: &Secret,
        scope: &str,
        clock: Clock,
        errors: IntCounter,
    ) -> Result<Self, RedisUrlError> {
        let client = client(url).map_err(RedisUrlError)?;
        let connection =
            ConnectionManager::new_lazy_with_config(client.clone(), connection_config())
                .map_err(RedisUrlError)?;
        Ok(Self(Arc::new(Shared {
            client,
            connection: RwLock::new(connection),
            script: Script::new(COUNT),
            up: AtomicBool::new(true),
            failure: Mutex::default(),
            clock,
            errors,
            scope: scope.to_owned(),
        })))
    }

    /// Whether the newest call was answered.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.up.load(Ordering::Relaxed)
    }

    /// When and why it did not count when it was last asked; `None` while it counts.
    #[must_use]
    pub fn failure(&self) -> Option<(Timestamp, String)> {
        let failure = self.0.failure.lock();
        failure.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Increments `key` in a window of `length`; `None` while Redis is down.
    pub async fn count(&self, key: &str, length: Duration) -> Option<Count> {
        if !self.is_up() {
            return None;
        }
        let connection = self.0.connection.read();
        let connection = connection.unwrap_or_else(PoisonError::into_inner).clone();
        let script = &self.0.script;
        let key = &format!("{}:{key}", self.0.scope);
        let mut counted = count(script, connection.clone(), key, length, TIMEOUT).await;
        // Redis closes connections that were idle for its `timeout`.
        if matches!(&counted, Err(Failure::Refused(error)) if error.is_connection_dropped()) {
            counted = count(script, connection, key, length, TIMEOUT).await;
        }
        match counted {
            Ok(count) => Some(count),
            Err(failure) => {
                self.0.failed(&failure);
                // One log line for each outage, not for each request.
                if self.0.up.swap(false, Ordering::Relaxed) {
                    tracing::warn!(error = %failure, "Redis is down; each replica counts rate limits separately");
                    tokio::spawn(reconnect_until_up(Arc::downgrade(&self.0)));
                }
                None
            }
        }
    }
}

impl Shared {
    fn failed(&self, failure: &Failure) {
        self.errors.inc();
        self.set_failure(Some((self.clock.now(), failure.label())));
    }

    fn set_failure(&self, failure: Option<(Timestamp, String)>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// Opens a new connection and replaces the old one if it works. TCP may take 15 minutes to
    /// notice that the machine at the other end of the old one is gone.
    async fn reconnect(&self) -> Result<(), Failure> {
        let connecting =
            ConnectionManager::new_with_config(self.client.clone(), connection_config());
        let connection = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| Failure::TimedOut(CONNECT_TIMEOUT))??;
        count(
            &self.script,
            connection.clone(),
            PROBE,
            RECONNECT_PAUSE,
            CONNECT_TIMEOUT,
        )
        .await?;
        *self
            .connection
            .write()
            .unwrap_or_else(PoisonError::into_inner) = connection;
        Ok(())
    }
}

async fn count(
    script: &Script,
    mut connection: ConnectionManager,
    key: &str,
    length: Duration,
    timeout: Duration,
) -> Result<Count, Failure> {
    let mut call = script.key(format!("{PREFIX}{key}"));
    call.arg(u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
    let answer = tokio::time::timeout(timeout, call.invoke_async(&mut connection)).await;
    let (count, left): (u64, u64) = answer.map_err(|_| Failure::TimedOut(timeout))??;
    Ok(Count {
        count,
        left: Duration::from_millis(left),
    })
}

fn connection_config() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(CONNECT_TIMEOUT))
        // The background task retries.
        .set_number_of_retries(0)
}

/// Retries until Redis works again or the counter is dropped.
async fn reconnect_until_up(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(RECONNECT_PAUSE).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        match shared.reconnect().await {
            Ok(()) => {
                shared.set_failure(None);
                shared.up.store(true, Ordering::Relaxed);
                tracing::info!("Redis is back; replicas share rate limits again");
                return;
            }
            Err(failure) => shared.failed(&failure),
        }
    }
}

impl std::fmt::Debug for RedisCounter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The connection contains the password.
        f.debug_struct("RedisCounter")
            .field("up", &self.0.up)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TLS finds its provider, and a server without TLS counts as down.
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
        let counter =
            RedisCounter::new(&Secret::new(url), "scope", Clock::system(), errors.clone()).unwrap();
        assert_eq!(counter.count("key", RECONNECT_PAUSE).await, None);
        assert_eq!(errors.get(), 1);
        let (_, reason) = counter.failure().unwrap();
        assert!(
            !reason.is_empty() && !reason.contains("127.0.0.1"),
            "{reason}"
        );
        // A handshake record of TLS (RFC 8446, section 5.1).
        assert_eq!(hello.await.unwrap(), [22, 3, 1]);
        // While Redis is down, callers do not wait for it.
        let started = std::time::Instant::now();
        assert_eq!(counter.count("key", RECONNECT_PAUSE).await, None);
        assert!(started.elapsed() < CONNECT_TIMEOUT / 2);
    }

    #[tokio::test]
    async fn its_password_is_not_shown() {
        let errors = IntCounter::new("errors", "errors").unwrap();
        let url = Secret::new("redis://:canary@127.0.0.1:1/0");
        let counter = RedisCounter::new(&url, "scope", Clock::system(), errors).unwrap();
        assert!(!format!("{counter:?}").contains("canary"));
    }
}
