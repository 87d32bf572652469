//! Network clients.

pub mod auth_server;
pub mod daemon;
mod http_client;
pub mod key_provider;
pub mod mail;
pub mod reach;
pub mod redis;
mod tls;

pub(crate) use http_client::ClientError;
