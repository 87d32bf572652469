//! Compares a round's ledger with what the database holds afterwards.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use crate::database::Row;
use crate::history::{History, Numbers, read, steps, unlisted};
use crate::ledger::{Action, Changes, Entry, Moment, Outcome, Position, Seen};
use crate::linear::is_linearizable;
use crate::model::{ANY, Answer, Effect, Step};

/// The kinds of broken promises, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An acknowledged create is gone, and nobody deleted it.
    Lost,
    /// A create was stored more than once.
    Duplicate,
    /// A create that was refused is there.
    Refused,
    /// A request took effect after it was answered with 503.
    Late,
    /// The answers about a task contradict each other.
    Order,
    /// An id was used twice.
    Id,
    /// A count of unread notifications is wrong.
    Unread,
    /// A task has too few or too many reminders.
    Reminder,
    /// Mails are not those of the rows.
    Mail,
    /// A single answer is wrong: a status, another user's data, none at all.
    Answer,
    /// Sessions, files, threads or memory did not come back.
    Resources,
    /// The daemons did not recover.
    Recovery,
    /// A round could not be run to its end.
    Unjudged,
}

#[derive(Debug, Clone)]
pub struct Violation {
    pub kind: Kind,
    pub text: String,
}

impl Violation {
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }
}

/// How far apart the clock of moments and that of the day may run in a round, in microseconds.
const CLOCK: i64 = 20_000;

/// A create, in all its attempts.
#[derive(Debug, Default)]
struct Birth {
    user: usize,
    task: Changes,
    first_sent: Moment,
    /// When the first acknowledgement came, and what it showed.
    acknowledged: Option<(Moment, Seen)>,
    /// As any answer showed it.
    created: Option<i64>,
    may_exist: bool,
    ids: HashSet<i64>,
    stored: Vec<i64>,
}

/// A round's evidence.
pub struct Evidence<'a> {
    pub entries: &'a [Entry],
    /// What the names of the round's users begin with.
    pub prefix: &'a str,
    /// The rows of the round's users.
    pub rows: &'a [Row],
    /// Ids up to this one were used by earlier rounds.
    pub used: i64,
    pub ended: Moment,
    /// The time at the moment 0; `None` if a daemon had another one.
    pub began: Option<i64>,
}

impl Evidence<'_> {
    pub fn judge(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        let births = self.births(&mut violations);
        let mut owners: HashMap<i64, &str> = HashMap::new();
        for (name, birth) in &births {
            if birth.stored.len() > 1 || birth.ids.len() > 1 {
                let text = format!(
                    "{name} has the ids {:?}\n{}",
                    birth.ids,
                    self.story_of_birth(name)
                );
                violations.push(Violation::new(Kind::Duplicate, text));
            }
            if !birth.may_exist && !birth.ids.is_empty() {
                let text = format!("{name} was refused\n{}", self.story_of_birth(name));
                violations.push(Violation::new(Kind::Refused, text));
            }
            for &id in &birth.ids {
                if let Some(other) = owners.insert(id, name) {
                    violations.push(Violation::new(
                        Kind::Id,
                        format!("{id} is {name} and {other}"),
                    ));
                }
                if id <= self.used {
                    violations.push(Violation::new(
                        Kind::Id,
                        format!("{name} has {id}, which an earlier round had"),
                    ));
                }
            }
        }
        violations.extend(self.entries.iter().filter_map(|entry| self.misdated(entry)));
        let mut histories = self.histories(&births);
        for (id, history) in &mut histories {
            if !is_linearizable(&history.steps) {
                violations.push(self.name_it(*id, history));
            }
        }
        violations
    }

    fn births(&self, violations: &mut Vec<Violation>) -> BTreeMap<&str, Birth> {
        let mut births: BTreeMap<&str, Birth> = BTreeMap::new();
        for entry in self.entries {
            let Action::Create {
                birth: name, task, ..
            } = &entry.action
            else {
                continue;
            };
            let birth = births.entry(name).or_insert_with(|| Birth {
                user: entry.user,
                task: task.clone(),
                first_sent: entry.sent,
                ..Birth::default()
            });
            birth.first_sent = birth.first_sent.min(entry.sent);
            match &entry.outcome {
                Outcome::Done(seen) => {
                    birth.may_exist = true;
                    for seen in seen {
                        birth.ids.insert(seen.id);
                        let is_first = birth
                            .acknowledged
                            .as_ref()
                            .is_none_or(|(first, _)| entry.answered < *first);
                        if is_first {
                            birth.acknowledged = Some((entry.answered, seen.clone()));
                        }
                        if seen.birth != *name || seen.view.updated != seen.created {
                            let text = format!("the create of {name} was answered with {seen:?}");
                            violations.push(Violation::new(Kind::Answer, text));
                        }
                    }
                }
                Outcome::Unknown => birth.may_exist = true,
                _ => {}
            }
        }
        for row in self.rows {
            let owner = births
                .get(row.seen.birth.as_str())
                .map(|birth| format!("{}{}", self.prefix, birth.user));
            if owner.is_some_and(|owner| owner != row.user) {
                violations.push(Violation::new(
                    Kind::Answer,
                    format!("stored for another user: {row:?}"),
                ));
            }
        }
        let stored = self.rows.iter().map(|row| (&row.seen, true));
        let shown = self
            .entries
            .iter()
            .filter_map(|entry| match &entry.outcome {
                Outcome::Done(seen) | Outcome::Listed { seen, .. } => {
                    Some(seen.iter().map(|seen| (seen, false)))
                }
                _ => None,
            });
        for (seen, is_stored) in stored.chain(shown.flatten()) {
            let Some(birth) = births.get_mut(seen.birth.as_str()) else {
                let text = format!("nobody created {seen:?}");
                violations.push(Violation::new(Kind::Answer, text));
                continue;
            };
            birth.ids.insert(seen.id);
            if is_stored {
                birth.stored.push(seen.id);
            }
            if *birth.created.get_or_insert(seen.created) != seen.created {
                let text = format!("{seen:?} was created at {:?}, too", birth.created);
                violations.push(Violation::new(Kind::Answer, text));
            }
        }
        births
    }

    fn histories(&self, births: &BTreeMap<&str, Birth>) -> BTreeMap<i64, History> {
        let mut numbers = Numbers::default();
        let mut histories: BTreeMap<i64, History> = BTreeMap::new();
        // The tasks of each user, in the order of lists.
        let mut lists: HashMap<usize, BTreeMap<Position, i64>> = HashMap::new();
        for (name, birth) in births {
            for &id in &birth.ids {
                let answer = match &birth.acknowledged {
                    Some((_, seen)) => Answer::Is(numbers.view(&seen.view)),
                    None => Answer::None,
                };
                let history = histories.entry(id).or_default();
                history.user = birth.user;
                history.steps.push(Step {
                    sent: birth.first_sent,
                    until: birth.acknowledged.as_ref().map(|(answered, _)| *answered),
                    effect: Effect::Create(numbers.created(name, &birth.task)),
                    expected: None,
                    answer,
                });
                if let Some(created) = birth.created {
                    let list = lists.entry(birth.user).or_default();
                    list.insert((created, id), id);
                }
            }
        }
        for entry in self.entries {
            for (id, step) in steps(entry, &mut numbers) {
                histories
                    .entry(id)
                    .or_default()
                    .push(step, matches!(entry.outcome, Outcome::Unavailable));
            }
            let list = lists.get(&entry.user);
            for id in list.into_iter().flat_map(|list| unlisted(entry, list)) {
                let Action::List { filter, .. } = &entry.action else {
                    continue;
                };
                let step = read(entry, Answer::Absent(numbers.filter(filter)));
                histories.entry(id).or_default().push(step, false);
            }
        }
        let rows: HashMap<i64, &Seen> = self
            .rows
            .iter()
            .map(|row| (row.seen.id, &row.seen))
            .collect();
        for (id, history) in &mut histories {
            let last = rows.get(id).map(|seen| numbers.view(&seen.view));
            history.is_there = last.is_some();
            history.steps.push(Step {
                sent: self.ended,
                until: Some(self.ended),
                effect: Effect::None,
                expected: None,
                answer: last.map_or(Answer::Absent(ANY), Answer::Is),
            });
        }
        histories
    }

    /// A change is dated between its request and its answer.
    fn misdated(&self, entry: &Entry) -> Option<Violation> {
        let is_change = match &entry.action {
            Action::Change { changes, .. } => *changes != Changes::default(),
            _ => false,
        };
        let Outcome::Done(seen) = &entry.outcome else {
            return None;
        };
        let (began, seen) = (self.began?, seen.first()?);
        let time = |moment: Moment| began.saturating_add_unsigned(moment);
        let updated = seen.view.updated;
        let is_dated =
            updated >= time(entry.sent) - CLOCK && updated <= time(entry.answered) + CLOCK;
        (is_change && !is_dated).then(|| {
            let text = format!(
                "{:?} from {} to {} was answered with {seen:?}",
                entry.action,
                time(entry.sent),
                time(entry.answered)
            );
            Violation::new(Kind::Answer, text)
        })
    }

    fn name_it(&self, id: i64, history: &History) -> Violation {
        let may_be_deleted = history.steps.iter().any(|step| {
            step.effect == Effect::Delete && matches!(step.answer, Answer::Deleted | Answer::None)
        });
        let mut unlimited = history.steps.clone();
        for &index in &history.unavailable {
            unlimited[index].until = None;
        }
        let kind = if !history.is_there && !may_be_deleted {
            Kind::Lost
        } else if is_linearizable(&unlimited) {
            Kind::Late
        } else {
            Kind::Order
        };
        Violation::new(kind, format!("task {id}\n{}", self.story(id, history.user)))
    }

    /// The requests about a task, in the order in which they were sent, and its user's lists.
    fn story(&self, id: i64, user: usize) -> String {
        self.tell(|entry| match &entry.action {
            Action::Create { .. } => {
                matches!(&entry.outcome, Outcome::Done(seen) if seen.iter().any(|seen| seen.id == id))
            }
            Action::List { .. } => {
                entry.user == user && matches!(entry.outcome, Outcome::Listed { .. })
            }
            Action::Change { id: one, .. } | Action::Delete { id: one, .. } | Action::Read { id: one, .. } => *one == id,
            Action::BulkDelete { ids, .. } => ids.contains(&id),
        }, |seen| seen.id == id)
    }

    fn story_of_birth(&self, name: &str) -> String {
        self.tell(
            |entry| matches!(&entry.action, Action::Create { birth, .. } if birth == name),
            |seen| seen.birth == name,
        )
    }

    fn tell(&self, concerns: impl Fn(&Entry) -> bool, is_it: impl Fn(&Seen) -> bool) -> String {
        let mut entries: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|entry| concerns(entry))
            .collect();
        entries.sort_by_key(|entry| entry.sent);
        let mut text = String::new();
        for entry in entries {
            let outcome = match &entry.outcome {
                Outcome::Done(seen) | Outcome::Listed { seen, .. } => {
                    match seen.iter().find(|seen| is_it(seen)) {
                        Some(seen) => format!("Done {}: {:?}", seen.id, seen.view),
                        None => "Done".to_owned(),
                    }
                }
                other => format!("{other:?}"),
            };
            let ms = |moment: Moment| moment as f64 / 1000.0;
            let (sent, answered) = (ms(entry.sent), ms(entry.answered));
            let _ = writeln!(
                text,
                "  {sent:.3} to {answered:.3} ms  {:?}: {outcome}",
                entry.action
            );
        }
        for row in self.rows.iter().filter(|row| is_it(&row.seen)) {
            let _ = writeln!(text, "  stored: {:?}", row.seen);
        }
        text
    }
}
