//! What an answer says about the outcome of a request.

use chrono::DateTime;
use serde_json::Value;

use crate::fold::fold;
use crate::ledger::{Action, Filter, Outcome, Seen, Start, View};

/// The outcome of a request of `owner`; `None` for an answer that the contract does not allow.
pub fn understand(action: &Action, code: u16, body: &Value, owner: &str) -> Option<Outcome> {
    match (action, code) {
        // With a key it may be repeated, whatever became of it.
        (Action::Create { has_key: true, .. }, 503) | (Action::Create { .. }, 409) => {
            Some(Outcome::Unknown)
        }
        (_, 503) => Some(Outcome::Unavailable),
        (Action::Create { .. }, 201) => seen(body, owner).map(|seen| Outcome::Done(vec![seen])),
        (Action::Change { id, .. } | Action::Read { id, .. }, 200) => seen(body, owner)
            .filter(|seen| seen.id == *id)
            .map(|seen| Outcome::Done(vec![seen])),
        (
            Action::Read {
                known: Some(known), ..
            },
            304,
        ) => Some(Outcome::Done(vec![known.clone()])),
        (Action::Delete { .. }, 204) => Some(Outcome::Done(Vec::new())),
        (Action::BulkDelete { ids, others }, 200) => deleted(body, ids, others),
        (
            Action::List {
                filter,
                start,
                limit,
            },
            200,
        ) => listed(body, owner, filter, *start, *limit),
        (Action::Change { .. } | Action::Delete { .. } | Action::Read { .. }, 404) => {
            Some(Outcome::NotFound)
        }
        (Action::Change { .. } | Action::Delete { .. }, 412) => Some(Outcome::PreconditionFailed),
        _ => None,
    }
}

/// A task in an answer, which must be the owner's.
pub fn seen(task: &Value, owner: &str) -> Option<Seen> {
    (task["user_id"] == *owner).then_some(())?;
    let description = task["description"].as_str()?;
    let (birth, note) = description.split_once(' ').unwrap_or((description, ""));
    Some(Seen {
        id: task["id"].as_i64()?,
        birth: birth.to_owned(),
        created: micros(&task["created_at"])?,
        view: View {
            title: task["title"].as_str()?.to_owned(),
            completed: task["completed"].as_bool()?,
            note: note.to_owned(),
            priority: task["priority"].as_str()?.to_owned(),
            due: match &task["due_date"] {
                Value::Null => None,
                due => Some(micros(due)?),
            },
            updated: micros(&task["updated_at"])?,
        },
    })
}

/// A time in an answer, in microseconds since 1970.
pub fn micros(time: &Value) -> Option<i64> {
    let time = DateTime::parse_from_rfc3339(time.as_str()?).ok()?;
    Some(time.timestamp_micros())
}

/// Every id is in one of the two lists, in the order of the request.
fn deleted(body: &Value, ids: &[i64], others: &[i64]) -> Option<Outcome> {
    let list = |name: &str| serde_json::from_value::<Vec<i64>>(body[name].clone()).ok();
    let (deleted, not_found) = (list("deleted")?, list("not_found")?);
    let (there, gone): (Vec<i64>, Vec<i64>) = ids.iter().partition(|id| deleted.contains(id));
    (deleted == there && not_found == [&gone, others].concat()).then_some(Outcome::Deleted(deleted))
}

fn listed(
    body: &Value,
    owner: &str,
    filter: &Filter,
    start: Start,
    limit: usize,
) -> Option<Outcome> {
    let seen = body["tasks"]
        .as_array()?
        .iter()
        .map(|task| seen(task, owner))
        .collect::<Option<Vec<_>>>()?;
    let is_sorted = seen
        .windows(2)
        .all(|pair| pair[0].position() > pair[1].position());
    let is_asked_for = seen.iter().all(|task| is_match(filter, task));
    let count = seen.len();
    let is_last = match start {
        Start::Page(page) => {
            let (total, before) = (body["total"].as_u64()?, (page - 1).unsigned_abs());
            let limit = u64::try_from(limit).ok()?;
            let left = total.saturating_sub(before * limit);
            // A page after the last one is counted by another statement.
            let is_counted = u64::try_from(count).ok()? == left.min(limit);
            let is_empty_end = count == 0 && page > 1;
            (is_counted || is_empty_end).then_some(())?;
            (body["page"] == page && body["limit"] == limit).then_some(())?;
            (body["pages"] == total.div_ceil(limit).max(1)).then_some(())?;
            left <= limit
        }
        Start::Cursor(after) => {
            let is_last = body.get("next_cursor")?.is_null();
            (count <= limit && (is_last || count == limit)).then_some(())?;
            let first = seen.first().map(Seen::position);
            (after.is_none() || first < after).then_some(())?;
            is_last
        }
    };
    (is_sorted && is_asked_for).then_some(Outcome::Listed { seen, is_last })
}

/// Whether a list with this filter has the task.
pub fn is_match(filter: &Filter, task: &Seen) -> bool {
    let Filter {
        search,
        completed,
        priority,
        due,
    } = filter;
    let view = &task.view;
    let is_found = |text: &String| {
        let text = fold(text);
        fold(&view.title).contains(&text)
            || fold(&task.birth).contains(&text)
            || fold(&view.note).contains(&text)
    };
    search.as_ref().is_none_or(is_found)
        && completed.is_none_or(|completed| completed == view.completed)
        && priority.is_none_or(|priority| priority == view.priority)
        && due.is_none_or(|due| Some(due) == view.due)
}
