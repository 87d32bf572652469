//! Clients that a running daemon refuses, although they are right to ask.

use std::net::IpAddr;

use crate::config::{Remedy, Source, USUAL_LIMIT};
use crate::diagnostics::collected::Collected;
use crate::services::daemon::RequestStatus;

/// Fewer refusals may be the mistake of one client.
const REFUSED: u64 = 10;

/// Of the credentials of a kind. Beyond, the others are not refused one by one.
const REFUSED_PERCENT: u64 = 90;

/// Of all requests.
const LIMITED_PERCENT: u64 = 30;

/// What it means that nearly all credentials of a kind are refused for one reason.
struct Cause {
    kind: &'static str,
    /// As in the metric `auth_refusals_total`.
    reason: &'static str,
    what: &'static str,
    remedy: &'static str,
}

const CAUSES: [Cause; 10] = [
    Cause {
        kind: "jwt",
        reason: "signature",
        what: "user tokens had a wrong signature: the sign-in service signs with another JWT_SECRET",
        remedy: "give JWT_SECRET the value that the sign-in service has, and restart the daemon; this reads it without showing it, and keeps the old one as JWT_SECRET_PREVIOUS: todoctl config set JWT_SECRET=-",
    },
    Cause {
        kind: "jwt",
        reason: "unknown_key",
        what: "user tokens were signed with a key or an algorithm that is not accepted here",
        remedy: "for tokens of EdDSA, ES256 or RS256 name the server that publishes their keys (AUTH_SERVER_URL), for tokens of HS256 set JWT_SECRET, and restart the daemon",
    },
    Cause {
        kind: "jwt",
        reason: "too_early",
        what: "user tokens were not valid yet: the clock of this machine is behind that of the sign-in service",
        remedy: "let both machines get their time from a server: timedatectl shows whether this one does",
    },
    Cause {
        kind: "jwt",
        reason: "issuer",
        what: "user tokens had another issuer (iss)",
        remedy: "give AUTH_ISSUER the value of iss in the sign-in service's tokens, and restart the daemon",
    },
    Cause {
        kind: "jwt",
        reason: "audience",
        what: "user tokens were made for another service (aud)",
        remedy: "let the sign-in service make tokens whose aud names AUTH_SERVER_URL, or correct AUTH_SERVER_URL; tokens that JWT_SECRET signs must have no aud",
    },
    Cause {
        kind: "jwt",
        reason: "subject",
        what: "user tokens named no user (sub)",
        remedy: "let the sign-in service write the user's id, as text, into sub",
    },
    Cause {
        kind: "jwt",
        reason: "expiry",
        what: "user tokens had no time of expiry (exp)",
        remedy: "let the sign-in service write into exp until when a token is valid, in seconds since 1970",
    },
    Cause {
        kind: "jwt",
        reason: "type",
        what: "user tokens were not access tokens (type)",
        remedy: "let clients send the access token, and not the refresh token, in Authorization",
    },
    Cause {
        kind: "session",
        reason: "unknown_session",
        what: "session tokens belonged to no session: SESSION_HASH_SECRET has another value than when they were made, or the sessions are in another database",
        remedy: "if SESSION_HASH_SECRET was changed, set SESSION_HASH_SECRET_PREVIOUS to the old value, and restart the daemon; without the old value users have to sign in again",
    },
    Cause {
        kind: "service",
        reason: "service_token",
        what: "requests of services had another service token",
        remedy: "give the services the value of SERVICE_AUTH_TOKEN, or set SERVICE_AUTH_TOKEN_PREVIOUS to theirs until they have it, and restart the daemon",
    },
];

/// Adds what keeps right clients out.
pub(super) fn check_refused(collected: &mut Collected, requests: &RequestStatus, source: &Source) {
    let minutes = requests.minutes;
    for cause in &CAUSES {
        let Some(of_kind) = requests.credentials.get(cause.kind) else {
            continue;
        };
        let refused = of_kind.refused.get(cause.reason).copied().unwrap_or(0);
        let all = refused.saturating_add(of_kind.accepted);
        if refused >= REFUSED && is_share(refused, all, REFUSED_PERCENT) {
            collected.warn(
                format!("{refused} of {all} {} (within {minutes} min)", cause.what),
                Remedy::note(cause.remedy),
            );
        }
    }
    check_proxies(collected, requests, source);
    let limited = requests.limited;
    if limited >= REFUSED && is_share(limited, requests.answered, LIMITED_PERCENT) {
        let limit = source
            .get("RATE_LIMIT_PER_MINUTE")
            .and_then(|text| text.parse().ok());
        let limit = limit
            .unwrap_or(0_u64)
            .saturating_mul(10)
            .max(u64::from(USUAL_LIMIT));
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
        check_refused(&mut collected, requests, &source);
        collected.verdict("fine")
    }

    #[test]
    fn credentials() {
        let of = |kind: &str, reason: &str, refused, accepted| {
            let status = CredentialStatus {
                accepted,
                refused: [(reason.to_owned(), refused)].into(),
            };
            let requests = RequestStatus {
                credentials: [(kind.to_owned(), status)].into(),
                ..RequestStatus::default()
            };
            verdict(&requests, &[])
        };
        for cause in &CAUSES {
            assert_eq!(of(cause.kind, cause.reason, 40, 0).outcome, Warn);
            assert_eq!(of(cause.kind, cause.reason, 40, 400).outcome, Pass);
            assert_eq!(of(cause.kind, cause.reason, 3, 0).outcome, Pass);
        }
        // Clients refresh their tokens.
        assert_eq!(of("jwt", "expired", 40, 0).outcome, Pass);
        let detail = of("jwt", "signature", 40, 2).detail;
        assert!(detail.starts_with("40 of 42 user tokens"), "{detail}");
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
