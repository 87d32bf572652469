//! What the test programs share: databases, servers that stand in for others, and the daemon as a
//! process.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses a part of this"
)]

use std::time::{Duration, Instant};

pub mod auth_peer;
mod cluster;
mod database;
mod http_peer;
mod mail_peer;
mod network;
mod not_tried;
mod pgbouncer;
pub mod ports;
mod postgres;
pub mod process;
mod redis;
pub mod remedies;
pub mod texts;

pub use cluster::Cluster;
pub use database::{Database, Engine, database_config};
pub use http_peer::{Answer, HttpPeer, Received};
pub use mail_peer::MailPeer;
pub use network::Network;
pub use not_tried::{may_mount, not_tried};
pub use pgbouncer::PgBouncer;
pub use postgres::{TestDatabase, on_server, postgres_target, postgres_url};
pub use redis::RedisServer;

/// How long something that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// Asks `probe` until it says yes.
///
/// # Panics
/// When that takes more than 40 seconds: `what` did not happen.
pub async fn eventually(what: &str, mut probe: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !probe().await {
        assert!(Instant::now() < deadline, "not within 40 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// [`eventually`] for tests without a runtime.
pub fn blocking_eventually(what: &str, mut probe: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !probe() {
        assert!(Instant::now() < deadline, "not within 40 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A fresh folder for a SQLite database, deleted with its value.
pub fn sqlite_dir() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("todoctl-test-")
        .tempdir()
        .unwrap_or_else(|error| panic!("cannot make a temporary folder: {error}"))
}

/// The start of every HTTP client: straight to the daemon, no redirects followed.
pub fn http_client() -> reqwest::ClientBuilder {
    use_tls_provider();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(30))
}

/// The same for tests without a runtime.
pub fn blocking_http_client() -> reqwest::blocking::Client {
    use_tls_provider();
    reqwest::blocking::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap_or_else(|error| panic!("no HTTP client: {error}"))
}

/// reqwest requires one, also for plain HTTP; a second call changes nothing.
fn use_tls_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
