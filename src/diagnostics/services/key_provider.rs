//! The provider that validates API keys of users.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use crate::config::{GEMINI_API, Remedy};
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::domain::ProviderKey;
use crate::services::key_provider::{KeyProvider, ProbeError};

use super::address::{let_through, origin, reach, url_or};
use super::tls::plain;

/// Nobody's key: the provider has to refuse it.
const NO_KEY: &str = "AIza-todoctl-doctor-asks-whether-you-answer";

pub(super) async fn key_provider(context: &Context, limit: Duration) -> Verdict {
    let config = &context.audit.services;
    let origin = origin(&url_or(config.gemini_api_url.as_ref(), GEMINI_API));
    let unreachable = |error: &str| {
        Verdict::warn(
            format!(
                "{origin} cannot be reached: {}; no provider key can be saved until it can",
                plain(error)
            ),
            reach(
                &origin,
                "GEMINI_API_URL",
                error,
                &context.request.source,
                let_through(&origin, "GEMINI_API_URL"),
            ),
        )
    };
    let provider = match KeyProvider::new(config.gemini_api_url.as_ref()) {
        Ok(provider) => provider,
        Err(error) => return unreachable(&error.to_string()),
    };
    let key = ProviderKey::stored(NO_KEY);
    let answer = match tokio::time::timeout(limit, provider.ask(&key)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return unreachable(&error.to_string()),
        Err(_) => return unreachable(&format!("no answer within {} s", limit.as_secs())),
    };
    match answer {
        Err(ProbeError::Rejected) => {
            let daemon = context.daemon(limit).await;
            check_saved_keys(&origin, daemon.key_obstacles())
        }
        Err(ProbeError::Location) => Verdict::warn(
            format!(
                "{origin} does not serve the location of this machine: no provider key can be saved"
            ),
            other_location(),
        ),
        Err(error @ (ProbeError::Restricted | ProbeError::Disabled | ProbeError::Billing)) => {
            Verdict::warn(
                format!(
                    "{origin} answers a key that nobody has as if it were another one ({error}): no provider key can be saved"
                ),
                Remedy::note(
                    "a proxy that puts its own key in the place of the user's answers there: correct or unset GEMINI_API_URL",
                ),
            )
        }
        Ok(()) => Verdict::warn(
            format!(
                "{origin} accepts a key that cannot be valid: every key of a user can be saved"
            ),
            other_service(config.gemini_api_url.as_ref()),
        ),
        Err(ProbeError::Quota) => Verdict::warn(
            format!(
                "{origin} answers 429: it limits the requests of this machine's address, and no provider key can be saved"
            ),
            Remedy::note(
                "try again in some minutes; other programs may use the provider from this address",
            ),
        ),
        Err(ProbeError::Unexpected(status)) => Verdict::warn(
            format!(
                "{origin} answers {}: no provider key can be saved",
                status.as_u16()
            ),
            if status.is_server_error() {
                Remedy::note(format!("wait until {origin} recovers"))
            } else {
                other_service(config.gemini_api_url.as_ref())
            },
        ),
        // Only without an answer.
        Err(error @ (ProbeError::TimedOut | ProbeError::Network)) => {
            unreachable(&error.to_string())
        }
    }
}

/// What answers is not the provider.
fn other_service(configured: Option<&Url>) -> Remedy {
    let own = url_or(None, GEMINI_API);
    if configured.is_none_or(|url| *url == own) {
        return Remedy::note(
            "a proxy of this network answers in place of the provider: let this machine connect to it directly",
        );
    }
    Remedy::note("another service answers there: correct or unset GEMINI_API_URL")
}

/// Fewer may have met a short outage.
const OBSTACLES: u64 = 3;

/// The provider may refuse a key that is valid for another reason than one that is not.
/// `obstacles` is how many keys could not be checked lately, for each reason.
fn check_saved_keys(origin: &str, obstacles: &BTreeMap<String, u64>) -> Verdict {
    let fine = format!("{origin} answers, and refuses a key that is not valid");
    let all: u64 = obstacles.values().sum();
    let most = obstacles.iter().max_by_key(|(_, count)| **count);
    let Some((reason, _)) = most.filter(|_| all >= OBSTACLES) else {
        return Verdict::pass(fine);
    };
    let (what, remedy) = match reason.as_str() {
        "location" => (
            "it does not serve the location of this machine",
            other_location(),
        ),
        "timed_out" => (
            "it did not answer them within 10 s",
            let_through(origin, "GEMINI_API_URL"),
        ),
        "network" => (
            "the daemon did not reach it",
            let_through(origin, "GEMINI_API_URL"),
        ),
        _ => (
            "its answers did not tell whether the keys are valid",
            Remedy::note("the daemon's log has the status in the lines of POST /api/user-api-keys"),
        ),
    };
    Verdict::warn(
        format!("{fine}, but {all} keys of users could not be checked within 15 min: {what}"),
        remedy,
    )
}

/// The provider refuses countries, by the address that a request comes from.
fn other_location() -> Remedy {
    Remedy::note(
        "run todoctl, or a proxy of your own that GEMINI_API_URL names, where the provider serves: https://ai.google.dev/gemini-api/docs/available-regions",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Outcome;

    #[test]
    fn keys_that_could_not_be_checked() {
        let of = |reason: &str, count| {
            let obstacles = BTreeMap::from([(reason.to_owned(), count)]);
            check_saved_keys("https://a", &obstacles)
        };
        assert_eq!(of("location", 2).outcome, Outcome::Pass);
        for reason in ["location", "timed_out", "network", "unexpected"] {
            let found = of(reason, 3);
            assert_eq!(found.outcome, Outcome::Warn, "{reason}");
            assert!(found.remedy.is_some(), "{reason}");
        }
    }
}
