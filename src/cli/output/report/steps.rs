//! The steps of remedies, as they are printed.

use crate::diagnostics::{Finding, Report};

/// The lines of a finding's remedy. One that several findings have is printed with the last of
/// them: checks that try something come before those that know its cause.
pub(super) fn steps(finding: &Finding, report: &Report) -> Vec<String> {
    let mut steps: Vec<String> = Vec::new();
    for line in remedy_lines(finding) {
        let has_it = |one: &&Finding| remedy_lines(one).contains(&line);
        let last = report.findings().iter().rfind(has_it);
        let step = match last {
            Some(last) if last.id != finding.id => format!("# see {}", last.id),
            _ => line,
        };
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    steps
}

fn remedy_lines(finding: &Finding) -> Vec<String> {
    let remedy = finding.remedy.as_ref().map(ToString::to_string);
    let lines = remedy.iter().flat_map(|remedy| remedy.lines());
    lines.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Remedy;
    use crate::diagnostics::Outcome;
    use crate::domain::Timestamp;

    #[test]
    fn a_remedy_of_two_checks_is_printed_once() {
        let finding = |id, remedy: &str| Finding {
            id,
            title: "Title",
            outcome: Outcome::Fail,
            detail: "no".to_owned(),
            remedy: Some(Remedy::command(remedy)),
            millis: 3,
            fixes: Vec::new(),
        };
        let findings = vec![
            finding("database.trial", "one\ntwo\nthree"),
            finding("database.schema", "one\ntwo"),
        ];
        let report = Report::new(findings, Timestamp::from_micros_clamped(0));
        let of = |at: usize| steps(&report.findings()[at], &report);
        assert_eq!(of(0), ["# see database.schema", "three"]);
        assert_eq!(of(1), ["one", "two"]);
    }
}
