//! The catalogue of known error messages of databases, poolers and the system: what they mean and
//! what to do.
//!
//! `serve` at start, `doctor`, `db check`, `explain` and the API's log all use it. To add a
//! message, add one entry to one of the tables.

mod connecting;
mod entry;
mod file;
mod hosted;
mod lookup;
mod network;
mod no_database;
mod on_server;
mod place;
mod quoted;
mod rescue;
mod supabase;
mod translated;
mod working;

pub(crate) use entry::{ConnectFault, KnownMessage, Retry};
#[cfg(test)]
pub(crate) use lookup::all;
pub(crate) use lookup::{by_code_in, by_fault, by_id, find};
pub(crate) use place::Place;
pub(crate) use quoted::quoted_name;
pub(crate) use rescue::made_again_from_rows;
pub(crate) use translated::of_database;
