//! Input of requests: path segments, query parameters and JSON bodies.
//!
//! Each body and each query is declared once, with [`input!`](declaration::input): the names of
//! its fields, whether they are required, and their types. The struct, the reader and the OpenAPI
//! schema follow from the declaration. The reader reports every error of a request at once.
//!
//! - [`errors`]: the errors of contract 1.1 and their collector
//! - [`types`]: how the type of one field is read, and its schema
//! - [`presence`]: required, optional, nullable, and what null means
//! - [`declaration`]: declarations, what follows from them, and the macro
//! - [`json`]: from bytes to a JSON value
//! - [`tasks`], [`keys`], [`paths`]: the declarations

mod declaration;
mod errors;
mod json;
mod keys;
mod paths;
mod presence;
mod schema;
mod tasks;
mod types;

pub(crate) use declaration::{Declaration, Field, Input, Location, Sources, read};
pub(crate) use errors::{Code, FieldError, ValidationErrors};
pub(crate) use json::{BodyError, parse_json};
pub(crate) use keys::SaveKey;
pub(crate) use paths::{NotificationPath, TaskPath};
pub(crate) use tasks::{BulkDelete, CompleteTask, CreateTask, ListTasks, Paging, UpdateTask};
pub(crate) use types::{ItemId, RowId};
