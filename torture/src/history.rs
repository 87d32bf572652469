//! A task's requests as steps, for the search for an order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;

use crate::ledger::{Action, Changes, Entry, Filter, Outcome, Position, Start, View};
use crate::model::{
    ANY, Answer, COMPLETED, DUE, Effect, FIELDS, Fields, NOTE, PRIORITY, Step, TITLE, UNKNOWN,
    UPDATED, Values,
};

/// What is known about a task.
#[derive(Debug, Default)]
pub struct History {
    pub user: usize,
    pub steps: Vec<Step>,
    /// Which of the steps were answered with 503.
    pub unavailable: Vec<usize>,
    pub is_there: bool,
}

impl History {
    pub fn push(&mut self, step: Step, is_unavailable: bool) {
        if is_unavailable {
            self.unavailable.push(self.steps.len());
        }
        self.steps.push(step);
    }
}

/// Numbers for values, which the search compares.
#[derive(Debug, Default)]
pub struct Numbers {
    texts: HashMap<String, u32>,
    times: HashMap<Option<i64>, u32>,
}

impl Numbers {
    fn text(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.texts.get(text) {
            return number;
        }
        let next = after(self.texts.len());
        self.texts.insert(text.to_owned(), next);
        next
    }

    fn time(&mut self, time: Option<i64>) -> u32 {
        let next = after(self.times.len());
        *self.times.entry(time).or_insert(next)
    }

    pub fn view(&mut self, view: &View) -> Fields {
        let mut fields = [0; FIELDS];
        fields[TITLE] = self.text(&view.title);
        fields[COMPLETED] = number_of(view.completed);
        fields[NOTE] = self.text(&view.note);
        fields[PRIORITY] = self.text(&view.priority);
        fields[DUE] = self.time(view.due);
        fields[UPDATED] = self.time(Some(view.updated));
        fields
    }

    /// A new task; when it was created is not known.
    pub fn created(&mut self, birth: &str, task: &Changes) -> Fields {
        let mut fields = self.view(&View {
            title: birth.to_owned(),
            completed: false,
            note: String::new(),
            priority: task.priority.unwrap_or("Medium").to_owned(),
            due: task.due.flatten(),
            updated: 0,
        });
        fields[UPDATED] = UNKNOWN;
        fields
    }

    fn changes(&mut self, changes: &Changes) -> Values {
        let mut values = ANY;
        values[TITLE] = changes.title.as_ref().map(|title| self.text(title));
        values[COMPLETED] = changes.completed.map(number_of);
        values[NOTE] = changes.note.as_ref().map(|note| self.text(note));
        values[PRIORITY] = changes.priority.map(|priority| self.text(priority));
        values[DUE] = changes.due.map(|due| self.time(due));
        values
    }

    /// The values that put a task into a list, whatever else it is.
    pub fn filter(&mut self, filter: &Filter) -> Values {
        self.changes(&Changes {
            title: filter.search.clone(),
            completed: filter.completed,
            note: None,
            priority: filter.priority,
            due: filter.due.map(Some),
        })
    }
}

fn after(count: usize) -> u32 {
    u32::try_from(count + 1).unwrap_or(u32::MAX)
}

fn number_of(completed: bool) -> u32 {
    1 + u32::from(completed)
}

/// What an entry says about tasks that it names, creates excepted.
pub fn steps(entry: &Entry, numbers: &mut Numbers) -> Vec<(i64, Step)> {
    let mut about = |id: i64, effect: Effect, expected: Option<&View>, done: Answer| {
        let (until, answer) = match &entry.outcome {
            Outcome::Done(_) | Outcome::Listed { .. } | Outcome::Deleted(_) => {
                (Some(entry.answered), done)
            }
            Outcome::NotFound => (Some(entry.answered), Answer::Absent(ANY)),
            Outcome::PreconditionFailed => (Some(entry.answered), Answer::Refused),
            Outcome::Unavailable => (Some(entry.answered), Answer::None),
            Outcome::Unknown => (None, Answer::None),
            Outcome::NotSent => return Vec::new(),
        };
        let expected = expected.map(|view| numbers.view(view));
        vec![(
            id,
            Step {
                sent: entry.sent,
                until,
                effect,
                expected,
                answer,
            },
        )]
    };
    match (&entry.action, &entry.outcome) {
        (
            Action::Change {
                id,
                changes,
                expected,
            },
            outcome,
        ) => {
            let mut steps = about(*id, Effect::None, expected.as_ref(), Answer::None);
            for (_, step) in &mut steps {
                step.effect = Effect::Change(numbers.changes(changes));
                if let Outcome::Done(seen) = outcome
                    && let Some(seen) = seen.first()
                {
                    step.answer = Answer::Is(numbers.view(&seen.view));
                }
            }
            steps
        }
        (Action::Delete { id, expected }, _) => {
            about(*id, Effect::Delete, expected.as_ref(), Answer::Deleted)
        }
        (Action::BulkDelete { ids, .. }, outcome) => ids
            .iter()
            .flat_map(|id| {
                let done = match outcome {
                    Outcome::Deleted(deleted) if !deleted.contains(id) => Answer::Absent(ANY),
                    _ => Answer::Deleted,
                };
                about(*id, Effect::Delete, None, done)
            })
            .collect(),
        (Action::Read { id, .. }, Outcome::NotFound) => {
            vec![(*id, read(entry, Answer::Absent(ANY)))]
        }
        (Action::Read { .. }, Outcome::Done(seen))
        | (Action::List { .. }, Outcome::Listed { seen, .. }) => seen
            .iter()
            .map(|seen| (seen.id, read(entry, Answer::Is(numbers.view(&seen.view)))))
            .collect(),
        (Action::Create { .. } | Action::Read { .. } | Action::List { .. }, _) => Vec::new(),
    }
}

pub fn read(entry: &Entry, answer: Answer) -> Step {
    Step {
        sent: entry.sent,
        until: Some(entry.answered),
        effect: Effect::None,
        expected: None,
        answer,
    }
}

/// The tasks of a user that lie between the first and the last one of a list, or before its end,
/// and are not in it: they are none of those that it was asked for.
pub fn unlisted(entry: &Entry, list: &BTreeMap<Position, i64>) -> Vec<i64> {
    let (Action::List { start, .. }, Outcome::Listed { seen, is_last }) =
        (&entry.action, &entry.outcome)
    else {
        return Vec::new();
    };
    let newest = match start {
        Start::Page(1) | Start::Cursor(None) => Bound::Unbounded,
        Start::Cursor(Some(after)) => Bound::Excluded(*after),
        Start::Page(_) => match seen.first() {
            Some(first) => Bound::Excluded(first.position()),
            None => return Vec::new(),
        },
    };
    let oldest = match seen.last() {
        Some(last) if !is_last => Bound::Excluded(last.position()),
        _ => Bound::Unbounded,
    };
    // A cursor may be that of the oldest task.
    if let (Bound::Excluded(oldest), Bound::Excluded(newest)) = (oldest, newest)
        && oldest >= newest
    {
        return Vec::new();
    }
    let listed: HashSet<i64> = seen.iter().map(|seen| seen.id).collect();
    list.range((oldest, newest))
        .map(|(_, id)| *id)
        .filter(|id| !listed.contains(id))
        .collect()
}
