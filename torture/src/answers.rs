//! What an answer says about the outcome of a request.

use serde_json::Value;

use crate::ledger::{Action, Outcome, Seen, View};

/// The outcome of a request of `owner`; `None` for an answer that the contract does not allow.
pub fn understand(action: &Action, code: u16, body: &Value, owner: &str) -> Option<Outcome> {
    let seen = |tasks: &[Value]| {
        tasks
            .iter()
            .map(|task| seen(task, owner))
            .collect::<Option<Vec<_>>>()
    };
    match (action, code) {
        // With a key it may be repeated, whatever became of it.
        (Action::Create { has_key: true, .. }, 503) | (Action::Create { .. }, 409) => {
            Some(Outcome::Unknown)
        }
        (_, 503) => Some(Outcome::Unavailable),
        (Action::Create { .. }, 201) | (Action::Change { .. } | Action::Read { .. }, 200) => {
            seen(std::slice::from_ref(body)).map(Outcome::Done)
        }
        (Action::Delete { .. }, 204) => Some(Outcome::Done(Vec::new())),
        (Action::BulkDelete { ids }, 200) => {
            serde_json::from_value::<Vec<i64>>(body["deleted"].clone())
                .ok()
                .filter(|deleted| deleted.iter().all(|id| ids.contains(id)))
                .map(Outcome::Deleted)
        }
        (Action::List { .. }, 200) => seen(body["tasks"].as_array()?).map(Outcome::Done),
        (Action::Change { .. } | Action::Delete { .. } | Action::Read { .. }, 404) => {
            Some(Outcome::NotFound)
        }
        (Action::Change { .. } | Action::Delete { .. }, 412) => Some(Outcome::PreconditionFailed),
        _ => None,
    }
}

/// A task in an answer, which must be the owner's.
fn seen(task: &Value, owner: &str) -> Option<Seen> {
    (task["user_id"] == *owner).then_some(())?;
    Some(Seen {
        id: task["id"].as_i64()?,
        birth: task["description"].as_str()?.to_owned(),
        view: View {
            title: task["title"].as_str()?.to_owned(),
            completed: task["completed"].as_bool()?,
        },
    })
}
