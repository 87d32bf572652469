//! What the answers of the mail provider mean, to a mail and to the question for domains.

use crate::config::{RESEND_API, Remedy, ServicesConfig, Source};
use crate::diagnostics::services::address::{let_through, origin, reach, url_or};
use crate::store::{EXPIRED, NO_ACCOUNT, NO_ADDRESS, NOT_READ};

/// What the reason blames for which a mail was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::diagnostics) enum Blame {
    /// Something else than the provider answers.
    Address,
    /// What answers leads elsewhere.
    Redirection,
    /// The key, or the sender's domain.
    Account,
    /// How the sender is spelt.
    Sender,
    Recipient,
    /// Something else in this mail.
    Mail,
    /// Too many mails for the plan, or for a second.
    Quota,
    /// The provider fails.
    Provider,
    /// The provider does not answer.
    Network,
    /// The address could not be read in the database.
    Database,
}

impl Blame {
    /// `reason` is what the outbox has recorded: a status with names of errors, or words.
    pub(in crate::diagnostics) fn of(reason: &str) -> Self {
        let reason = reason.strip_prefix(EXPIRED).unwrap_or(reason);
        let reason = reason.trim_start_matches(": ");
        let status = reason.split(' ').next().unwrap_or_default();
        match status.parse() {
            Ok(200..=299 | 404 | 405) => Self::Address,
            Ok(401 | 403) => Self::Account,
            Ok(429) => Self::Quota,
            Ok(300..=399) => Self::Redirection,
            Ok(408 | 409 | 500..=599) => Self::Provider,
            Ok(400..=499_u16)
                if reason.ends_with("(from)") || reason.contains("invalid_from_address") =>
            {
                Self::Sender
            }
            Ok(400..=499) if reason.ends_with("(to)") => Self::Recipient,
            Ok(_) => Self::Mail,
            Err(_) if [NO_ACCOUNT, NO_ADDRESS].contains(&reason) => Self::Recipient,
            Err(_) if reason == NOT_READ => Self::Database,
            Err(_) => Self::Network,
        }
    }
}

/// The configured mail provider.
#[derive(Clone, Copy)]
pub(in crate::diagnostics) struct Provider<'a> {
    config: &'a ServicesConfig,
    source: &'a Source,
}

impl<'a> Provider<'a> {
    pub(in crate::diagnostics) fn of(config: &'a ServicesConfig, source: &'a Source) -> Self {
        Self { config, source }
    }

    pub(super) fn origin(self) -> String {
        origin(&url_or(self.config.resend_api_url.as_ref(), RESEND_API))
    }

    /// What to do about mails that wait, or were not sent in time, for this reason.
    pub(in crate::diagnostics) fn remedy(self, reason: &str) -> Remedy {
        match Blame::of(reason) {
            Blame::Quota => limited(reason),
            Blame::Provider => self.recovers(),
            Blame::Database => Remedy::note(
                "the daemon's log says why the table \"user\" cannot be read; the checks of the database may know it",
            ),
            Blame::Network => self.unreachable(reason),
            Blame::Redirection => Remedy::note(
                "correct RESEND_API_URL as services.mail says, and restart the daemon: what answers there leads elsewhere, and the daemon does not follow",
            ),
            Blame::Address | Blame::Account | Blame::Sender | Blame::Recipient | Blame::Mail => {
                Remedy::note(
                    "the check services.mail shows whether the provider accepts key and sender now",
                )
            }
        }
    }

    /// It gave no answer, for this reason.
    pub(super) fn unreachable(self, error: &str) -> Remedy {
        let origin = self.origin();
        let otherwise = let_through(&origin, "RESEND_API_URL");
        reach(&origin, "RESEND_API_URL", error, self.source, otherwise)
    }

    /// It fails.
    pub(super) fn recovers(self) -> Remedy {
        Remedy::note(format!(
            "wait until {} recovers (https://resend-status.com); mails are tried again until they are 24 hours old",
            self.origin()
        ))
    }
}

/// It accepts no more requests for now, or no more mails, as `reason` says.
pub(super) fn limited(reason: &str) -> Remedy {
    Remedy::note(if reason.contains("quota") {
        "wait until the quota of the day or the month begins again, or raise the plan at https://resend.com/settings/billing"
    } else {
        "the account has more requests in a second than the provider allows: find the other programs that use it at the same time (https://resend.com/logs shows them), or ask the provider for a higher limit"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        for (reason, blame) in [
            ("404 not_found", Blame::Address),
            (
                "200 without an id, as no mail provider answers",
                Blame::Address,
            ),
            ("403 validation_error", Blame::Account),
            ("422 invalid_from_address", Blame::Sender),
            ("422 validation_error (from)", Blame::Sender),
            ("422 validation_error (to)", Blame::Recipient),
            ("422 validation_error", Blame::Mail),
            ("429 rate_limit_exceeded", Blame::Quota),
            ("308", Blame::Redirection),
            ("expired: 302", Blame::Redirection),
            ("500 application_error", Blame::Provider),
            ("expired: 502", Blame::Provider),
            ("expired", Blame::Network),
            ("no answer within 10s", Blame::Network),
            ("unreachable", Blame::Network),
            (NOT_READ, Blame::Database),
        ] {
            assert_eq!(Blame::of(reason), blame, "{reason}");
        }
    }
}
