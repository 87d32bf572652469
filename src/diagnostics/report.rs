//! The report of a run.

use std::time::Duration;

use serde::Serialize;

use crate::config::Remedy;
use crate::domain::Timestamp;

use super::fix::Fix;
use super::verdict::{Outcome, Verdict};

/// A check that was run, or skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) detail: String,
    pub(crate) remedy: Option<Remedy>,
    /// Whether the remedy works; `None` if a part of it was not tried.
    pub(crate) remedy_tried: Option<RemedyTried>,
    pub(crate) millis: u64,
    #[serde(skip)]
    pub(crate) fixes: Vec<Fix>,
}

impl Finding {
    pub(super) fn new(
        id: &'static str,
        title: &'static str,
        verdict: Verdict,
        took: Duration,
    ) -> Self {
        Self {
            id,
            title,
            outcome: verdict.outcome,
            detail: verdict.detail,
            remedy: verdict.remedy,
            remedy_tried: None,
            millis: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            fixes: verdict.fixes,
        }
    }
}

/// What trying a remedy has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RemedyTried {
    Works,
    /// The commands that fail, or do not help, are comments that say why.
    Fails,
}

/// What became of a fix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FixOutcome {
    Done,
    Failed,
    Declined,
    /// Only shown, because nobody could be asked.
    Offered,
}

/// A fix of `doctor --fix`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fixed {
    pub(crate) check: &'static str,
    /// The command or the statements.
    pub(crate) action: String,
    pub(crate) outcome: FixOutcome,
    /// Why it failed.
    pub(crate) error: Option<String>,
}

/// How many checks ended which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Summary {
    pub(crate) pass: usize,
    pub(crate) warn: usize,
    pub(crate) fail: usize,
    pub(crate) skip: usize,
}

/// Findings in the order of the definitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    schema: u32,
    /// When the checks ended.
    time: Timestamp,
    summary: Summary,
    /// With `--fix`: what was done before these findings.
    #[serde(skip_serializing_if = "Option::is_none")]
    fixed: Option<Vec<Fixed>>,
    #[serde(rename = "checks")]
    findings: Vec<Finding>,
}

impl Report {
    /// The version of the JSON form; it changes when a name in it changes its meaning.
    const SCHEMA: u32 = 1;

    pub(crate) fn new(findings: Vec<Finding>, time: Timestamp) -> Self {
        let mut summary = Summary::default();
        for finding in &findings {
            *match finding.outcome {
                Outcome::Pass => &mut summary.pass,
                Outcome::Warn => &mut summary.warn,
                Outcome::Fail => &mut summary.fail,
                Outcome::Skip => &mut summary.skip,
            } += 1;
        }
        Self {
            schema: Self::SCHEMA,
            time,
            summary,
            fixed: None,
            findings,
        }
    }

    /// With what `--fix` did.
    pub(crate) fn with_fixed(mut self, fixed: Vec<Fixed>) -> Self {
        self.fixed = Some(fixed);
        self
    }

    /// For a database other than that of the configuration, which `--fix` would change.
    pub(crate) fn without_fixes(mut self) -> Self {
        for finding in &mut self.findings {
            finding.fixes.clear();
        }
        self
    }

    pub(crate) fn fixed(&self) -> &[Fixed] {
        self.fixed.as_deref().unwrap_or_default()
    }

    pub(crate) fn time(&self) -> Timestamp {
        self.time
    }

    pub(crate) fn summary(&self) -> Summary {
        self.summary
    }

    pub(crate) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// 1 if a check failed, or with `strict` if there are warnings; 0 otherwise.
    pub(crate) fn exit_code(&self, strict: bool) -> u8 {
        u8::from(self.summary.fail > 0 || (strict && self.summary.warn > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcomes: &[Outcome]) -> Report {
        let finding = |outcome: &Outcome| Finding {
            id: "test.name",
            title: "Name",
            outcome: *outcome,
            detail: "seen".to_owned(),
            remedy: None,
            remedy_tried: None,
            millis: 3,
            fixes: Vec::new(),
        };
        Report::new(
            outcomes.iter().map(finding).collect(),
            Timestamp::from_micros_clamped(0),
        )
    }

    #[test]
    fn exit_codes() {
        use Outcome::{Fail, Pass, Skip, Warn};
        for (outcomes, plain, strict) in [
            (&[][..], 0, 0),
            (&[Pass, Skip], 0, 0),
            (&[Pass, Warn], 0, 1),
            (&[Pass, Fail, Skip], 1, 1),
        ] {
            let report = report(outcomes);
            assert_eq!(report.exit_code(false), plain, "{outcomes:?}");
            assert_eq!(report.exit_code(true), strict, "{outcomes:?}");
        }
    }

    #[test]
    fn the_json_form_is_stable() {
        let json = serde_json::to_value(report(&[Outcome::Pass, Outcome::Skip])).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "schema": 1,
                "time": "1970-01-01T00:00:00Z",
                "summary": {"pass": 1, "warn": 0, "fail": 0, "skip": 1},
                "checks": [
                    {"id": "test.name", "title": "Name", "outcome": "pass",
                     "detail": "seen", "remedy": null, "remedy_tried": null, "millis": 3},
                    {"id": "test.name", "title": "Name", "outcome": "skip",
                     "detail": "seen", "remedy": null, "remedy_tried": null, "millis": 3},
                ],
            })
        );
    }
}
