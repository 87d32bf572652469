//! The types of fields: how each is read, with which error codes, and its OpenAPI schema.

mod field_type;
mod file_name;
mod id;
mod key;
mod query;
mod task;

pub(super) use field_type::FieldType;
pub(super) use file_name::FileName;
pub(crate) use id::{ItemId, RowId};
pub(super) use key::{KeyText, Provider};
pub(super) use query::{Cursor, Day, Flag, Limit, Page, Search};
