//! The jobs beside requests, on both engines; contract 9.2 and 10.37 to 10.41.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is what ends a test"
)]

#[path = "../support/mod.rs"]
mod support;

mod command;
mod mail;
mod pooler;
mod process;
mod reminders;
mod world;

/// Expands to one test an engine; the body is given a [`world::World`].
macro_rules! on_both_engines {
    ($($(#[$attribute:meta])* async fn $name:ident($world:ident) $body:block)+) => {$(
        $(#[$attribute])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn body($world: $crate::world::World) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                body($crate::world::World::on_sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                body($crate::world::World::on_postgres().await).await;
            }
        }
    )+};
}
pub(crate) use on_both_engines;
