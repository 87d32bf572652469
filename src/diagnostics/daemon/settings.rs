//! Whether the running daemon has the settings that this command has.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::{Audit, Fingerprints, Remedy, Source, fingerprints};
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::services::daemon::DaemonStatus;

use super::environ::{hidden_here, own_values};
use super::status::of_status;

pub(super) async fn configuration(context: &Context, limit: Duration) -> Verdict {
    let ours = fingerprints(&context.request.source, &context.audit);
    of_status(context, limit, |status| {
        let pid = status.process.map(|process| process.pid);
        let source = &context.request.source;
        let of_daemon = |names: &[&str]| {
            let own = pid.and_then(|pid| own_values(pid, source, names));
            own.or_else(|| hidden_here(source, names))
        };
        compare_settings(&status.configuration, &ours, of_daemon)
    })
    .await
}

/// The variable that the key of fingerprints is derived from.
const KEY: &str = "SESSION_HASH_SECRET";

/// The settings that a daemon has with other values than this command; none where it tells nothing.
pub(super) fn other_values(status: &DaemonStatus, source: &Source, audit: &Audit) -> Vec<String> {
    let theirs = &status.configuration;
    let ours = fingerprints(source, audit);
    if theirs.is_empty() || ours.is_empty() {
        return Vec::new();
    }
    let names = differing(theirs, &ours).into_iter();
    names.map(str::to_owned).collect()
}

/// With another key every fingerprint differs, which says nothing about the values.
fn differing<'f>(theirs: &'f Fingerprints, ours: &'f Fingerprints) -> Vec<&'f str> {
    if theirs.get(KEY) != ours.get(KEY) {
        return vec![KEY];
    }
    let all = theirs.keys().chain(ours.keys());
    let names = all.filter(|name| theirs.get(*name) != ours.get(*name));
    let names: BTreeSet<&str> = names.map(String::as_str).collect();
    names.into_iter().collect()
}

/// `of_daemon` tells which of the variables the daemon has in its environment.
fn compare_settings(
    theirs: &Fingerprints,
    ours: &Fingerprints,
    of_daemon: impl FnOnce(&[&str]) -> Option<(String, Remedy)>,
) -> Verdict {
    if theirs.is_empty() {
        return Verdict::skip("skipped: the daemon tells nothing about its settings");
    }
    if ours.is_empty() {
        return Verdict::skip(format!("skipped: {KEY} is not set here, or weak"));
    }
    let names = differing(theirs, ours);
    if names.is_empty() {
        return Verdict::pass(format!("{} settings as here", ours.len()));
    }
    let text = format!("the daemon has other values of {}", names.join(", "));
    if let Some((why, remedy)) = of_daemon(&names) {
        return Verdict::warn(format!("{text}; {why}"), remedy);
    }
    Verdict::warn(
        text,
        Remedy::note(
            "restart the daemon, if they were changed on purpose; otherwise run this command with the daemon's environment",
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::diagnostics::Outcome::{self, Pass, Warn};

    #[test]
    fn settings() {
        let of = |values: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pairs = values.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let ours = of(&[(KEY, "k"), ("A", "1"), ("B", "2")]);
        let compare_settings = |theirs: &BTreeMap<_, _>, ours: &BTreeMap<_, _>| {
            compare_settings(theirs, ours, |_| None)
        };
        assert_eq!(compare_settings(&ours, &ours).outcome, Pass);
        assert_eq!(compare_settings(&of(&[]), &ours).outcome, Outcome::Skip);
        assert_eq!(compare_settings(&ours, &of(&[])).outcome, Outcome::Skip);
        let other = compare_settings(&of(&[(KEY, "k"), ("A", "x"), ("C", "3")]), &ours);
        assert_eq!(other.outcome, Warn);
        assert!(other.detail.ends_with("A, B, C"), "{}", other.detail);
        // With another key every fingerprint differs, which says nothing about the values.
        let other = compare_settings(&of(&[(KEY, "x"), ("A", "y")]), &ours);
        assert!(other.detail.ends_with(KEY), "{}", other.detail);
    }
}
