//! What is written about checks.

use crate::cli::output::terminal;
use crate::diagnostics::Description;

use super::{label, wrapped};

/// What the checks look at, why, and how they can end.
pub(crate) fn descriptions(checks: &[Description]) -> String {
    let width = terminal::width().map_or(usize::MAX, usize::from);
    let texts = checks.iter().map(|check| {
        let outcomes: Vec<&str> = check.outcomes.iter().map(|one| label(*one).0).collect();
        let mut lines = vec![format!("{}: {}", check.id, check.title)];
        lines.extend(wrapped(&format!("  {}", check.about), 2, width));
        lines.push(format!("  Outcomes: {}", outcomes.join(", ")));
        if let Some(fix) = check.fix {
            lines.extend(wrapped(&format!("  doctor --fix: {fix}"), 2, width));
        }
        if !check.needs.is_empty() {
            lines.extend(wrapped(
                &format!("  Needs: {}", check.needs.join(", ")),
                2,
                width,
            ));
        }
        lines.push(format!("  Run it: todoctl doctor --only {}", check.id));
        lines.join("\n")
    });
    texts.collect::<Vec<String>>().join("\n\n")
}
