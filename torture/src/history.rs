//! A task's requests as steps, for the search for an order.

use std::collections::HashMap;

use crate::ledger::{Action, Entry, Outcome, View};
use crate::linear::{Answer, Effect, State, Step};

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

/// Numbers for titles, which the search compares.
#[derive(Debug, Default)]
pub struct Titles(HashMap<String, u32>);

impl Titles {
    pub fn number(&mut self, title: &str) -> u32 {
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(title.to_owned()).or_insert(next)
    }

    pub fn view(&mut self, view: &View) -> (u32, bool) {
        (self.number(&view.title), view.completed)
    }
}

/// What an entry says about tasks, creates excepted.
pub fn steps(entry: &Entry, titles: &mut Titles) -> Vec<(i64, Step)> {
    let mut about = |id: i64, effect: Effect, expected: Option<&View>, done: Answer| {
        let (until, answer) = match &entry.outcome {
            Outcome::Done(_) | Outcome::Deleted(_) => (Some(entry.answered), done),
            Outcome::NotFound => (Some(entry.answered), Answer::Absent),
            Outcome::PreconditionFailed => (Some(entry.answered), Answer::Refused),
            Outcome::Unavailable => (Some(entry.answered), Answer::None),
            Outcome::Unknown => (None, Answer::None),
            Outcome::NotSent => return Vec::new(),
        };
        let expected = expected.map(|view| titles.view(view));
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
                title,
                completed,
                expected,
            },
            outcome,
        ) => {
            let done = match outcome {
                Outcome::Done(seen) => seen.first().map(|seen| seen.view.clone()),
                _ => None,
            };
            let mut steps = about(*id, Effect::None, expected.as_ref(), Answer::None);
            let title = title.as_ref().map(|title| titles.number(title));
            for (_, step) in &mut steps {
                step.effect = Effect::Change {
                    title,
                    completed: *completed,
                };
                if let Some(view) = &done {
                    step.answer = Answer::Is(Some(titles.view(view)));
                }
            }
            steps
        }
        (Action::Delete { id, expected }, _) => {
            about(*id, Effect::Delete, expected.as_ref(), Answer::Deleted)
        }
        (Action::BulkDelete { ids }, outcome) => ids
            .iter()
            .flat_map(|id| {
                let done = match outcome {
                    Outcome::Deleted(deleted) if !deleted.contains(id) => Answer::Absent,
                    _ => Answer::Deleted,
                };
                about(*id, Effect::Delete, None, done)
            })
            .collect(),
        (Action::Read { id }, Outcome::NotFound) => vec![(*id, read(entry, None))],
        (Action::Read { .. } | Action::List { .. }, Outcome::Done(seen)) => seen
            .iter()
            .map(|seen| (seen.id, read(entry, Some(titles.view(&seen.view)))))
            .collect(),
        (Action::Create { .. } | Action::Read { .. } | Action::List { .. }, _) => Vec::new(),
    }
}

pub fn read(entry: &Entry, state: State) -> Step {
    Step {
        sent: entry.sent,
        until: Some(entry.answered),
        effect: Effect::None,
        expected: None,
        answer: state.map_or(Answer::Absent, |_| Answer::Is(state)),
    }
}
