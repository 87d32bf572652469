//! The background jobs, on both engines; contract 9.2 and 10.37 to 10.41.

mod command;
mod mail;
mod pooler;
mod reminders;
mod search;
mod world;
