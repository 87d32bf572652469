//! Checks: what is fine, what is not, and what to do about it.
//!
//! A check is a definition ([`check`]) in the table of its group ([`groups`]); [`runner`] runs
//! them. A check returns a verdict and never an error, so one fault does not hide the next.
//! Nothing here prints, and nothing changes anything; [`remedies`] tries what would, and rolls it
//! back.

mod check;
mod collected;
mod config;
mod context;
mod daemon;
mod daemon_user;
mod database;
mod description;
mod directory;
pub(crate) mod explain;
mod fix;
mod groups;
mod halted;
mod observed;
mod probe;
mod process_limit;
mod remedies;
mod report;
mod runner;
mod services;
mod session;
mod verdict;

pub(crate) use context::{Context, Request};
pub(crate) use database::refuse_log_of_another;
pub(crate) use description::{Description, describe};
pub(crate) use fix::Fix;
pub(crate) use groups::{GROUPS, Group, ids};
pub(crate) use probe::{
    TRY_DISK, all_started_with, daemons, is_todoctl, named_env_file, try_disk, with_daemon,
};
pub(crate) use report::{Finding, FixOutcome, Fixed, Report};
pub(crate) use runner::{run, selects};
pub(crate) use verdict::Outcome;
