//! The HTTP contract, spoken to a running server, on both engines.

mod access;
mod api_keys;
mod auth_server;
mod auth_server_keys;
mod authentication;
mod clients;
mod conditional;
mod create;
mod cursor;
pub mod daemon;
mod errors;
mod headers;
mod idempotency;
mod key_attempts;
mod late;
mod limits;
mod list;
mod notifications;
mod operations;
mod outcomes;
mod overload;
pub mod request;
mod shares;
mod tokens;
mod unsent;
mod unstorable;
mod update_delete;
