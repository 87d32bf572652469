//! What differs between two reports.

use crate::diagnostics::{Finding, Outcome, Report};

use super::{counts, label};

/// A line with the time for each check that needs attention since the report before, or no
/// longer does, and the counts; `None` if there is nothing new.
pub(crate) fn changes(report: &Report, before: Option<&Report>) -> Option<String> {
    let time = report.time().to_seconds_string();
    let needs_attention = |outcome| matches!(outcome, Outcome::Warn | Outcome::Fail);
    let outcome_before = |finding: &Finding| {
        let mut findings = before?.findings().iter();
        findings
            .find(|one| one.id == finding.id)
            .map(|one| one.outcome)
    };
    let mut lines = Vec::new();
    for finding in report.findings() {
        let old = outcome_before(finding);
        let was_bad = old.is_some_and(needs_attention);
        if old != Some(finding.outcome) && (was_bad || needs_attention(finding.outcome)) {
            let Finding {
                id, title, detail, ..
            } = finding;
            let word = label(finding.outcome).0;
            lines.push(format!("{time} {word:<4} {title}: {detail} [{id}]"));
        }
    }
    if before.is_none() || !lines.is_empty() {
        lines.push(format!("{time} {}", counts(report)));
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    fn report(outcomes: [Outcome; 2]) -> Report {
        let finding = |(id, outcome): (&'static str, Outcome)| Finding {
            id,
            title: "Title",
            outcome,
            detail: "seen".to_owned(),
            remedy: None,
            remedy_tried: None,
            millis: 1,
            fixes: Vec::new(),
        };
        let findings = ["config.cors", "database.url"].into_iter().zip(outcomes);
        Report::new(
            findings.map(finding).collect(),
            Timestamp::from_micros_clamped(0),
        )
    }

    #[test]
    fn only_what_begins_or_ends_to_need_attention() {
        use Outcome::{Fail, Pass, Skip, Warn};
        let time = "1970-01-01T00:00:00Z";
        let first = report([Pass, Warn]);
        assert_eq!(
            changes(&first, None).unwrap(),
            format!("{time} WARN Title: seen [database.url]\n{time} 1 warning, 1 passed")
        );
        assert_eq!(changes(&first, Some(&first)), None);
        assert_eq!(
            changes(&report([Fail, Pass]), Some(&first)).unwrap(),
            format!(
                "{time} FAIL Title: seen [config.cors]\n{time} ok   Title: seen [database.url]\n{time} 1 failed, 1 passed"
            )
        );
        assert_eq!(changes(&report([Skip, Warn]), Some(&first)), None);
    }
}
