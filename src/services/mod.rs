//! Network clients.

pub(crate) mod auth_server;
pub(crate) mod daemon;
pub(crate) mod http_client;
pub(crate) mod key_provider;
pub(crate) mod last_database;
pub(crate) mod left_secrets;
pub mod mail;
pub(crate) mod memory_kills;
pub(crate) mod missing_file;
pub(crate) mod redis;
pub(crate) mod run_record;
pub(crate) mod tls;

pub(crate) use http_client::ClientError;
pub(crate) use tls::trust;
