//! What the black-box tests share: databases of their own.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses its own part of this"
)]

use std::time::Duration;

pub mod auth_peer;
mod http_peer;
pub mod mail_peer;
mod pgbouncer;
mod postgres;
mod redis;

pub use http_peer::{Answer, HttpPeer, Received};
pub use mail_peer::MailPeer;
pub use pgbouncer::PgBouncer;
pub use postgres::{TestDatabase, postgres_url};
pub use redis::RedisServer;

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

/// reqwest wants one, also for plain HTTP; a second call changes nothing.
fn use_tls_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
