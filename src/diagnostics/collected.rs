//! What one check finds in several places.

use crate::config::Remedy;

use super::verdict::Verdict;

/// The faults that a check has found so far, and what belongs to its detail anyway.
#[derive(Debug, Default)]
pub(super) struct Collected {
    faults: Vec<String>,
    notes: Vec<String>,
    remedy: Remedy,
    has_failed: bool,
}

impl Collected {
    pub(super) fn warn(&mut self, fault: impl Into<String>, remedy: impl Into<Option<Remedy>>) {
        self.faults.push(fault.into());
        self.remedy = std::mem::take(&mut self.remedy).then(remedy);
    }

    pub(super) fn fail(&mut self, fault: impl Into<String>, remedy: impl Into<Option<Remedy>>) {
        self.has_failed = true;
        self.warn(fault, remedy);
    }

    /// A step after all others, if there are any.
    pub(super) fn finish_with(&mut self, step: Remedy) {
        if !self.remedy.is_empty() {
            self.remedy = std::mem::take(&mut self.remedy).then(step);
        }
    }

    /// What is no fault.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// The faults, then the notes. Without faults `fine`, then the notes.
    pub(super) fn verdict(self, fine: impl Into<String>) -> Verdict {
        let Self {
            mut faults,
            notes,
            remedy,
            has_failed,
        } = self;
        let is_fine = faults.is_empty();
        if is_fine {
            faults.push(fine.into());
        }
        faults.retain(|text| !text.is_empty());
        let detail = [faults, notes].concat().join("; ");
        if is_fine {
            Verdict::pass(detail)
        } else if has_failed {
            Verdict::fail(detail, remedy)
        } else {
            Verdict::warn(detail, remedy)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Outcome;

    #[test]
    fn the_worst_fault_decides() {
        let mut collected = Collected::default();
        collected.note("seen");
        let verdict = collected.verdict("fine");
        assert_eq!(verdict.outcome, Outcome::Pass);
        assert_eq!(verdict.detail, "fine; seen");

        let mut collected = Collected::default();
        collected.fail("one", Remedy::command("a"));
        collected.warn("two", Remedy::command("b"));
        collected.note("seen");
        let verdict = collected.verdict("fine");
        assert_eq!(verdict.outcome, Outcome::Fail);
        assert_eq!(verdict.detail, "one; two; seen");
        assert_eq!(verdict.remedy.unwrap().to_string(), "a\nb");
    }
}
