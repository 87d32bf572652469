//! Short names of server errors, for `GET /status`.

use crate::services::auth_server::AuthServerError;

use super::ApiError;

impl ApiError {
    /// Whether the request was refused because there were too many.
    pub fn is_shed(&self) -> bool {
        matches!(self, Self::Overloaded { .. })
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
