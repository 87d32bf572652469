//! Whether a task's history is linearizable: whether its requests can be put in one order that
//! explains every answer and in which none comes before a request that was answered before it was
//! sent.
//!
//! This is the search of Wing and Gong with Lowe's memo of configurations (the set of requests
//! already ordered, and the state). stateright's `LinearizabilityTester` keeps no memo, and it
//! knows no requests that may have had no effect, which is what most faults leave behind.

use std::collections::HashSet;

use crate::ledger::Moment;
use crate::model::{Answer, Effect, State, Step, TITLE};

/// Whether the steps can be ordered.
pub fn is_linearizable(steps: &[Step]) -> bool {
    let mut steps = steps.to_vec();
    // What nobody saw may be why a change was refused.
    let lenient = steps.iter().any(Step::is_uncertain);
    drop_unobserved(&mut steps);
    steps.sort_by_key(|step| step.sent);
    let mut search = Search {
        done: vec![false; steps.len()],
        first: 0,
        answered: steps.iter().filter(|step| !step.is_optional()).count(),
        steps,
        lenient,
        tried: HashSet::new(),
    };
    search.run(None)
}

/// Drops writes without an answer that set a title which nobody saw, and nothing else: if an order
/// with one of them explains the answers, so does the same order without it.
fn drop_unobserved(steps: &mut Vec<Step>) {
    let seen: HashSet<u32> = steps
        .iter()
        .flat_map(|step| {
            let shown = match step.answer {
                Answer::Is(fields) => Some(fields[TITLE]),
                _ => None,
            };
            [shown, step.expected.map(|fields| fields[TITLE])]
        })
        .flatten()
        .collect();
    steps.retain(|step| match step.effect {
        Effect::Change([Some(title), rest @ ..]) if step.is_optional() => {
            rest.iter().any(Option::is_some) || seen.contains(&title)
        }
        Effect::None => !step.is_optional(),
        _ => true,
    });
}

struct Search {
    steps: Vec<Step>,
    lenient: bool,
    done: Vec<bool>,
    /// All steps before this one are done.
    first: usize,
    /// Steps with an answer that are not done.
    answered: usize,
    tried: HashSet<(usize, Vec<usize>, State)>,
}

impl Search {
    /// Whether the rest can be ordered. Leaves everything as it was, unless it can.
    fn run(&mut self, mut state: State) -> bool {
        let first = self.first;
        let mut only_choices = Vec::new();
        loop {
            while self.first < self.steps.len() && self.done[self.first] {
                self.first += 1;
            }
            if self.answered == 0 {
                return true;
            }
            let next = self.next();
            let only = match next[..] {
                [only] if !self.steps[only].is_optional() => only,
                _ => {
                    if self.branch(&next, state) {
                        return true;
                    }
                    break;
                }
            };
            match self.steps[only].apply(state, self.lenient) {
                Some(after) => state = after,
                None => break,
            }
            self.set_done(only, true);
            only_choices.push(only);
        }
        for index in only_choices {
            self.set_done(index, false);
        }
        self.first = first;
        false
    }

    /// The steps that may be the next one: what has an answer must come before everything that was
    /// sent after it, and what was refused must too, or be left out.
    fn next(&self) -> Vec<usize> {
        let mut limit = Moment::MAX;
        let mut next = Vec::new();
        for index in self.first..self.steps.len() {
            // Later steps cannot lower the limit: none ends before it was sent.
            if self.steps[index].sent > limit {
                break;
            }
            if !self.done[index] {
                limit = limit.min(self.steps[index].until.unwrap_or(Moment::MAX));
                next.push(index);
            }
        }
        next.retain(|&index| self.steps[index].sent <= limit);
        next
    }

    /// Tries one after the other.
    fn branch(&mut self, next: &[usize], state: State) -> bool {
        // What is done lies before the last of them, or the limit would not have reached it.
        let last = next.last().copied().unwrap_or_default();
        let ahead = (self.first..self.steps.len())
            .take_while(|&index| index <= last || self.done[index])
            .filter(|&index| self.done[index])
            .collect();
        if !self.tried.insert((self.first, ahead, state)) {
            return false;
        }
        for &index in next {
            let step = self.steps[index];
            let after = step.apply(state, self.lenient);
            let skipped = step.is_optional().then_some(state);
            let mut options = [after, skipped.filter(|_| after != skipped)];
            if step.is_optional() {
                // Most of what was not answered had no effect.
                options.reverse();
            }
            for after in options.into_iter().flatten() {
                self.set_done(index, true);
                if self.run(after) {
                    return true;
                }
                self.set_done(index, false);
            }
        }
        false
    }

    fn set_done(&mut self, index: usize, is_done: bool) {
        self.done[index] = is_done;
        if !self.steps[index].is_optional() {
            self.answered = if is_done {
                self.answered - 1
            } else {
                self.answered + 1
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ANY, COMPLETED, Fields, UPDATED, Values};

    fn step(sent: Moment, until: Moment, effect: Effect, answer: Answer) -> Step {
        Step {
            sent,
            until: Some(until),
            effect,
            expected: None,
            answer,
        }
    }

    /// A task with this title, whose time of the last change is the title's.
    fn task(title: u32) -> Fields {
        [title, 1, 1, 1, 1, title + 100]
    }

    fn title(title: u32) -> Values {
        let mut changes = ANY;
        changes[TITLE] = Some(title);
        changes
    }

    fn put(number: u32) -> Effect {
        Effect::Change(title(number))
    }

    fn is(title: u32) -> Answer {
        Answer::Is(task(title))
    }

    fn created() -> Step {
        step(0, 1, Effect::Create(task(0)), is(0))
    }

    #[test]
    fn overlapping_changes_have_an_order() {
        let first = step(2, 9, put(1), is(1));
        let second = step(3, 8, put(2), is(2));
        for last in [1, 2] {
            let read = step(10, 11, Effect::None, is(last));
            assert!(is_linearizable(&[created(), first, second, read]));
        }
        let read = step(10, 11, Effect::None, is(0));
        assert!(!is_linearizable(&[created(), first, second, read]));
    }

    #[test]
    fn a_lost_write_is_found() {
        let put = step(2, 3, put(1), is(1));
        let read = step(4, 5, Effect::None, is(0));
        assert!(!is_linearizable(&[created(), put, read]));
        let gone = step(4, 5, Effect::None, Answer::Absent(ANY));
        assert!(!is_linearizable(&[created(), gone]));
    }

    #[test]
    fn an_unanswered_write_has_its_effect_once_or_never() {
        let unknown = Step {
            until: None,
            ..step(2, 0, put(1), Answer::None)
        };
        let other = step(4, 5, put(2), is(2));
        for seen in [1, 2] {
            let read = step(6, 7, Effect::None, is(seen));
            assert!(is_linearizable(&[created(), unknown, other, read]));
        }
        let reads =
            [2, 1, 2].map(|title| step(6 + u64::from(title == 1), 9, Effect::None, is(title)));
        let apart =
            [(6, 1), (8, 2), (10, 1)].map(|(at, title)| step(at, at + 1, Effect::None, is(title)));
        assert!(is_linearizable(
            &[&[created(), unknown, other][..], &reads[..2]].concat()
        ));
        assert!(!is_linearizable(
            &[&[created(), unknown, other][..], &apart[..]].concat()
        ));
    }

    #[test]
    fn an_unanswered_write_is_seen_by_either_of_its_fields() {
        let mut both = title(1);
        both[COMPLETED] = Some(2);
        let unknown = step(2, 3, Effect::Change(both), Answer::None);
        let mut completed = task(2);
        completed[COMPLETED] = 2;
        let other = step(4, 5, put(2), Answer::Is(completed));
        assert!(is_linearizable(&[created(), unknown, other]));
        assert!(!is_linearizable(&[created(), other]));
    }

    #[test]
    fn a_late_effect_is_found() {
        let refused = step(2, 3, put(1), Answer::None);
        let other = step(4, 5, put(2), is(2));
        let read = step(6, 7, Effect::None, is(1));
        assert!(!is_linearizable(&[created(), refused, other, read]));
        let unlimited = Step {
            until: None,
            ..refused
        };
        assert!(is_linearizable(&[created(), unlimited, other, read]));
    }

    #[test]
    fn an_ignored_condition_is_found() {
        let other = step(2, 3, put(1), is(1));
        let conditional = Step {
            expected: Some(task(0)),
            ..step(4, 5, put(2), is(2))
        };
        assert!(!is_linearizable(&[created(), other, conditional]));
        assert!(is_linearizable(&[created(), conditional]));
        let refused = Step {
            answer: Answer::Refused,
            ..conditional
        };
        assert!(is_linearizable(&[created(), other, refused]));
        assert!(!is_linearizable(&[created(), refused]));
        let unknown = Step {
            until: None,
            answer: Answer::None,
            ..other
        };
        assert!(is_linearizable(&[created(), unknown, refused]));
    }

    #[test]
    fn a_time_that_goes_back_is_found() {
        let mut completed = ANY;
        completed[COMPLETED] = Some(1);
        let again = |updated| {
            let mut after = task(0);
            after[UPDATED] = updated;
            step(2, 3, Effect::Change(completed), Answer::Is(after))
        };
        let read = step(4, 5, Effect::None, is(0));
        assert!(is_linearizable(&[created(), again(100), read]));
        assert!(!is_linearizable(&[created(), again(200), read]));
        let unknown = Step {
            answer: Answer::None,
            ..again(0)
        };
        let mut later = task(0);
        later[UPDATED] = 7;
        let read = |at, fields| step(at, at + 1, Effect::None, Answer::Is(fields));
        let reads = [read(4, later), read(6, later), read(8, task(0))];
        assert!(is_linearizable(
            &[&[created(), unknown][..], &reads[..2]].concat()
        ));
        assert!(!is_linearizable(
            &[&[created(), unknown][..], &reads].concat()
        ));
    }

    #[test]
    fn a_list_without_a_task_that_belongs_in_it_is_found() {
        let put = step(2, 3, put(1), is(1));
        let unlisted = |number| step(4, 5, Effect::None, Answer::Absent(title(number)));
        assert!(is_linearizable(&[created(), put, unlisted(0)]));
        assert!(!is_linearizable(&[created(), put, unlisted(1)]));
    }

    #[test]
    fn deletes_happen_once() {
        let delete = step(2, 3, Effect::Delete, Answer::Deleted);
        let again = step(4, 5, Effect::Delete, Answer::Deleted);
        let absent = step(4, 5, Effect::Delete, Answer::Absent(ANY));
        assert!(is_linearizable(&[created(), delete, absent]));
        assert!(!is_linearizable(&[created(), delete, again]));
        let optional = Step {
            answer: Answer::None,
            ..delete
        };
        assert!(is_linearizable(&[created(), optional, absent]));
        assert!(is_linearizable(&[created(), optional, again]));
    }
}
