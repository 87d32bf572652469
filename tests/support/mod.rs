//! What the black-box tests share: databases of their own.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses its own part of this"
)]

use std::time::Duration;

pub mod auth_peer;
mod http_peer;
mod mail_peer;
mod pgbouncer;
mod postgres;
pub mod process;
mod redis;

pub use http_peer::{Answer, HttpPeer, Received};
pub use mail_peer::MailPeer;
pub use pgbouncer::PgBouncer;
pub use postgres::{TestDatabase, postgres_url};
pub use redis::RedisServer;

/// Expands to one test an engine; the body is given a running `Fixture` of the test program.
#[allow(unused_macros, reason = "not every test program has a fixture")]
macro_rules! on_both_engines {
    ($($(#[$attribute:meta])* async fn $name:ident($fixture:ident) $body:block)+) => {$(
        $(#[$attribute])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn body($fixture: Fixture) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                body(Fixture::on_sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                body(Fixture::on_postgres().await).await;
            }
        }
    )+};
}
#[allow(unused_imports, reason = "not every test program has a fixture")]
pub(crate) use on_both_engines;

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
