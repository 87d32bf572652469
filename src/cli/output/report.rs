//! Reports of checks: what needs attention first, the rest in short.

use crate::diagnostics::{Finding, GROUPS, Outcome, Report, selects};

use super::terminal::{self, Tone, stdout_has_colour};
use super::{Format, data, json};

/// Prints a report; `verbose` lists every check by group.
pub(crate) fn print(report: &Report, format: Format, verbose: bool) -> anyhow::Result<()> {
    match format {
        Format::Json => json(report),
        Format::Table => {
            let layout = Layout {
                width: terminal::width().map(usize::from),
                colour: stdout_has_colour(),
                verbose,
            };
            data(&layout.report(report))
        }
    }
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
    fn report(&self, report: &Report) -> String {
        let mut lines = Vec::new();
        if self.verbose {
            self.all(report, &mut lines);
        } else {
            self.folded(report, &mut lines);
        }
        lines.push(String::new());
        lines.push(counts(report, self.verbose));
        lines.join("\n")
    }

    fn all(&self, report: &Report, lines: &mut Vec<String>) {
        for (title, findings) in by_group(report) {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            lines.push(title.to_owned());
            for finding in findings {
                self.finding(finding, lines);
            }
        }
    }

    fn folded(&self, report: &Report, lines: &mut Vec<String>) {
        // A warning may be gone with the failure that caused it.
        for outcome in [Outcome::Fail, Outcome::Warn] {
            for finding in report
                .findings()
                .iter()
                .filter(|one| one.outcome == outcome)
            {
                self.finding(finding, lines);
            }
        }
        for (group, findings) in by_group(report) {
            for (reason, titles) in skips(&findings) {
                let what = match titles[..] {
                    [title] => title.to_owned(),
                    _ => format!("{} {} checks", titles.len(), group.to_lowercase()),
                };
                self.entry(Outcome::Skip, &format!("{what}: {reason}"), lines);
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

    fn finding(&self, finding: &Finding, lines: &mut Vec<String>) {
        let Finding {
            id, title, detail, ..
        } = finding;
        let text = if self.verbose && finding.outcome != Outcome::Skip {
            format!("{title}: {detail} [{id}, {} ms]", finding.millis)
        } else {
            format!("{title}: {detail} [{id}]")
        };
        self.entry(finding.outcome, &text, lines);
        let remedy = finding.remedy.as_ref().map(ToString::to_string);
        for step in remedy.iter().flat_map(|remedy| remedy.lines()) {
            let indent = " ".repeat(INDENT);
            lines.extend(self.wrapped(&format!("{indent}fix: {step}")));
        }
    }

    fn entry(&self, outcome: Outcome, text: &str, lines: &mut Vec<String>) {
        let (word, tone) = match outcome {
            Outcome::Pass => ("ok", Tone::Good),
            Outcome::Warn => ("WARN", Tone::Attention),
            Outcome::Fail => ("FAIL", Tone::Bad),
            Outcome::Skip => ("skip", Tone::Muted),
        };
        let mut wrapped = self.wrapped(&format!("{word:<INDENT$}{text}"));
        if self.colour {
            // After wrapping, which would count the colours as columns.
            wrapped[0] = wrapped[0].replacen(word, &tone.paint(word), 1);
        }
        lines.extend(wrapped);
    }

    /// The line in pieces that fit the width, at least one. A word is never broken.
    fn wrapped(&self, line: &str) -> Vec<String> {
        let width = self.width.unwrap_or(usize::MAX);
        let mut lines = Vec::new();
        let mut current = String::new();
        for word in line.split_inclusive(' ') {
            let columns = current.chars().count() + word.trim_end().chars().count();
            if columns > width && current.trim_end().chars().count() > INDENT {
                lines.push(current.trim_end().to_owned());
                current = " ".repeat(INDENT);
            }
            current += word;
        }
        lines.push(current);
        lines
    }
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

fn counts(report: &Report, verbose: bool) -> String {
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
    let hint = if verbose {
        ""
    } else {
        "; --verbose lists every check"
    };
    texts.join(", ") + hint
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Remedy;

    fn finding(id: &'static str, outcome: Outcome, detail: &str, remedy: Option<&str>) -> Finding {
        Finding {
            id,
            title: "Title",
            outcome,
            detail: detail.to_owned(),
            remedy: remedy.map(Remedy::command),
            millis: 3,
        }
    }

    fn report() -> Report {
        Report::new(vec![
            finding("config.env_file", Outcome::Pass, "fine", None),
            finding("config.cors", Outcome::Warn, "doubtful", Some("A=1")),
            finding("database.url", Outcome::Fail, "no", Some("one\ntwo")),
            finding("database.login", Outcome::Skip, "because", None),
            finding("database.query", Outcome::Skip, "because", None),
            finding("services.mail", Outcome::Skip, "unset", None),
        ])
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
             1 failed, 1 warning, 3 skipped, 1 passed; --verbose lists every check"
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
