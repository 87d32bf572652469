//! Reports of checks: what needs attention first, the rest in short.

use std::time::Duration;

use crate::diagnostics::{Finding, FixOutcome, Fixed, GROUPS, Outcome, Report, selects};

use super::metrics;
use super::printable_lines;
use super::terminal::{self, Tone, stdout_has_colour};

mod changes;
mod descriptions;
mod steps;

pub(crate) use changes::changes;
pub(crate) use descriptions::descriptions;
use steps::Steps;

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum ReportFormat {
    /// Text for people.
    #[default]
    Table,
    /// JSON for programs; its keys are stable.
    Json,
    /// Metrics for Prometheus.
    Prometheus,
}

/// The report for stdout; `verbose` lists every check by group.
pub(crate) fn text(report: &Report, format: ReportFormat, verbose: bool) -> anyhow::Result<String> {
    let layout = Layout {
        width: terminal::width().map(usize::from),
        colour: stdout_has_colour(),
        verbose,
    };
    layout.formatted(report, format)
}

/// The report for a file.
pub(crate) fn plain_text(
    report: &Report,
    format: ReportFormat,
    verbose: bool,
) -> anyhow::Result<String> {
    let layout = Layout {
        width: None,
        colour: false,
        verbose,
    };
    layout.formatted(report, format)
}

/// The report for a terminal that is redrawn after each `pause`.
pub(crate) fn screen(report: &Report, verbose: bool, pause: Duration) -> String {
    let layout = Layout {
        width: terminal::width().map(usize::from),
        colour: stdout_has_colour(),
        verbose,
    };
    let time = report.time().to_seconds_string();
    format!(
        "{time}, again in {} s; Ctrl-C ends\n\n{}",
        pause.as_secs(),
        layout.report(report)
    )
}

struct Layout {
    /// Where lines are wrapped; `None` prints one line for each entry.
    width: Option<usize>,
    colour: bool,
    /// Lists every check, with its time.
    verbose: bool,
}

/// Outcomes are this wide, with the space after them.
const INDENT: usize = 6;

impl Layout {
    fn formatted(&self, report: &Report, format: ReportFormat) -> anyhow::Result<String> {
        Ok(match format {
            ReportFormat::Table => self.report(report),
            ReportFormat::Json => serde_json::to_string_pretty(report)?,
            ReportFormat::Prometheus => metrics::metrics(report)?.trim_end().to_owned(),
        })
    }

    fn report(&self, report: &Report) -> String {
        let mut lines = Vec::new();
        let mut shown = Steps::default();
        for fixed in report.fixed() {
            self.fixed(fixed, &mut lines);
        }
        if self.verbose {
            self.all(report, &mut shown, &mut lines);
        } else {
            self.folded(report, &mut shown, &mut lines);
        }
        lines.push(String::new());
        let hint = if self.verbose {
            ""
        } else {
            "; --verbose lists every check"
        };
        lines.push(counts(report) + hint);
        lines.extend(next_steps(report));
        lines.join("\n")
    }

    fn all(&self, report: &Report, shown: &mut Steps, lines: &mut Vec<String>) {
        for (title, findings) in by_group(report) {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            lines.push(title.to_owned());
            for finding in findings {
                self.finding(finding, shown, lines);
            }
        }
    }

    fn folded(&self, report: &Report, shown: &mut Steps, lines: &mut Vec<String>) {
        // A warning may be gone with the failure that caused it.
        for outcome in [Outcome::Fail, Outcome::Warn] {
            for finding in report
                .findings()
                .iter()
                .filter(|one| one.outcome == outcome)
            {
                self.finding(finding, shown, lines);
            }
        }
        for (group, findings) in by_group(report) {
            let (shared, single): (Vec<_>, Vec<_>) = skips(&findings)
                .into_iter()
                .partition(|(_, titles)| titles.len() > 1);
            for (reason, titles) in shared {
                let what = format!("{} {} checks", titles.len(), group.to_lowercase());
                self.entry(Outcome::Skip, &format!("{what}: {reason}"), lines);
            }
            let texts: Vec<String> = single
                .into_iter()
                .map(|(reason, titles)| format!("{}: {reason}", titles.concat()))
                .collect();
            if !texts.is_empty() {
                self.entry(Outcome::Skip, &texts.join("; "), lines);
            }
        }
        for (group, findings) in by_group(report) {
            let passed = findings.iter().filter(|one| one.outcome == Outcome::Pass);
            let text = match passed.count() {
                0 => continue,
                1 => format!("{group}: 1 check passed"),
                count => format!("{group}: {count} checks passed"),
            };
            self.entry(Outcome::Pass, &text, lines);
        }
    }

    fn finding(&self, finding: &Finding, shown: &mut Steps, lines: &mut Vec<String>) {
        let Finding {
            id, title, detail, ..
        } = finding;
        let text = if self.verbose && finding.outcome != Outcome::Skip {
            format!(
                "{title}: {} [{id}, {} ms]",
                printable_lines(detail),
                finding.millis
            )
        } else {
            format!("{title}: {} [{id}]", printable_lines(detail))
        };
        self.entry(finding.outcome, &text, lines);
        let Some(remedy) = &finding.remedy else {
            return;
        };
        for step in shown.new_ones(id, remedy) {
            let indent = " ".repeat(INDENT);
            lines.extend(self.wrapped(&format!("{indent}fix: {step}")));
        }
    }

    fn fixed(&self, fixed: &Fixed, lines: &mut Vec<String>) {
        let Fixed { check, action, .. } = fixed;
        let (label, text) = match (fixed.outcome, &fixed.error) {
            (FixOutcome::Done, _) => (("fixed", Tone::Good), action.clone()),
            (FixOutcome::Failed, None) => (label(Outcome::Fail), action.clone()),
            (FixOutcome::Failed, Some(error)) => {
                (label(Outcome::Fail), format!("{action}: {error}"))
            }
            (FixOutcome::Declined, _) => (label(Outcome::Skip), format!("declined: {action}")),
            (FixOutcome::Offered, _) => (label(Outcome::Skip), format!("not confirmed: {action}")),
        };
        self.labelled(label, &format!("{text} [{check}]"), lines);
    }

    fn entry(&self, outcome: Outcome, text: &str, lines: &mut Vec<String>) {
        self.labelled(label(outcome), text, lines);
    }

    fn labelled(&self, (word, tone): (&str, Tone), text: &str, lines: &mut Vec<String>) {
        let mut wrapped = self.wrapped(&format!("{word:<INDENT$}{text}"));
        if self.colour {
            // After wrapping, which would count the colours as columns.
            wrapped[0] = wrapped[0].replacen(word, &tone.paint(word), 1);
        }
        lines.extend(wrapped);
    }

    fn wrapped(&self, line: &str) -> Vec<String> {
        wrapped(line, INDENT, self.width.unwrap_or(usize::MAX))
    }
}

/// The word for an outcome, and its colour.
fn label(outcome: Outcome) -> (&'static str, Tone) {
    match outcome {
        Outcome::Pass => ("ok", Tone::Good),
        Outcome::Warn => ("WARN", Tone::Attention),
        Outcome::Fail => ("FAIL", Tone::Bad),
        Outcome::Skip => ("skip", Tone::Muted),
    }
}

/// The line in pieces that fit the width, at least one. A word is never broken.
fn wrapped(line: &str, indent: usize, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    for word in line.split_inclusive(' ') {
        let columns = current.chars().count() + word.trim_end().chars().count();
        if columns > width && current.trim_end().chars().count() > indent {
            lines.push(current.trim_end().to_owned());
            current = " ".repeat(indent);
        }
        current += word;
    }
    lines.push(current);
    lines
}

/// The groups that have findings.
fn by_group(report: &Report) -> impl Iterator<Item = (&'static str, Vec<&Finding>)> {
    GROUPS.iter().filter_map(|group| {
        let findings: Vec<&Finding> = report
            .findings()
            .iter()
            .filter(|one| selects(group.prefix, one.id))
            .collect();
        (!findings.is_empty()).then_some((group.title, findings))
    })
}

/// The titles of the skipped checks by reason, in the order of the report.
fn skips<'a>(findings: &[&'a Finding]) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut skips: Vec<(&str, Vec<&str>)> = Vec::new();
    for finding in findings.iter().filter(|one| one.outcome == Outcome::Skip) {
        match skips
            .iter_mut()
            .find(|(reason, _)| *reason == finding.detail)
        {
            Some((_, titles)) => titles.push(finding.title),
            None => skips.push((&finding.detail, vec![finding.title])),
        }
    }
    skips
}

/// Where to read more about what needs attention, and what can be done about it at once.
fn next_steps(report: &Report) -> Vec<String> {
    let summary = report.summary();
    let mut steps = Vec::new();
    if summary.fail + summary.warn > 0 {
        steps.push("About a check: todoctl explain ID".to_owned());
    }
    let fixes: usize = report.findings().iter().map(|one| one.fixes.len()).sum();
    if fixes > 0 && report.fixed().is_empty() {
        let them = if fixes == 1 {
            "1 fix"
        } else {
            &format!("{fixes} fixes")
        };
        steps.push(format!(
            "To apply {them}, after asking: todoctl doctor --fix"
        ));
    }
    steps
}

fn counts(report: &Report) -> String {
    let summary = report.summary();
    let warnings = if summary.warn == 1 {
        "warning"
    } else {
        "warnings"
    };
    let counts = [
        (summary.fail, "failed"),
        (summary.warn, warnings),
        (summary.skip, "skipped"),
        (summary.pass, "passed"),
    ];
    let texts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Remedy;
    use crate::domain::Timestamp;

    fn finding(id: &'static str, outcome: Outcome, detail: &str, remedy: Option<&str>) -> Finding {
        Finding {
            id,
            title: "Title",
            outcome,
            detail: detail.to_owned(),
            remedy: remedy.map(Remedy::command),
            remedy_tried: None,
            millis: 3,
            fixes: Vec::new(),
        }
    }

    fn report() -> Report {
        Report::new(
            vec![
                finding("config.env_file", Outcome::Pass, "fine", None),
                finding("config.cors", Outcome::Warn, "doubtful", Some("A=1")),
                finding("database.url", Outcome::Fail, "no", Some("one\ntwo")),
                finding("database.login", Outcome::Skip, "because", None),
                finding("database.query", Outcome::Skip, "because", None),
                finding("services.mail", Outcome::Skip, "unset", None),
            ],
            Timestamp::from_micros_clamped(0),
        )
    }

    const PIPE: Layout = Layout {
        width: None,
        colour: false,
        verbose: false,
    };

    #[test]
    fn what_needs_attention_comes_first() {
        assert_eq!(
            PIPE.report(&report()),
            "FAIL  Title: no [database.url]\n      fix: one\n      fix: two\n\
             WARN  Title: doubtful [config.cors]\n      fix: A=1\n\
             skip  2 database checks: because\nskip  Title: unset\n\
             ok    Configuration: 1 check passed\n\n\
             1 failed, 1 warning, 3 skipped, 1 passed; --verbose lists every check\n\
             About a check: todoctl explain ID"
        );
    }

    #[test]
    fn verbose_lists_every_check() {
        let verbose = Layout {
            verbose: true,
            ..PIPE
        };
        let text = verbose.report(&report());
        assert!(text.starts_with("Configuration\nok    Title: fine [config.env_file, 3 ms]\n"));
        assert_eq!(text.matches("skip  ").count(), 3);
    }

    #[test]
    fn lines_are_wrapped_between_words_and_only_on_a_terminal() {
        let long = "word ".repeat(30);
        assert_eq!(PIPE.wrapped(&long).len(), 1);
        let terminal = Layout {
            width: Some(80),
            colour: true,
            ..PIPE
        };
        let lines = terminal.wrapped(&format!("ok    {long}"));
        assert_eq!(lines.len(), 2);
        assert!(lines[1].starts_with("      word"));
        let url = format!("ok    {}", "x".repeat(100));
        assert_eq!(terminal.wrapped(&url), [url]);
        let mut lines = Vec::new();
        terminal.entry(Outcome::Fail, "no", &mut lines);
        assert_eq!(lines, [format!("{}  no", Tone::Bad.paint("FAIL"))]);
    }
}
