//! `Idempotency-Key` on `POST /tasks/`; contract 13.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::Value;

use crate::domain::{IdempotencyKey, NewTask, Task};
use crate::store::{Once, Store};

use super::conditional::represent_new;
use super::error::ApiError;
use super::input::{Code, ValidationErrors};
use super::json::ToJson as _;
use super::reply::Reply;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Tells a client that the task was created by an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The request's key, if it has one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let refuse = |problem| ApiError::Header {
        name: "Idempotency-Key",
        problem,
    };
    let mut sent = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = sent.next() else {
        return Ok(None);
    };
    if sent.next().is_some() {
        return Err(refuse("must be sent once".into()));
    }
    IdempotencyKey::new(value.as_bytes())
        .map(Some)
        .map_err(|error| refuse(error.to_string().into()))
}

/// Creates a task, or repeats the answer of the request that created it.
pub(super) async fn create_once(
    store: &Store,
    task: &NewTask,
    key: &IdempotencyKey,
) -> Result<Reply, ApiError> {
    // JSON is a text, so this cannot fail.
    let answer = |task: &Task| String::from_utf8(task.to_json()).unwrap_or_default();
    let digest = digest(task)?;
    match store.create_task_once(task, key, &digest, answer).await? {
        Once::Created(body) => Ok(represent_new(body.into_bytes())),
        Once::Repeated(body) => {
            let reply = represent_new(body.into_bytes());
            Ok(reply.with_header(REPLAYED, HeaderValue::from_static("true")))
        }
        Once::Reused => {
            let errors = ValidationErrors::single(
                "header.Idempotency-Key",
                Code::IdempotencyKeyReused,
                "The key was used before, for a different task",
                &Value::Null,
            );
            Err(errors.into())
        }
    }
}

/// A digest of a whole command. It distinguishes a repeated request from a different one.
///
/// It covers what the body means, not its bytes: a client may write the same JSON differently when
/// it repeats a request. Fields without a value are left out, so that a version with one more
/// nullable field still recognises the requests that an earlier version answered.
fn digest(command: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut canonical = serde_json::to_value(command)?;
    if let Value::Object(fields) = &mut canonical {
        fields.retain(|_, value| !value.is_null());
        fields.sort_keys();
    }
    Ok(blake3::hash(canonical.to_string().as_bytes())
        .to_hex()
        .to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Description, Priority, Title, UserId};

    /// contract 13: every field of a task counts, and one that is absent does not.
    #[test]
    fn the_digest_covers_every_field() {
        let task = NewTask {
            user_id: UserId::new("alice").unwrap(),
            title: Title::new("t").unwrap(),
            description: None,
            priority: Priority::Medium,
            due_date: None,
        };
        let same = digest(&task).unwrap();
        assert_eq!(digest(&task.clone()).unwrap(), same);
        let value = serde_json::to_value(&task).unwrap();
        for name in value.as_object().unwrap().keys() {
            let mut other = value.clone();
            other[name] = Value::from("another");
            assert_ne!(digest(&other).unwrap(), same, "{name}");
        }
        let mut later = value;
        later["added_later"] = Value::Null;
        assert_eq!(digest(&later).unwrap(), same);
        let described = NewTask {
            description: Description::new("d").unwrap(),
            ..task
        };
        assert_ne!(digest(&described).unwrap(), same);
    }
}
