//! The report of a run.

use std::time::Duration;

use serde::Serialize;

use crate::config::Remedy;

use super::verdict::{Outcome, Verdict};

/// A check that was run, or skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) detail: String,
    pub(crate) remedy: Option<Remedy>,
    pub(crate) millis: u64,
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
            millis: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }
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
    summary: Summary,
    #[serde(rename = "checks")]
    findings: Vec<Finding>,
}

impl Report {
    /// The version of the JSON form; it changes when a name in it changes its meaning.
    const SCHEMA: u32 = 1;

    pub(crate) fn new(findings: Vec<Finding>) -> Self {
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
            summary,
            findings,
        }
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
            millis: 3,
        };
        Report::new(outcomes.iter().map(finding).collect())
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
                "summary": {"pass": 1, "warn": 0, "fail": 0, "skip": 1},
                "checks": [
                    {"id": "test.name", "title": "Name", "outcome": "pass",
                     "detail": "seen", "remedy": null, "millis": 3},
                    {"id": "test.name", "title": "Name", "outcome": "skip",
                     "detail": "seen", "remedy": null, "millis": 3},
                ],
            })
        );
    }
}
