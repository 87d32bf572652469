//! What a run has counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::checker::{Kind, Violation};
use crate::faults::{Fault, Planned};
use crate::ledger::{Outcome, Pages};

/// What the time of a round is spent on, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Its share of building and ending a world.
    World,
    /// Until the last fault is healed.
    Faults,
    /// Until each daemon has acknowledged a create.
    Recovery,
    /// Until the last request is over.
    Rest,
    Checks,
}

#[derive(Debug, Default)]
pub struct Totals {
    pub rounds: u64,
    pub requests: u64,
    pub acknowledged: u64,
    pub unknown: u64,
    pub statuses: BTreeMap<u16, u64>,
    pub faults: BTreeMap<Fault, u64>,
    pub violations: BTreeMap<Kind, u64>,
    pub recoveries: Vec<Duration>,
    pub most_sessions: i64,
    spent: BTreeMap<Phase, Duration>,
}

impl Totals {
    pub fn found(&self) -> u64 {
        self.violations.values().sum()
    }

    pub fn add(&mut self, violations: &[Violation]) {
        for violation in violations {
            *self.violations.entry(violation.kind).or_default() += 1;
        }
    }

    /// The faults of a round, and the most sessions meanwhile.
    pub fn inflicted(&mut self, plan: &[Planned], sessions: i64) {
        for planned in plan {
            *self.faults.entry(planned.fault).or_default() += 1;
        }
        self.most_sessions = self.most_sessions.max(sessions);
    }

    /// Adds the time since `started`.
    pub fn spend(&mut self, phase: Phase, started: Instant) {
        *self.spent.entry(phase).or_default() += started.elapsed();
    }

    /// The requests of a round.
    pub fn count(&mut self, pages: &Pages) {
        self.rounds += 1;
        for (status, count) in &pages.statuses {
            *self.statuses.entry(*status).or_default() += count;
            self.requests += count;
        }
        for entry in &pages.entries {
            self.acknowledged += u64::from(entry.is_acknowledged_write());
            self.unknown += u64::from(matches!(entry.outcome, Outcome::Unknown));
        }
    }

    /// One line while the run goes on.
    pub fn progress(&self) -> String {
        format!(
            "{} rounds, {} acknowledged writes, {} violations",
            self.rounds,
            self.acknowledged,
            self.found()
        )
    }

    /// The table at the end.
    pub fn table(&self, engine: &str, seed: u64, elapsed: Duration) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<28}{value}");
        };
        let number = |kind: Kind| {
            self.violations
                .get(&kind)
                .copied()
                .unwrap_or_default()
                .to_string()
        };
        line("engine, seed", format!("{engine}, {seed}"));
        line("time", format!("{} s", elapsed.as_secs()));
        line("rounds", self.rounds.to_string());
        let round = |(phase, time): (&Phase, &Duration)| {
            let each = time.as_secs_f64() / self.rounds.max(1) as f64;
            format!("{phase:?} {each:.2} s")
        };
        let spent: Vec<_> = self.spent.iter().map(round).collect();
        line("a round's time", spent.join(", "));
        line("requests", self.requests.to_string());
        line("acknowledged writes", self.acknowledged.to_string());
        line("unknown outcomes", self.unknown.to_string());
        line("lost", number(Kind::Lost));
        line("duplicated", number(Kind::Duplicate));
        line("refused, and done", number(Kind::Refused));
        line("late effects", number(Kind::Late));
        line("not linearizable", number(Kind::Order));
        line("ids used twice", number(Kind::Id));
        line("unread counts", number(Kind::Unread));
        line("reminders", number(Kind::Reminder));
        line("mails", number(Kind::Mail));
        line("answers", number(Kind::Answer));
        line("leaks", number(Kind::Resources));
        line("no recovery", number(Kind::Recovery));
        line("rounds not judged", number(Kind::Unjudged));
        let mut recoveries = self.recoveries.clone();
        recoveries.sort_unstable();
        let at = |percent: usize| match recoveries.len() {
            0 => "none".to_owned(),
            count => format!(
                "{} ms",
                recoveries[(count * percent / 100).min(count - 1)].as_millis()
            ),
        };
        line(
            "recovery p50, p99, max",
            format!("{}, {}, {}", at(50), at(99), at(100)),
        );
        line("most sessions", self.most_sessions.to_string());
        let statuses: Vec<_> = self
            .statuses
            .iter()
            .map(|(code, count)| match code {
                0 => format!("none: {count}"),
                code => format!("{code}: {count}"),
            })
            .collect();
        line("answers by status", statuses.join(", "));
        let faults: Vec<_> = self
            .faults
            .iter()
            .map(|(fault, count)| format!("{fault:?} {count}"))
            .collect();
        line(
            "faults",
            format!(
                "{} ({})",
                self.faults.values().sum::<u64>(),
                faults.join(", ")
            ),
        );
        text
    }
}
