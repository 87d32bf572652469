//! Tasks: what is stored of one, and the units of work on them.

mod change;
mod columns;
mod conditional;
mod create;
mod list;

pub use conditional::Conditional;
pub(super) use create::{INSERT, insert_args};
pub use list::{TaskFilter, TaskPage, TaskPosition, TaskSlice};
