//! Read-only questions to databases and services. The daemon does not use them.

mod connection;
mod file;
mod network;
mod pooler;
pub(super) mod reach;
mod server;
mod tls;

pub(crate) use connection::{Connection, FileConnection, ServerConnection, ServerVersion};
pub(crate) use file::{FileFacts, FileSystem, is_writable};
pub(crate) use network::{Address, connect, resolve};
pub(crate) use pooler::{PreparedStatements, prepared_statements, shares_backend};
pub(crate) use server::{Capacity, Role, Search, Setting};
pub(crate) use tls::{TlsFinding, Trust, inspect_tls};
