//! Tasks, notifications, ids and timestamps, and the rules of their fields. No I/O.

#![allow(missing_docs, reason = "a comment that repeats its name says nothing")]

mod folding;
mod idempotency_key;
mod json;
mod notification;
mod placeholder;
mod priority;
mod provider_key;
mod session_token;
mod task;
mod text;
mod timestamp;
mod user_id;

pub use folding::fold;
pub use idempotency_key::{IdempotencyKey, IdempotencyKeyError};
pub(crate) use json::write_json_text;
pub use notification::{Notification, NotificationId, NotificationKind};
pub use placeholder::{PLACEHOLDERS, UNFILLED, is_placeholder};
pub use priority::{ParsePriorityError, Priority};
pub use provider_key::{EncryptedKey, ProviderKey, ProviderKeyError};
pub use session_token::{SESSION_BYTES, SESSION_PREFIX, is_cut_session_token, session_token};
pub use task::{NewTask, Patch, Task, TaskChanges, TaskId};
pub use text::{Description, TextError, Title};
pub use timestamp::{ParseTimestampError, Timestamp, TimestampRangeError};
pub use user_id::{UserId, UserIdError};
