//! Read-only questions to databases and services. The daemon does not use them.

mod connection;
mod disk;
mod dry_run;
mod environment;
mod file;
mod file_pages;
mod holders;
mod kernel_log;
mod lent;
mod listener;
mod log_pages;
mod network;
mod open_file;
mod out_of_sight;
mod pgbouncer;
mod pooler;
mod pooler_files;
mod program;
pub(super) mod reach;
mod server;
mod tls;
mod work;

pub(crate) use connection::{Connection, FileConnection, ServerConnection, ServerVersion};
pub(crate) use disk::{Stuck, TRY_DISK, try_disk};
pub(crate) use dry_run::{Attempt, DryRun};
pub(crate) use environment::{
    Environment, all_started_with, environments, started_with, started_with_argument, with_daemon,
};
pub(crate) use file::{Dangling, FileFacts, FileSystem, Pages, Statistics, is_writable};
pub(crate) use file_pages::Tree;
pub(crate) use holders::{Holder, LASTING, Use, holders, lasting_holders};
pub(crate) use kernel_log::was_killed_for_memory;
pub(crate) use lent::{LentSession, lent_sessions};
pub(crate) use listener::{Listener, State, listener, listening_at, state_of};
pub(crate) use log_pages::size_with_log;
pub(crate) use network::{Address, connect, resolve};
pub(crate) use open_file::{
    KeptOpen, KeptSecret, Place, User, account_of, daemon_with, daemon_with_other_file,
    daemon_without_env_file, daemons, daemons_of, kept_open, kept_secret, named_env_file,
    nameless_database, open_database,
};
pub(crate) use out_of_sight::{OutOfSight, Why, has_own_mounts, has_own_network, out_of_sight};
pub(crate) use pgbouncer::PgBouncer;
pub(crate) use pooler::{PreparedStatements, prepared_statements, reuses_backend};
pub(crate) use pooler_files::{PoolerFiles, Stored, is_this_machine};
pub(crate) use program::is_todoctl;
pub(crate) use server::{Capacity, Role, Search, Setting};
pub(crate) use tls::{TlsFinding, Trust, inspect_tls};
pub(crate) use work::{
    Activity, Age, Archiver, IDLE_SECONDS, Index, Load, Origin, Prepared, Reader, Replica,
    Replication, SettingNow, Slot, Table, Users, WorkSession, statement_kind,
};
