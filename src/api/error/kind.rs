//! Short names of server errors, for `GET /status`.

use crate::services::auth_server::AuthServerError;
use crate::store::known_message;
use crate::store::messages::KnownMessage;

use super::ApiError;

impl ApiError {
    /// Whether the request was refused because there were too many.
    pub fn is_shed(&self) -> bool {
        matches!(self, Self::Overloaded { .. })
    }

    /// What is known about an error of the database. Those of other services have the same words
    /// for faults of network and TLS, which have other remedies.
    pub fn known_message(&self) -> Option<&'static KnownMessage> {
        match self {
            Self::AuthServerUnavailable(_) | Self::ProviderKeyRejected(_) => None,
            error => known_message(error),
        }
    }

    /// What failed; `other` for errors that a client causes.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::KeyUnreadable(_) => "key_unreadable",
            Self::Database(_) => "database",
            Self::DatabaseUnavailable(_) => "database_unavailable",
            Self::AuthServerUnavailable(AuthServerError::UnknownKey(_)) => "unknown_signing_key",
            Self::AuthServerUnavailable(_) => "auth_server_unavailable",
            Self::NoTokenIssuer => "no_token_issuer",
            Self::TimedOut => "timed_out",
            Self::Overloaded { .. } => "overloaded",
            Self::Internal(_) => "internal",
            _ => "other",
        }
    }
}
