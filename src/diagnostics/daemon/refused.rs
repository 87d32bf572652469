//! Clients that a running daemon refuses, although they are right to ask.

use std::net::IpAddr;

use crate::config::{Audit, Bounds, Remedy, Source};
use crate::diagnostics::collected::Collected;
use crate::services::daemon::RequestStatus;

use super::origins::check_origins;

mod auth_server;
mod causes;

use auth_server::of_auth_server;
use causes::CAUSES;

/// Fewer refusals may be the mistake of one client.
const REFUSED: u64 = 10;

/// Of the credentials of a kind. Beyond, the others are not refused one by one.
const REFUSED_PERCENT: u64 = 90;

/// Of all requests.
const LIMITED_PERCENT: u64 = 30;

/// Adds what keeps right clients out.
pub(super) fn check_refused(
    collected: &mut Collected,
    requests: &RequestStatus,
    source: &Source,
    audit: &Audit,
) {
    let minutes = requests.minutes;
    let auth_server = audit.services.auth_server_url.as_ref();
    for cause in CAUSES {
        let of_kind = |kind: &str| requests.credentials.get(kind);
        let refused = of_kind(cause.kind).and_then(|one| one.refused.get(cause.reason).copied());
        let refused = refused.unwrap_or(0);
        let accepted = of_kind(cause.among).map_or(0, |one| one.accepted);
        let all = refused.saturating_add(accepted);
        if refused >= REFUSED && is_share(refused, all, REFUSED_PERCENT) {
            let (what, remedy) = auth_server
                .and_then(|url| of_auth_server(cause.reason, url))
                .unwrap_or_else(|| (cause.what.to_owned(), Remedy::note(cause.remedy)));
            collected.warn(
                format!("{refused} of {all} {what} (within {minutes} min)"),
                remedy,
            );
        }
    }
    check_missing(collected, requests);
    check_paths(collected, requests);
    check_proxies(collected, requests, source);
    check_origins(collected, requests, &audit.http.cors_origins);
    check_bodies(collected, requests, audit.http.max_body_bytes);
    let limited = requests.limited;
    if limited >= REFUSED && is_share(limited, requests.answered, LIMITED_PERCENT) {
        let limit = source
            .get("RATE_LIMIT_PER_MINUTE")
            .and_then(|text| text.parse().ok());
        let limit = limit
            .unwrap_or(0_u64)
            .saturating_mul(10)
            .max(usual("RATE_LIMIT_PER_MINUTE"));
        collected.warn(
            format!(
                "RATE_LIMIT_PER_MINUTE refused {limited} of {} requests within {minutes} min (429)",
                requests.answered
            ),
            Remedy::note(
                "unless these are too many on purpose, raise the limit, and restart the daemon:",
            )
            .then(Remedy::set("RATE_LIMIT_PER_MINUTE", limit)),
        );
    }
}

/// Adds that requests have no credentials, although nobody asks only for what needs none.
fn check_missing(collected: &mut Collected, requests: &RequestStatus) {
    let none = requests.credentials.get("none");
    let missing = none.and_then(|none| none.refused.get("missing").copied());
    let missing = missing.unwrap_or(0);
    if missing < REFUSED || accepted(requests) > 0 {
        return;
    }
    collected.warn(
        format!(
            "{missing} requests had no Authorization: Bearer header, and none had one that was accepted, within {} min",
            requests.minutes
        ),
        Remedy::note("let the proxy in front pass Authorization on (nginx: no proxy_set_header Authorization, and no auth_basic of its own), and clients send Bearer and a token"),
    );
}

/// Adds that clients ask for paths that do not exist.
fn check_paths(collected: &mut Collected, requests: &RequestStatus) {
    let unknown = requests.unknown_paths;
    if unknown < REFUSED || accepted(requests) > 0 {
        return;
    }
    collected.warn(
        format!(
            "{unknown} requests with credentials were for paths that do not exist (404), and none was for another, within {} min",
            requests.minutes
        ),
        Remedy::note("let the proxy in front take its prefix off the path, so that /api/tasks/ arrives as /tasks/ (nginx: proxy_pass with / at the end), or correct the base address in the clients"),
    );
}

/// Credentials of all kinds.
fn accepted(requests: &RequestStatus) -> u64 {
    let kinds = requests.credentials.values();
    kinds.map(|of_kind| of_kind.accepted).sum()
}

/// What is proposed for a variable.
fn usual(name: &str) -> u64 {
    Bounds::of(name).map_or(0, |bounds| bounds.usual.into())
}

/// The most that `MAX_BODY_BYTES` may be.
const LARGEST_BODY: u64 = 64 * 1024 * 1024;

/// `max` is what `MAX_BODY_BYTES` is here.
fn check_bodies(collected: &mut Collected, requests: &RequestStatus, max: usize) {
    let refused = requests.too_large;
    let (limit, usual) = (requests.max_body_bytes, usual("MAX_BODY_BYTES"));
    let is_much = limit < usual || is_share(refused, requests.answered, LIMITED_PERCENT);
    if refused < REFUSED || !is_much {
        return;
    }
    let remedy = if max as u64 > limit {
        Remedy::note(format!(
            "restart the daemon, so that it reads MAX_BODY_BYTES={max}"
        ))
    } else {
        let more = limit.saturating_mul(4).clamp(usual, LARGEST_BODY);
        Remedy::note("unless these bodies are too large on purpose, raise the limit, and restart the daemon:")
            .then(Remedy::set("MAX_BODY_BYTES", more))
    };
    collected.warn(
        format!(
            "MAX_BODY_BYTES={limit} refused {refused} of {} requests within {} min (413)",
            requests.answered, requests.minutes
        ),
        remedy,
    );
}

fn is_share(part: u64, all: u64, percent: u64) -> bool {
    part.saturating_mul(100) >= all.saturating_mul(percent)
}

/// All users behind a proxy that is not trusted count as one address.
fn check_proxies(collected: &mut Collected, requests: &RequestStatus, source: &Source) {
    let proxies = requests.limited_proxies.iter();
    // Another program may answer in place of the daemon.
    let proxies: Vec<(IpAddr, u64)> = proxies
        .filter_map(|(proxy, count)| Some((proxy.parse().ok()?, *count)))
        .collect();
    if proxies.is_empty() {
        return;
    }
    let names: Vec<String> = proxies.iter().map(|(proxy, _)| proxy.to_string()).collect();
    let count: u64 = proxies.iter().map(|(_, count)| count).sum();
    let trusted = source.get("TRUSTED_PROXIES").unwrap_or_default();
    let trusted = trusted.split(',').map(str::trim).map(str::to_owned);
    let mut trusted: Vec<String> = trusted.filter(|one| !one.is_empty()).collect();
    let added = names.iter().filter(|name| !trusted.contains(name));
    let added: Vec<String> = added.cloned().collect();
    trusted.extend(added);
    collected.warn(
        format!(
            "requests come from {} with X-Forwarded-For, and TRUSTED_PROXIES does not name it: all its users share one limit of wrong credentials, and {count} requests were answered with 429 within {} min",
            names.join(", "),
            requests.minutes
        ),
        Remedy::note("where that is your proxy (and no client can reach the daemon without it), trust it, and restart the daemon:")
            .then(Remedy::set("TRUSTED_PROXIES", trusted.join(","))),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Outcome::{Pass, Warn};
    use crate::diagnostics::verdict::Verdict;
    use crate::services::daemon::CredentialStatus;

    fn verdict(requests: &RequestStatus, values: &[(&str, &str)]) -> Verdict {
        let mut collected = Collected::default();
        let source = Source::from_values(values.iter().copied());
        check_refused(&mut collected, requests, &source, &Audit::of(&source));
        collected.verdict("fine")
    }

    #[test]
    fn credentials() {
        let of = |kind: &str, reason: &str, refused, accepted| {
            let refused = CredentialStatus {
                accepted: 0,
                refused: [(reason.to_owned(), refused)].into(),
            };
            let mut requests = RequestStatus {
                credentials: [(kind.to_owned(), refused)].into(),
                ..RequestStatus::default()
            };
            let cause = CAUSES
                .iter()
                .find(|one| one.reason == reason && one.kind == kind);
            let among = cause.map_or(kind, |cause| cause.among);
            requests
                .credentials
                .entry(among.to_owned())
                .or_default()
                .accepted = accepted;
            verdict(&requests, &[])
        };
        for cause in CAUSES {
            assert_eq!(of(cause.kind, cause.reason, 40, 0).outcome, Warn);
            assert_eq!(of(cause.kind, cause.reason, 40, 400).outcome, Pass);
            assert_eq!(of(cause.kind, cause.reason, 3, 0).outcome, Pass);
        }
        // Clients refresh their tokens.
        assert_eq!(of("jwt", "expired", 40, 40).outcome, Pass);
        let detail = of("jwt", "signature", 40, 2).detail;
        assert!(detail.starts_with("40 of 42 user tokens"), "{detail}");
    }

    #[test]
    fn proxies_that_change_requests() {
        let of = |missing, unknown_paths, accepted| {
            let none = CredentialStatus {
                accepted: 0,
                refused: [("missing".to_owned(), missing)].into(),
            };
            let jwt = CredentialStatus {
                accepted,
                ..CredentialStatus::default()
            };
            let requests = RequestStatus {
                unknown_paths,
                credentials: [("none".to_owned(), none), ("jwt".to_owned(), jwt)].into(),
                ..RequestStatus::default()
            };
            verdict(&requests, &[]).outcome
        };
        assert_eq!(of(10, 0, 0), Warn);
        assert_eq!(of(9, 9, 0), Pass);
        assert_eq!(of(0, 10, 0), Warn);
        assert_eq!(of(100, 100, 1), Pass);
    }

    #[test]
    fn keys_of_another_server() {
        let status = CredentialStatus {
            accepted: 1,
            refused: [("unknown_key".to_owned(), 40)].into(),
        };
        let requests = RequestStatus {
            credentials: [("jwt".to_owned(), status)].into(),
            ..RequestStatus::default()
        };
        let with = verdict(
            &requests,
            &[("AUTH_SERVER_URL", "http://u:canary@auth:3001/x")],
        );
        assert!(
            with.detail
                .contains("that http://auth:3001 does not publish")
        );
        let without = verdict(&requests, &[]);
        assert!(without.detail.contains("is not accepted here"));
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
        assert!(remedy(1 << 20, "1048576").ends_with("MAX_BODY_BYTES=4194304"));
        assert!(remedy(1024, "1048576").starts_with("# restart"));
        assert!(remedy(1 << 26, "67108864").ends_with("MAX_BODY_BYTES=67108864"));
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
}
