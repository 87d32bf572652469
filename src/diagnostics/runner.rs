//! Runs checks: what a check needs first, everything else at once, all within one time limit.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::check::Check;
use super::context::Context;
use super::groups::{GROUPS, Group, checks};
use super::remedies::try_remedies;
use super::report::{Finding, Report};
use super::verdict::{Outcome, Verdict};

/// Additional time for a check that ends by itself at its limit, with a better message.
const GRACE: Duration = Duration::from_secs(1);

/// The check that says so where the disk of a SQLite file lets everybody wait. No other check may
/// touch it, but those that this one needs do not.
const STUCK: &str = "database.connection";
const WITHOUT_DISK: [&str; 4] = ["config.env_file", "database.url", "database.dns", STUCK];

/// Runs the checks that `only` selects (an empty list: all) and what they need.
///
/// The report holds the selected checks, and a check that they need only if it is the reason
/// why one of them was skipped. `done` is called with each group that has ended.
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
    context.try_disk().await;
    let is_selected = |check: &Check| {
        let is_wanted = only.is_empty() || only.iter().any(|wanted| selects(wanted, check.id));
        is_wanted && (check.applies_to(context) || only.contains(&check.id))
    };
    join_all(GROUPS.iter().map(async |group| {
        let selected = group.checks().filter(|check| is_selected(check));
        join_all(selected.map(|check| runner.result(check))).await;
        done(group);
    }))
    .await;
    let findings = checks().filter_map(|check| {
        let result = runner.results.get(check.id)?.get()?;
        (is_selected(check) || result.is_cause).then(|| result.finding.clone())
    });
    let mut findings: Vec<Finding> = findings.collect();
    super::database::replaced::withhold_beginnings(context, &mut findings).await;
    super::database::pooled_remedies::adapt_remedies(context, &mut findings).await;
    super::database::socket_user::name_socket(context, &mut findings);
    context.close().await;
    let findings = try_remedies(context, findings).await;
    Report::new(findings, context.request.clock.now())
}

/// Whether `wanted` is the id, or the part before one of its dots.
pub(crate) fn selects(wanted: &str, id: &str) -> bool {
    id.strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

struct Runner<'a> {
    context: &'a Context,
    until: Instant,
    /// Filled on first use, so a check that is neither selected nor needed does not run.
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
        if self.context.stuck().is_some() && !WITHOUT_DISK.contains(&check.id) {
            // It is in the report because of this.
            let cause = checks().find(|other| other.id == STUCK);
            if let Some(cause) = cause {
                self.result(cause).await;
            }
            return RunResult {
                is_cause: false,
                ..RunResult::new(check, Verdict::skip_because_failed(STUCK), Duration::ZERO)
            };
        }
        let needed = checks()
            .filter(|other| check.needs.contains(&other.id) && other.applies_to(self.context));
        let results = join_all(needed.map(|other| self.result(other))).await;
        let mut blocked = results
            .into_iter()
            .flatten()
            .filter_map(|one| one.blocks.as_ref());
        if let Some(verdict) = blocked.next() {
            let own = match check.when_blocked {
                Some(find) => find(self.context).await,
                None => None,
            };
            let source = &self.context.request.source;
            let own = own.map(|mut verdict| {
                verdict.remedy = verdict.remedy.map(|remedy| remedy.at(source));
                verdict
            });
            return RunResult {
                is_cause: own.is_some(),
                ..RunResult::new(check, own.unwrap_or(verdict.clone()), Duration::ZERO)
            };
        }
        let _turn = if check.takes_turns {
            Some(self.context.turn().await)
        } else {
            None
        };
        let started = Instant::now();
        let mut verdict = self.verdict(check).await;
        let source = &self.context.request.source;
        verdict.remedy = verdict.remedy.map(|remedy| remedy.at(source));
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
        let Ok(verdict) = timeout(limit + GRACE, running).await else {
            return Verdict::fail(
                format!("no answer within {} s", limit.as_secs().max(1)),
                None,
            );
        };
        debug_assert!(
            check.outcomes.contains(&verdict.outcome),
            "{} ended with {:?}: add it to its .outcomes(…)",
            check.id,
            verdict.outcome
        );
        debug_assert!(
            verdict.fixes.is_empty() || check.fix.is_some(),
            "{} has a fix: add .fix(…)",
            check.id
        );
        super::database::with_cause(self.context, verdict).await
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::Source;
    use crate::diagnostics::check::run;
    use crate::diagnostics::context::Request;

    fn context(url: &str) -> Context {
        Context::new(Request {
            source: Source::from_values([("DATABASE_URL", url)]),
            broken: None,
            clock: Clock::system(),
            replicas: 1,
            file_must_exist: true,
            tries_remedies: false,
        })
    }

    const BUDGET: Duration = Duration::from_secs(10);

    async fn ids(url: &str, only: &[&str]) -> Vec<(&'static str, Outcome)> {
        let report = run(&context(url), only, BUDGET, |_| ()).await;
        let findings = report.findings().iter();
        findings.map(|one| (one.id, one.outcome)).collect()
    }

    #[tokio::test]
    async fn a_selected_check_and_the_reason_why_it_was_skipped() {
        let closed = "postgresql://todo@127.0.0.1:1/todo";
        assert_eq!(
            ids(closed, &["database.url"]).await,
            [("database.url", Outcome::Pass)]
        );
        assert_eq!(
            ids(closed, &["database.role"]).await,
            [
                ("database.connection", Outcome::Fail),
                ("database.role", Outcome::Skip)
            ]
        );
        assert_eq!(
            ids(closed, &["database.wal"]).await,
            [("database.wal", Outcome::Skip)]
        );
    }

    #[tokio::test]
    async fn nothing_runs_when_the_time_is_used_up() {
        let report = run(&context("sqlite://x.db"), &[], Duration::ZERO, |_| ()).await;
        let skipped = |one: &Finding| one.outcome == Outcome::Skip;
        assert!(report.findings().iter().all(skipped));
    }

    #[tokio::test]
    async fn a_check_that_hangs_fails_in_time() {
        async fn hang(_: &Context, _: Duration) -> Verdict {
            std::future::pending().await
        }
        let mut check = Check::new("test.hang", "Hang", run!(Always, hang));
        check.limit = Duration::from_millis(10);
        let context = context("sqlite://x.db");
        let runner = Runner {
            context: &context,
            until: Instant::now() + BUDGET,
            results: BTreeMap::new(),
        };
        assert_eq!(runner.verdict(&check).await.outcome, Outcome::Fail);
    }

    #[test]
    fn selections() {
        assert!(selects("database", "database.tls"));
        assert!(selects("database.tls", "database.tls"));
        assert!(!selects("database.t", "database.tls"));
        assert!(!selects("data", "database.tls"));
    }
}
