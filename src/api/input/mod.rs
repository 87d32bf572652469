//! Input of requests: path segments, query parameters and JSON bodies.
//!
//! Each body, query and path is declared once, with the macro in [`reader`]: the names of its
//! fields, whether they are required, and their types. The struct, its reader and its OpenAPI
//! schema follow from the declaration. All errors of a request are reported together.
//!
//! - [`tasks`], [`keys`], [`paths`], [`headers`]: the declarations
//! - [`types`]: the type of a field: its reader, its error codes, its schema
//! - [`presence`]: whether a field is required, and what its absence and null mean
//! - [`reader`], [`json`]: reading a request
//! - [`declaration`], [`schema`]: the OpenAPI side
//! - [`errors`]: the errors of contract 1.1

mod declaration;
mod errors;
mod headers;
mod json;
mod keys;
mod paths;
mod presence;
mod reader;
mod schema;
mod tasks;
mod types;

pub(crate) use declaration::Declaration;
pub(crate) use errors::{Code, FieldError, ValidationErrors};
pub(crate) use headers::{CHANGE_CONDITIONS, CREATE_ONCE, READ_CONDITIONS, REFRESH_COOKIES};
pub(crate) use json::{BodyError, parse_json};
pub(crate) use keys::SaveKey;
pub(crate) use paths::{AssetPath, NotificationPath, TaskPath};
pub(crate) use reader::{Input, Sources, read};
pub(crate) use tasks::{BulkDelete, CompleteTask, CreateTask, ListTasks, Paging, UpdateTask};
pub(crate) use types::{ItemId, RowId};

#[cfg(test)]
mod tests;
