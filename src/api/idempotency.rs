//! `Idempotency-Key` on `POST /tasks/`; contract 13.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use warp::reply::Response;

use crate::domain::{IdempotencyKey, NewTask, Task};
use crate::store::{Once, Store};

use super::conditional::represent_new;
use super::error::ApiError;
use super::validation::Faults;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Tells a client that the task was created by an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The request's key, if it has one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut sent = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = sent.next() else {
        return Ok(None);
    };
    if sent.next().is_some() {
        return Err(ApiError::bad_request("Idempotency-Key must be sent once"));
    }
    IdempotencyKey::new(value.as_bytes())
        .map(Some)
        .map_err(|error| ApiError::bad_request(format!("Idempotency-Key: {error}")))
}

/// Creates a task, or gives the answer of when it was created before.
pub(super) async fn create_once(
    store: &Store,
    task: &NewTask,
    key: &IdempotencyKey,
) -> Result<Response, ApiError> {
    // A task is texts, numbers and times, so writing it as JSON cannot fail.
    let answer = |task: &Task| serde_json::to_string(task).unwrap_or_default();
    let fingerprint = fingerprint(task);
    match store
        .create_task_once(task, key, &fingerprint, answer)
        .await?
    {
        Once::Created(body) => Ok(represent_new(body.into_bytes())),
        Once::Repeated(body) => {
            let mut response = represent_new(body.into_bytes());
            response
                .headers_mut()
                .insert(REPLAYED, HeaderValue::from_static("true"));
            Ok(response)
        }
        Once::Reused => {
            let mut faults = Faults::default();
            faults.add(
                "header.Idempotency-Key",
                "idempotency_key_reused",
                "The key was used for another task before",
                &Value::Null,
            );
            faults.finish(None)
        }
    }
}

/// Tells one task to be created from another. It is taken of what the body
/// means, not of its bytes: a client may write the same JSON differently when
/// it asks again.
fn fingerprint(task: &NewTask) -> String {
    let parts = (&task.title, &task.description, task.priority, task.due_date);
    // As above, this cannot fail.
    let text = serde_json::to_vec(&parts).unwrap_or_default();
    blake3::hash(&text).to_hex().to_string()
}
