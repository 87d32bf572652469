//! A task as the checker sees it, and what each request does to it.

use crate::ledger::Moment;

/// The fields of a task. Their values are numbers, from 1.
pub const FIELDS: usize = 6;
pub const TITLE: usize = 0;
pub const COMPLETED: usize = 1;
pub const NOTE: usize = 2;
pub const PRIORITY: usize = 3;
pub const DUE: usize = 4;
/// When the task was changed last.
pub const UPDATED: usize = 5;

pub type Fields = [u32; FIELDS];

/// The value of [`UPDATED`] after a change that was not answered: the next answer shows it.
pub const UNKNOWN: u32 = 0;

/// A task: `None` before its creation and after its deletion.
pub type State = Option<Fields>;

/// Values of some fields.
pub type Values = [Option<u32>; FIELDS];

/// Every task has these.
pub const ANY: Values = [None; FIELDS];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Create(Fields),
    Change(Values),
    Delete,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The task after the request.
    Is(Fields),
    /// Deleted now.
    Deleted,
    /// There is no such task with these values.
    Absent(Values),
    /// There is one, and it is not what the request expected.
    Refused,
    /// None: it had its effect or not.
    None,
}

/// One request about one task.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub sent: Moment,
    /// It has no effect after this; `None`: no limit.
    pub until: Option<Moment>,
    pub effect: Effect,
    /// What it requires the task to be (`If-Match`).
    pub expected: Option<Fields>,
    pub answer: Answer,
}

impl Step {
    pub fn is_optional(&self) -> bool {
        self.answer == Answer::None
    }

    /// Whether it may have changed the task without anybody knowing.
    pub fn is_uncertain(&self) -> bool {
        self.is_optional() && self.effect != Effect::None
    }

    /// The state after the step; `None` if the answer contradicts it. With `lenient`, a refusal
    /// may have a reason that nobody saw.
    pub fn apply(&self, state: State, lenient: bool) -> Option<State> {
        let meets = match (self.expected, state) {
            (None, _) => true,
            (Some(expected), Some(now)) => agree(expected, now).is_some(),
            (Some(_), None) => false,
        };
        let next = match (self.effect, state) {
            (Effect::Create(fields), None) => Some(fields),
            (Effect::Create(_), Some(_)) => return None,
            (Effect::Change(changes), Some(now)) if meets => Some(changed(now, changes)),
            (Effect::Delete, Some(_)) if meets => None,
            (_, unchanged) => unchanged,
        };
        match self.answer {
            Answer::Is(seen) => {
                let known = agree(seen, next?)?;
                (meets || self.effect == Effect::None).then_some(Some(known))
            }
            Answer::Deleted => (state.is_some() && meets).then_some(next),
            Answer::Absent(values) => {
                let has = state.is_some_and(|now| has_values(now, values));
                (!has).then_some(state)
            }
            // A refused change leaves the task as it is.
            Answer::Refused => {
                let now = state?;
                let is_met = self.expected == state && now[UPDATED] != UNKNOWN;
                (lenient || !is_met).then_some(state)
            }
            Answer::None => Some(next),
        }
    }
}

/// The task that both are, if they may be the same.
fn agree(one: Fields, other: Fields) -> Option<Fields> {
    let mut known = one;
    if one[UPDATED] == UNKNOWN {
        known[UPDATED] = other[UPDATED];
    }
    let is_same = one[..UPDATED] == other[..UPDATED]
        && (other[UPDATED] == UNKNOWN || known[UPDATED] == other[UPDATED]);
    is_same.then_some(known)
}

fn changed(now: Fields, changes: Values) -> Fields {
    if changes == ANY {
        return now;
    }
    let mut next = now;
    for (field, change) in next.iter_mut().zip(changes) {
        *field = change.unwrap_or(*field);
    }
    next[UPDATED] = UNKNOWN;
    next
}

fn has_values(now: Fields, values: Values) -> bool {
    now.iter()
        .zip(values)
        .all(|(field, value)| value.is_none_or(|value| value == *field))
}
