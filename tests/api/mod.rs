//! The HTTP contract, spoken to a running server, on both engines.

mod api_keys;
mod auth_server;
mod auth_server_keys;
mod authentication;
mod clients;
mod conditional;
mod create;
mod cursor;
mod daemon;
mod errors;
mod headers;
mod idempotency;
mod key_attempts;
mod limits;
mod list;
mod notifications;
mod operations;
mod outcomes;
mod tokens;
mod update_delete;

use daemon::Daemon as Fixture;

/// The same for tests that set their daemons up themselves.
macro_rules! for_both_engines {
    ($($(#[$attribute:meta])* async fn $name:ident($engine:ident) $body:block)+) => {$(
        $(#[$attribute])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn body($engine: $crate::api::daemon::Engine) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                body($crate::api::daemon::Engine::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                body($crate::api::daemon::Engine::Postgres).await;
            }
        }
    )+};
}
pub(crate) use for_both_engines;
