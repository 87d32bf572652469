//! Runs checks: what a check needs first, everything else at once, all within one time limit.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::check::Check;
use super::context::Context;
use super::groups::{GROUPS, Group, checks};
use super::report::{Finding, Report};
use super::verdict::{Outcome, Verdict};

/// For a check that ends by itself at its limit, and says more than a time-out does.
const GRACE: Duration = Duration::from_secs(1);

/// Runs the checks that `only` selects (an empty list: all) and what they need.
///
/// The report holds the selected checks, and a check that they need only if it is the reason
/// why one of them was skipped. `done` is told of each group that has ended.
pub(crate) async fn run(
    context: &Context,
    only: &[&str],
    budget: Duration,
    done: impl Fn(&Group),
) -> Report {
    let runner = Runner {
        context,
        until: Instant::now() + budget,
        results: checks().map(|check| (check.id, OnceCell::new())).collect(),
    };
    let is_selected = |check: &Check| {
        let is_wanted = only.is_empty() || only.iter().any(|wanted| selects(wanted, check.id));
        is_wanted && (check.applies_to(context) || only.contains(&check.id))
    };
    join_all(GROUPS.iter().map(async |group| {
        let selected = group.checks.iter().filter(|check| is_selected(check));
        join_all(selected.map(|check| runner.result(check))).await;
        done(group);
    }))
    .await;
    context.close().await;
    let findings = checks().filter_map(|check| {
        let result = runner.results.get(check.id)?.get()?;
        (is_selected(check) || result.is_cause).then(|| result.finding.clone())
    });
    Report::new(findings.collect())
}

/// Whether `wanted` is the id, or the part before one of its dots.
pub(crate) fn selects(wanted: &str, id: &str) -> bool {
    id.strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

struct Runner<'a> {
    context: &'a Context,
    until: Instant,
    /// Filled when a check is first asked for, so a check that is not needed does not run.
    results: BTreeMap<&'static str, OnceCell<RunResult>>,
}

struct RunResult {
    finding: Finding,
    /// What the checks that need this one are skipped with.
    blocks: Option<Verdict>,
    /// Whether it blocks others by its own verdict, not because something blocks it.
    is_cause: bool,
}

impl Runner<'_> {
    async fn result(&self, check: &'static Check) -> Option<&RunResult> {
        let cell = self.results.get(check.id)?;
        // Boxed, because a check's needs have needs.
        let run = || Box::pin(self.run_with_needs(check));
        Some(cell.get_or_init(run).await)
    }

    async fn run_with_needs(&self, check: &'static Check) -> RunResult {
        if !check.applies_to(self.context) {
            return RunResult::new(
                check,
                Verdict::skip("does not apply to this database"),
                Duration::ZERO,
            );
        }
        let needed = checks()
            .filter(|other| check.needs.contains(&other.id) && other.applies_to(self.context));
        let results = join_all(needed.map(|other| self.result(other))).await;
        let mut blocked = results
            .into_iter()
            .flatten()
            .filter_map(|one| one.blocks.as_ref());
        if let Some(verdict) = blocked.next() {
            return RunResult {
                is_cause: false,
                ..RunResult::new(check, verdict.clone(), Duration::ZERO)
            };
        }
        let _turn = if check.takes_turns {
            Some(self.context.turn().await)
        } else {
            None
        };
        let started = Instant::now();
        let verdict = self.verdict(check).await;
        RunResult::new(check, verdict, started.elapsed())
    }

    async fn verdict(&self, check: &Check) -> Verdict {
        let left = self.until.saturating_duration_since(Instant::now());
        let limit = check.limit.min(left);
        if limit.is_zero() {
            return Verdict::skip_all("skipped: the time for all checks is used up");
        }
        let Some(running) = check.start(self.context, limit) else {
            return Verdict::skip("does not apply to this database");
        };
        timeout(limit + GRACE, running).await.unwrap_or_else(|_| {
            Verdict::fail(
                format!("no answer within {} s", limit.as_secs().max(1)),
                None,
            )
        })
    }
}

impl RunResult {
    fn new(check: &Check, verdict: Verdict, took: Duration) -> Self {
        let blocks = match verdict.outcome {
            _ if !verdict.blocks => None,
            Outcome::Fail => Some(Verdict::skip_because_failed(check.id)),
            Outcome::Pass | Outcome::Warn | Outcome::Skip => Some(verdict.clone()),
        };
        Self {
            is_cause: blocks.is_some(),
            blocks,
            finding: Finding::new(check.id, check.title, verdict, took),
        }
    }
}
