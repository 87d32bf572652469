use super::*;
use crate::config::{ServicesConfig, Source};
use crate::diagnostics::Outcome::{self, Pass, Warn};
use crate::store::NOT_TRIED;

const NOW: i64 = 1_000_000;

fn verdict(mails: MailStatus) -> Verdict {
    verdict_when(mails, None)
}

/// So many mails wait in the database.
fn verdict_when(mails: MailStatus, waiting: Option<i64>) -> Verdict {
    let (config, source) = (ServicesConfig::default(), Source::default());
    let status = DaemonStatus {
        mails: Some(mails),
        ..DaemonStatus::default()
    };
    let provider = Provider::of(&config, &source);
    check_mails(&status, waiting, NOW, None, provider)
}

fn with(outcomes: &[(&str, &str, i64, i64)]) -> Verdict {
    let outcomes = outcomes
        .iter()
        .map(|(state, reason, mails, age)| MailOutcome {
            state: (*state).to_owned(),
            reason: (!reason.is_empty()).then(|| (*reason).to_owned()),
            mails: *mails,
            oldest: NOW - age,
        });
    let outcomes: Vec<MailOutcome> = outcomes.collect();
    let pending = of_state(&outcomes, "pending");
    verdict(MailStatus {
        pending: pending.map(|one| one.mails).sum(),
        outcomes: Some(outcomes),
        ..MailStatus::default()
    })
}

#[test]
fn mails_that_wait() {
    let of = |reason, age| with(&[("pending", reason, 20, age)]);
    let hours = 6 * 3600;
    let late = of("500 application_error", hours);
    assert_eq!(late.outcome, Warn);
    assert!(
        late.detail
            .starts_with("20 mails wait, the oldest for 6h, ")
            && late.detail.ends_with("failed: 500 application_error"),
        "{}",
        late.detail
    );
    for reason in [
        "429 rate_limit_exceeded",
        "no answer within 10s",
        "unreachable",
    ] {
        assert_eq!(of(reason, hours).outcome, Warn, "{reason}");
        assert_eq!(of(reason, 600).outcome, Pass, "{reason}");
    }
    // It lasts until the next day or month.
    for reason in ["429 daily_quota_exceeded", "429 monthly_quota_exceeded"] {
        assert_eq!(of(reason, 60).outcome, Warn, "{reason}");
    }
    for reason in ["", NOT_TRIED] {
        assert_eq!(of(reason, hours).outcome, Pass, "{reason}");
    }
}

#[test]
fn mails_without_a_recipient() {
    let of = |reason, skipped, sent| -> Outcome {
        with(&[("skipped", reason, skipped, 1), ("sent", "", sent, 1)]).outcome
    };
    assert_eq!(of(NO_ACCOUNT, 20, 0), Warn);
    assert_eq!(of("the user has no address", 20, 2), Warn);
    assert_eq!(of(NO_ACCOUNT, 2, 0), Pass);
    assert_eq!(of(NO_ACCOUNT, 20, 20), Pass);
}

#[test]
fn mails_that_were_given_up() {
    let recipient = with(&[("dead", "422 validation_error (to)", 7, 1)]);
    assert!(
        recipient.detail.contains("recipient"),
        "{}",
        recipient.detail
    );
    assert!(
        !recipient
            .remedy
            .unwrap()
            .to_string()
            .contains("RESEND_API_KEY")
    );
    let expired = with(&[("dead", "expired: 500", 7, 1)]);
    assert!(
        expired.detail.contains("after 24 hours"),
        "{}",
        expired.detail
    );
    let older = |dead| {
        verdict(MailStatus {
            dead,
            ..MailStatus::default()
        })
    };
    assert_eq!(older(0).outcome, Pass);
    assert_eq!(older(2).outcome, Warn);
}

#[test]
fn accounts() {
    let of = |accounts: Option<&str>| {
        verdict(MailStatus {
            accounts: accounts.map(str::to_owned),
            ..MailStatus::default()
        })
    };
    for quiet in [None, Some("ready"), Some("canary")] {
        assert_eq!(of(quiet).outcome, Pass);
    }
    for word in ["missing", "other_columns", "no_right"] {
        let found = of(Some(word));
        assert_eq!(found.outcome, Warn);
        assert!(found.remedy.is_some(), "{word}");
    }
}

#[test]
fn pauses() {
    for (reason, named) in [
        ("404 not_found", "RESEND_API_URL"),
        ("405", "RESEND_API_URL"),
        ("308", "RESEND_API_URL"),
        (
            "200 without an id, as no mail provider answers",
            "RESEND_API_URL",
        ),
        ("403 validation_error", "RESEND_API_KEY"),
        ("401", "RESEND_API_KEY"),
        ("422 invalid_from_address", "'EMAIL_FROM="),
        ("422 validation_error (from)", "'EMAIL_FROM="),
    ] {
        let status = MailStatus {
            pending: 3,
            paused: true,
            paused_since: Some(NOW - 61),
            paused_reason: Some(reason.to_owned()),
            // Ten days and a half, and 14 minutes.
            paused_until: Some(NOW + 14 * 60),
            ..MailStatus::default()
        };
        let paused = verdict_when(status.clone(), Some(2));
        assert_eq!(paused.outcome, Warn);
        assert!(paused.detail.contains(", for 1m)"), "{}", paused.detail);
        let remedy = paused.remedy.unwrap().to_string();
        assert!(remedy.contains(named), "{reason}: {remedy}");
        assert!(paused.detail.contains("2 mails wait"), "{}", paused.detail);
        assert!(remedy.contains("at 14:00 UTC; "), "{remedy}");
        // Another process has sent them.
        assert_eq!(verdict_when(status, Some(0)).outcome, Pass);
    }
}
