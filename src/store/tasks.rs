//! Tasks: their columns and the units of work on them.

// First, because the others use its macro `task_columns!`.
#[macro_use]
mod columns;
mod change;
mod conditional;
mod create;
mod filter;
mod list;
mod search;

pub use conditional::Conditional;
pub(super) use create::{INSERT, insert_args};
pub use filter::TaskFilter;
pub use list::TaskPosition;
