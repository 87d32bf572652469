//! What a request was refused for that would be served at another time.

use crate::api::allowance::Allowance;

/// Which limit a request exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::api) enum RateLimit {
    /// `RATE_LIMIT_PER_MINUTE`.
    #[error("Too many requests")]
    Requests,
    /// `AUTH_FAILURES_PER_MINUTE`.
    #[error("Too many wrong credentials")]
    AuthFailures,
    /// contract 5.2.
    #[error("Too many attempts to save an API key")]
    KeyAttempts,
}

impl RateLimit {
    /// The error's text. Who saves a key reads the text alone, in a form that shows nothing else.
    pub(super) fn detail(self, allowance: &Allowance) -> String {
        if self != Self::KeyAttempts {
            return self.to_string();
        }
        match allowance.left.as_secs_f64() / 60.0 {
            minutes if minutes <= 1.0 => format!("{self}. Try again in a minute"),
            minutes => format!("{self}. Try again in {} minutes", minutes.ceil()),
        }
    }
}

/// What there is too much of. The text is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::api) enum Overload {
    #[error("too many connections are open")]
    Connections,
    #[error("the queue for a database connection is too long")]
    Queue,
    /// Of one user; contract 10.36.
    #[error("the user's share of the database connections is in use")]
    Share,
    #[error("the client closed its connection before its request was done")]
    ClientLeft,
}

impl Overload {
    pub(super) fn detail(self) -> &'static str {
        match self {
            Self::Connections | Self::Queue | Self::ClientLeft => {
                "The service is overloaded at the moment"
            }
            Self::Share => "Too many requests of this user are in progress",
        }
    }

    /// For metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Queue => "queue",
            Self::Share => "share",
            Self::ClientLeft => "client_left",
        }
    }
}
