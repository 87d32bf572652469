//! What the running daemon's outbox tells about the provider: mails that it accepts prove more than
//! any other answer.

use crate::config::Fingerprints;
use crate::services::daemon::{DaemonStatus, MailOutcome};
use crate::store::NOT_TRIED;

use super::provider::Blame;

/// A mail is tried seven times within the first hour.
const LONG_SECONDS: i64 = 60 * 60;

/// How the provider's name of an error ends where the mails of a day or a month are used up.
const QUOTA: &str = "_quota_exceeded";

/// How long an accepted mail says that the next one is accepted, unless one fails.
const LATELY_SECONDS: i64 = 6 * 60 * 60;

/// What decides where mails are sent to, and from whom.
const SETTINGS: [&str; 3] = ["RESEND_API_URL", "RESEND_API_KEY", "EMAIL_FROM"];

/// By default, nothing is known.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outbox {
    /// Whether a mail was accepted since the daemon started, whatever its settings are.
    pub(super) has_sent: bool,
    /// Whether it has done so lately, and none waits for long.
    pub(super) passes: bool,
    /// Whether mails wait because they are redirected.
    pub(super) is_redirected: bool,
}

impl Outbox {
    /// `own` are the settings here, and `now` is in seconds since 1970.
    pub(super) fn of(status: &DaemonStatus, own: &Fingerprints, now: i64) -> Self {
        let Some(mails) = &status.mails else {
            return Self::default();
        };
        let has_sent = mails.last_sent.is_some();
        let theirs = &status.configuration;
        let is_known = !own.is_empty() && !theirs.is_empty();
        let differs = |name: &&str| theirs.get(*name) != own.get(*name);
        if is_known && SETTINGS.iter().any(differs) {
            return Self {
                has_sent,
                ..Self::default()
            };
        }
        let outcomes = mails.outcomes.as_deref().unwrap_or_default();
        let waits = mails.paused || !late(outcomes, now).is_empty();
        let is_recent = |at: i64| now - at < LATELY_SECONDS;
        let tried = outcomes.iter().filter(|one| one.state == "pending");
        let mut failures = tried
            .filter_map(|one| one.reason.as_deref())
            .chain(mails.paused_reason.as_deref());
        Self {
            has_sent,
            passes: !waits && mails.last_sent.is_some_and(is_recent),
            is_redirected: failures.any(|reason| Blame::of(reason) == Blame::Redirection),
        }
    }
}

/// Mails that wait although they were tried for long, or for a reason that lasts long, those of the most frequent reason first.
pub(in crate::diagnostics) fn late(
    outcomes: &[MailOutcome],
    now: i64,
) -> Vec<(&str, &MailOutcome)> {
    outcomes
        .iter()
        .filter(|one| one.state == "pending")
        .filter(|one| {
            let is_used_up = |reason: &str| reason.ends_with(QUOTA);
            now - one.oldest >= LONG_SECONDS || one.reason.as_deref().is_some_and(is_used_up)
        })
        .filter_map(|one| Some((one.reason.as_deref()?, one)))
        .filter(|(reason, _)| *reason != NOT_TRIED)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::daemon::MailStatus;

    const NOW: i64 = 1_000_000;

    fn of(mails: MailStatus, ours: &str) -> Outbox {
        let settings = |url: &str| Fingerprints::from([(SETTINGS[0].to_owned(), url.to_owned())]);
        let status = DaemonStatus {
            mails: Some(mails),
            configuration: settings("one"),
            ..DaemonStatus::default()
        };
        Outbox::of(&status, &settings(ours), NOW)
    }

    fn waiting(reason: &str, age: i64) -> Vec<MailOutcome> {
        vec![MailOutcome {
            state: "pending".to_owned(),
            reason: Some(reason.to_owned()),
            mails: 7,
            oldest: NOW - age,
        }]
    }

    #[test]
    fn mails_that_were_accepted_are_a_proof() {
        let sent = |age: i64| MailStatus {
            last_sent: Some(NOW - age),
            ..MailStatus::default()
        };
        assert!(of(sent(60), "one").passes);
        // The daemon sends them elsewhere.
        let other = of(sent(60), "other");
        assert!(other.has_sent && !other.passes);
        let old = of(sent(7 * 3600), "one");
        assert!(old.has_sent && !old.passes);
        for (outcomes, passes) in [
            (waiting("429 rate_limit_exceeded", 60), true),
            (waiting("429 rate_limit_exceeded", 7200), false),
            (waiting(NOT_TRIED, 7200), true),
        ] {
            let found = of(
                MailStatus {
                    outcomes: Some(outcomes),
                    ..sent(60)
                },
                "one",
            );
            assert_eq!(found.passes, passes);
        }
        let paused = of(
            MailStatus {
                paused: true,
                ..sent(60)
            },
            "one",
        );
        assert!(!paused.passes);
        assert_eq!(of(MailStatus::default(), "one"), Outbox::default());
    }

    #[test]
    fn redirections() {
        for (reason, expected) in [("308", true), ("302", true), ("404", false), ("3", false)] {
            let mails = MailStatus {
                outcomes: Some(waiting(reason, 1)),
                ..MailStatus::default()
            };
            assert_eq!(of(mails, "one").is_redirected, expected, "{reason}");
        }
        let mails = MailStatus {
            paused: true,
            paused_reason: Some("301".to_owned()),
            ..MailStatus::default()
        };
        assert!(of(mails, "one").is_redirected);
    }
}
