//! Why the auth server gave no answer.

use std::time::Duration;

use crate::services::http_client::HttpError;

/// Why the auth server could not be asked. Never contains a token or an answer's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthServerError {
    /// No complete answer within the limit.
    #[error("the auth server did not answer within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// No connection, or a lost one.
    #[error("the auth server is unreachable: {0}")]
    Unreachable(String),
    /// The server limits how often it is asked; ask again after this time.
    #[error("the auth server limits requests; it is asked again after {}", humantime::format_duration(*.0))]
    Limited(Duration),
    /// The key id of a token is unknown, and the keys may not be fetched again before this time.
    #[error("the token's key id is unknown; the auth server is asked for new keys after {}", humantime::format_duration(*.0))]
    UnknownKey(Duration),
    /// A status other than 200.
    #[error("the auth server answered with status {0}")]
    Status(u16),
    /// An unexpected body.
    #[error("the auth server's answer is invalid: {0}")]
    Unreadable(&'static str),
    /// Too many requests are in progress.
    #[error("too many requests to the auth server are in progress")]
    Busy,
    /// The circuit breaker is open.
    #[error("the auth server failed repeatedly and is not asked for a few seconds")]
    CircuitOpen,
}

impl AuthServerError {
    /// Whether the server failed, rather than refused the request. Only its failures open the
    /// circuit breaker: a client that sends odd tokens must not cut off the others.
    pub(super) fn is_server_failure(&self) -> bool {
        match self {
            Self::TimedOut(_) | Self::Unreachable(_) | Self::Unreadable(_) => true,
            Self::Status(status) => !(400..500).contains(status) || *status == 408,
            Self::Limited(_) | Self::UnknownKey(_) | Self::Busy | Self::CircuitOpen => false,
        }
    }

    /// What the server did, without the words of the network, which may have names of other
    /// machines; `None` if it was not asked.
    pub(super) fn label(&self) -> Option<String> {
        Some(match self {
            Self::TimedOut(limit) => {
                format!("no answer within {}", humantime::format_duration(*limit))
            }
            Self::Unreachable(_) => "unreachable".to_owned(),
            Self::Limited(_) => "429".to_owned(),
            Self::Status(status) => status.to_string(),
            Self::Unreadable(why) => (*why).to_owned(),
            Self::UnknownKey(_) | Self::Busy | Self::CircuitOpen => return None,
        })
    }

    /// How many seconds to wait before the next attempt, where that is known; at least one.
    #[must_use]
    pub fn wait_seconds(&self) -> Option<u32> {
        match self {
            Self::Limited(wait) | Self::UnknownKey(wait) => {
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                Some(u32::try_from(seconds).unwrap_or(u32::MAX).max(1))
            }
            _ => None,
        }
    }
}

impl From<HttpError> for AuthServerError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::TimedOut(limit) => Self::TimedOut(limit),
            HttpError::Unreachable(reason) => Self::Unreachable(reason),
            HttpError::TooLong(_) => Self::Unreadable("it is too long"),
        }
    }
}
