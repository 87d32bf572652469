//! What `DATABASE_URL` says, without its password.

use crate::config::Section;
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;

pub(super) fn url(context: &Context) -> Verdict {
    let mut problems = context.audit.problems_of(Section::Database).peekable();
    let Some(config) = &context.audit.database else {
        return Verdict::of_problems(problems);
    };
    if problems.peek().is_some() {
        return Verdict::of_problems(problems);
    }
    let url = config.target.redacted();
    let (warnings, remedy) = context.audit.warned_of(Section::Database);
    if warnings.is_empty() {
        return Verdict::pass(url);
    }
    Verdict::warn(format!("{url}; {}", warnings.join("; ")), remedy)
}
