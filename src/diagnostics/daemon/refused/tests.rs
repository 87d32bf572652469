use super::*;
use crate::diagnostics::Outcome::{Pass, Warn};
use crate::diagnostics::verdict::Verdict;
use crate::services::daemon::{CredentialStatus, RefusalStatus};

fn verdict(requests: &RequestStatus, values: &[(&str, &str)]) -> Verdict {
    let mut collected = Collected::default();
    let source = Source::from_values(values.iter().copied());
    let own = Own {
        source: &source,
        audit: &Audit::of(&source),
        other_values: Vec::new(),
        other_issuer: None,
    };
    check_refused(&mut collected, requests, &own);
    collected.verdict("fine")
}

/// `refused` requests from this machine because of `cause`, and `others` to compare them with.
fn requests(cause: &Cause, refused: u64, others: u64) -> RequestStatus {
    let details = cause.details.iter().take(1);
    let refusal = RefusalStatus {
        reason: cause.reason.to_owned(),
        caller: cause.caller.to_owned(),
        method: "POST".to_owned(),
        route: "/tasks/".to_owned(),
        count: refused,
        details: details.map(|one| ((*one).to_owned(), refused)).collect(),
        addresses: [("127.0.0.1".to_owned(), refused)].into(),
        ..RefusalStatus::default()
    };
    let mut requests = RequestStatus {
        refusals: vec![refusal],
        answered: refused + others,
        ..RequestStatus::default()
    };
    match cause.among {
        Among::Accepted(kinds) => {
            let accepted = CredentialStatus {
                accepted: others,
                ..CredentialStatus::default()
            };
            requests.credentials = [(kinds[0].to_owned(), accepted)].into();
        }
        Among::Method => requests.done = [("POST".to_owned(), others)].into(),
        Among::Route => {
            let answered = ("POST /tasks/".to_owned(), refused + others);
            requests.answered_routes = [answered].into();
        }
        Among::Refreshes => requests.done = [("refresh".to_owned(), others)].into(),
        Among::Answers | Among::Nothing => {}
    }
    requests
}

/// From addresses on the internet.
fn from_the_internet(mut requests: RequestStatus, addresses: u64) -> RequestStatus {
    requests.refusals[0].addresses.clear();
    requests.refusals[0].public_addresses = addresses;
    requests
}

fn cause(caller: &str, reason: &str) -> &'static Cause {
    let mut causes = CAUSES.into_iter().flatten();
    let found = causes.find(|one| one.reason == reason && one.caller == caller);
    found.unwrap()
}

#[test]
fn every_cause() {
    for cause in CAUSES.into_iter().flatten() {
        let of = |refused, others| verdict(&requests(cause, refused, others), &[]).outcome;
        let reason = cause.reason;
        assert_eq!(of(9, 0), Pass, "{reason}");
        let (all, most, half, few, many) = match cause.usual {
            Usual::Never if cause.among == Among::Nothing => (Warn, Warn, Warn, Warn, Warn),
            Usual::Never => (Warn, Warn, Warn, Pass, Warn),
            Usual::Sometimes => (Warn, Warn, Warn, Pass, Pass),
            Usual::InTurn => (Warn, Warn, Pass, Pass, Pass),
            Usual::BeforeSignIn | Usual::ByStrangers => (Warn, Pass, Pass, Pass, Pass),
            Usual::ByFewAtATime => (Warn, Warn, Warn, Warn, Warn),
            Usual::ByOne => (Pass, Pass, Pass, Pass, Pass),
        };
        for (refused, others, expected) in [
            (40, 0, all),
            (40, 2, most),
            (40, 40, half),
            (40, 400, few),
            (100, 100_000, many),
        ] {
            assert_eq!(of(refused, others), expected, "{reason} {refused} {others}");
        }
    }
}

#[test]
fn what_is_said() {
    let said = |caller, reason| {
        let mut requests = requests(cause(caller, reason), 40, 2);
        requests.minutes = 15;
        let addresses = &mut requests.refusals[0].addresses;
        addresses.insert("10.0.0.5".to_owned(), 30);
        verdict(&requests, &[]).detail
    };
    let detail = said("jwt", "signature");
    assert!(
        detail.starts_with("40 of 42 user tokens had a wrong signature"),
        "{detail}"
    );
    assert!(
        detail.ends_with("JWT_SECRET (from 10.0.0.5, 127.0.0.1; within 15 min)"),
        "{detail}"
    );
    let detail = said("", "media_type");
    assert!(
        detail.starts_with("40 of 42 POST /tasks/ had another Content-Type"),
        "{detail}"
    );
}

#[test]
fn one_user_and_several() {
    let of = |reason, refused, others, addresses| {
        let requests = requests(cause("jwt", reason), refused, others);
        verdict(&from_the_internet(requests, addresses), &[]).outcome
    };
    assert_eq!(of("signature", 40, 2, 1), Pass);
    assert_eq!(of("signature", 40, 2, 2), Warn);
    assert_eq!(of("signature", 40, 0, 1), Warn);
    assert_eq!(of("expired", 40, 2, 1), Pass);
    assert_eq!(of("expired", 40, 2, 3), Warn);
}

#[test]
fn parts_of_a_kind() {
    for (caller, reason, refused, others, expected) in [
        ("jwt", "malformed", 30, 200, Warn),
        ("jwt", "malformed", 29, 40, Pass),
        ("session", "unknown_session", 40, 40, Warn),
        ("", "refresh_invalid", 60, 20, Warn),
        ("", "not_utf8", 60, 40, Warn),
        ("", "body_timed_out", 60, 40, Warn),
        ("", "body_form", 60, 100, Warn),
        // People mistype.
        ("", "validation", 60, 40, Pass),
        // Each is followed by one that is accepted.
        ("jwt", "expired", 60, 60, Pass),
        ("jwt", "expired", 60, 20, Warn),
        ("session", "ended_session", 20, 10, Pass),
    ] {
        let requests = requests(cause(caller, reason), refused, others);
        let outcome = verdict(&requests, &[]).outcome;
        assert_eq!(outcome, expected, "{reason} {refused} {others}");
    }
}

#[test]
fn users_without_a_token_beside_a_service() {
    let missing = CAUSES.into_iter().flatten();
    let mut missing = missing.filter(|one| one.usual == Usual::BeforeSignIn);
    let missing = missing.next().unwrap();
    let of = |refused, users, services, addresses| {
        let mut requests = requests(missing, refused, users);
        let accepted = CredentialStatus {
            accepted: services,
            ..CredentialStatus::default()
        };
        requests.credentials.insert("service".to_owned(), accepted);
        let requests = match addresses {
            0 => requests,
            addresses => from_the_internet(requests, addresses),
        };
        verdict(&requests, &[]).outcome
    };
    assert_eq!(of(10, 0, 0, 0), Warn);
    assert_eq!(of(29, 0, 30, 0), Pass);
    assert_eq!(of(30, 0, 30, 0), Warn);
    assert_eq!(of(30, 0, 30, 3), Warn);
    assert_eq!(of(90, 0, 30, 1), Pass);
    // Before they sign in.
    assert_eq!(of(40, 60, 0, 0), Pass);
}

#[test]
fn one_user_keeps_others_out() {
    let mut requests = from_the_internet(requests(cause("jwt", "signature"), 15, 0), 1);
    assert_eq!(verdict(&requests, &[]).outcome, Warn);
    requests.refusals.push(RefusalStatus {
        reason: "limited_untrusted_proxy".to_owned(),
        count: 60,
        ..RefusalStatus::default()
    });
    assert_eq!(verdict(&requests, &[]).outcome, Pass);
}

#[test]
fn strangers_and_probes() {
    let of = |reason, refused, others, addresses| {
        let requests = requests(cause("", reason), refused, others);
        verdict(&from_the_internet(requests, addresses), &[]).outcome
    };
    assert_eq!(of("tls", 40, 20, 1), Warn);
    assert_eq!(of("tls", 40, 50, 1), Pass);
    // Scanners ask once.
    assert_eq!(of("probe_path", 12, 0, 4), Pass);
    assert_eq!(of("limited_second_proxy", 10, 0, 2), Pass);
    assert_eq!(of("limited_second_proxy", 10, 0, 3), Warn);
}

#[test]
fn keys_of_another_server() {
    let mut requests = requests(cause("jwt", "unknown_key"), 40, 1);
    requests.refusals[0].details = [("EdDSA".to_owned(), 40)].into();
    let with = verdict(
        &requests,
        &[("AUTH_SERVER_URL", "http://u:canary@auth:3001/x")],
    );
    assert!(
        with.detail
            .contains("that http://auth:3001 does not publish")
    );
    let without = verdict(&requests, &[]);
    assert!(without.detail.contains("AUTH_SERVER_URL is not set"));
}

#[test]
fn bodies() {
    let of = |too_large, answered, limit, max: &str| {
        let requests = RequestStatus {
            answered,
            too_large,
            max_body_bytes: limit,
            ..RequestStatus::default()
        };
        verdict(&requests, &[("MAX_BODY_BYTES", max)])
    };
    assert_eq!(of(9, 9, 1024, "1024").outcome, Pass);
    assert_eq!(of(10, 1000, 1024, "1024").outcome, Warn);
    assert_eq!(of(10, 1000, 1 << 20, "1048576").outcome, Pass);
    assert_eq!(of(40, 100, 1 << 20, "1048576").outcome, Warn);
    let remedy = |limit, max| of(40, 42, limit, max).remedy.unwrap().to_string();
    assert!(remedy(1024, "1024").ends_with("MAX_BODY_BYTES=1048576"));
    // A larger limit does not make these valid.
    for (limit, text) in [(1 << 20, "1048576"), (1 << 26, "67108864")] {
        let remedy = remedy(limit, text);
        assert!(remedy.starts_with("# correct the client"), "{remedy}");
    }
    assert!(remedy(1024, "1048576").starts_with("# restart"));
}

#[test]
fn limits() {
    let of = |limited, answered, configured| {
        let requests = RequestStatus {
            answered,
            limited,
            ..RequestStatus::default()
        };
        verdict(&requests, &[("RATE_LIMIT_PER_MINUTE", configured)])
    };
    assert_eq!(of(7, 8, "1").outcome, Pass);
    assert_eq!(of(70, 80, "1").outcome, Warn);
    assert_eq!(of(70, 8000, "1").outcome, Pass);
    let remedy = |configured| of(70, 80, configured).remedy.unwrap().to_string();
    assert!(remedy("1").ends_with("RATE_LIMIT_PER_MINUTE=600"));
    // It is never lowered.
    assert!(remedy("1000").ends_with("RATE_LIMIT_PER_MINUTE=10000"));
}

#[test]
fn proxies() {
    let of = |proxy: &str, trusted| {
        let requests = RequestStatus {
            limited_proxies: [(proxy.to_owned(), 4)].into(),
            ..RequestStatus::default()
        };
        verdict(&requests, &[("TRUSTED_PROXIES", trusted)])
    };
    for (trusted, expected) in [
        ("", "TRUSTED_PROXIES=10.0.0.7"),
        (
            "10.1.0.0/16, 10.0.0.9",
            "TRUSTED_PROXIES='10.1.0.0/16,10.0.0.9,10.0.0.7'",
        ),
        ("10.0.0.7", "TRUSTED_PROXIES=10.0.0.7"),
    ] {
        let remedy = of("10.0.0.7", trusted).remedy.unwrap().to_string();
        assert!(remedy.ends_with(expected), "{remedy}");
    }
    assert_eq!(of("$(canary)", "").outcome, Pass);
}
