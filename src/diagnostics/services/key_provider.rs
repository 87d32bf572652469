//! The provider that validates API keys of users.

use std::time::Duration;

use crate::config::{GEMINI_API, Remedy};
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::domain::ProviderKey;
use crate::services::key_provider::{KeyProvider, ProbeError};

use super::address::{let_through, origin, reach, url_or};

/// Nobody's key: the provider has to refuse it.
const NO_KEY: &str = "AIza-todoctl-doctor-asks-whether-you-answer";

pub(super) async fn key_provider(context: &Context, limit: Duration) -> Verdict {
    let config = &context.audit.services;
    let origin = origin(&url_or(config.gemini_api_url.as_ref(), GEMINI_API));
    let unreachable = |error: &str| {
        Verdict::warn(
            format!(
                "{origin} cannot be reached: {error}; no provider key can be saved until it can"
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
    match tokio::time::timeout(limit, provider.probe(&key)).await {
        Ok(Err(ProbeError::Rejected)) => Verdict::pass(format!(
            "{origin} answers, and refuses a key that is not valid"
        )),
        Ok(Ok(())) => Verdict::warn(
            format!(
                "{origin} accepts a key that cannot be valid: every key of a user can be saved"
            ),
            Remedy::note("another service answers there: correct or unset GEMINI_API_URL"),
        ),
        Ok(Err(ProbeError::Quota)) => Verdict::warn(
            format!(
                "{origin} answers 429: it limits the requests of this machine's address, and no provider key can be saved"
            ),
            Remedy::note(
                "try again in some minutes; other programs may use the provider from this address",
            ),
        ),
        Ok(Err(ProbeError::Unexpected(status))) => Verdict::warn(
            format!(
                "{origin} answers {}: no provider key can be saved",
                status.as_u16()
            ),
            if status.is_server_error() {
                Remedy::note(format!("wait until {origin} recovers"))
            } else {
                Remedy::note("another service answers there: correct or unset GEMINI_API_URL")
            },
        ),
        Ok(Err(ProbeError::TimedOut)) | Err(_) => {
            unreachable(&format!("no answer within {} s", limit.as_secs()))
        }
        Ok(Err(error @ ProbeError::Network)) => unreachable(&error.to_string()),
    }
}
