//! Why credentials were refused: for the log and the metrics. Never contains a part of them.

use jsonwebtoken::Algorithm;

/// Why credentials were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("there is no Authorization: Bearer header")]
    Missing,
    #[error("the token is not well-formed")]
    Malformed,
    #[error("the token's signature does not match")]
    Signature(&'static str),
    #[error("the token is signed with an algorithm or a key that is not accepted here")]
    UnknownKey(Algorithm),
    #[error("the token is signed with an algorithm other than HS256, EdDSA, ES256 and RS256")]
    Algorithm(&'static str),
    #[error("the token has critical extensions, and none is supported (RFC 7515, 4.1.11)")]
    Critical,
    #[error("the token has expired")]
    Expired,
    #[error("the token has no valid exp")]
    Expiry,
    #[error("the token's exp, nbf or iat is not a number")]
    TimeType,
    #[error("the token is not valid yet (nbf or iat); compare the clocks")]
    TooEarly,
    #[error("the token's nbf or iat is in milliseconds, not in seconds")]
    Milliseconds,
    #[error(
        "the token's iss is neither AUTH_ISSUER nor, without it, the origin of AUTH_SERVER_URL"
    )]
    Issuer,
    #[error("the token's aud does not name this service's auth server")]
    Audience,
    #[error("the token's type is not \"access\"")]
    Kind,
    #[error("the token's sub is not a user id")]
    Subject,
    #[error("the token is encrypted (JWE); only signed tokens are accepted")]
    Encrypted,
    #[error("no session has this token")]
    UnknownSession(&'static str),
    #[error("no session has this token, which todoctl has made")]
    UnknownOwnSession,
    #[error("the session token was cut off: it is shorter than those that todoctl makes")]
    CutSession,
    #[error("the session of this token has expired or was revoked")]
    EndedSession,
    #[error("the token resembles a secret of this service; no auth server is asked about it")]
    OwnSecret,
    #[error("the service token does not match")]
    ServiceToken(&'static str),
    #[error(
        "a user's token was sent with X-User-ID, with which only the service token is accepted"
    )]
    UserTokenAsService,
    #[error("the service token was sent without X-User-ID")]
    ServiceTokenAlone,
    #[error("the service token was sent to an endpoint that does not accept it")]
    ServiceTokenElsewhere,
    #[error(
        "there is X-Service-Auth in place of Authorization: Bearer, which only GET /api/user-api-keys/current accepts, with X-User-ID"
    )]
    ServiceAuthElsewhere,
}

impl Refusal {
    /// The label of the metric.
    pub fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Signature(_) => "signature",
            Self::UnknownKey(_) => "unknown_key",
            Self::Algorithm(_) => "algorithm",
            Self::Critical => "critical",
            Self::Expired => "expired",
            Self::Expiry => "expiry",
            Self::TimeType => "time_type",
            Self::TooEarly => "too_early",
            Self::Milliseconds => "milliseconds",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Kind => "type",
            Self::Subject => "subject",
            Self::Encrypted => "encrypted",
            Self::UnknownSession(_) => "unknown_session",
            Self::UnknownOwnSession => "unknown_own_session",
            Self::CutSession => "cut_session",
            Self::EndedSession => "ended_session",
            Self::OwnSecret => "own_secret",
            Self::ServiceToken(_) => "service_token",
            Self::UserTokenAsService => "user_token_as_service",
            Self::ServiceTokenAlone => "service_token_alone",
            Self::ServiceTokenElsewhere => "service_token_elsewhere",
            Self::ServiceAuthElsewhere => "service_auth_elsewhere",
        }
    }

    /// The algorithm that the token names, what it was signed with, or what it looks like, where it
    /// matters.
    pub fn detail(self) -> Option<&'static str> {
        match self {
            Self::UnknownKey(algorithm) => Some(name_of(algorithm)),
            Self::Signature(detail)
            | Self::ServiceToken(detail)
            | Self::Algorithm(detail)
            | Self::UnknownSession(detail) => Some(detail),
            _ => None,
        }
    }

    /// What the client reads. Only the holder of the right service token is told more.
    pub fn text(self) -> &'static str {
        match self {
            Self::ServiceTokenAlone => {
                "Invalid token: the service token needs the header X-User-ID, which names the user"
            }
            Self::ServiceTokenElsewhere => {
                "Invalid token: the service token is not accepted on this endpoint"
            }
            _ => "Invalid token",
        }
    }

    /// Whether the client may be guessing a secret.
    pub fn may_be_a_guess(self) -> bool {
        !matches!(self, Self::ServiceTokenAlone | Self::ServiceTokenElsewhere)
    }
}

/// The name of an algorithm in tokens.
pub(super) fn name_of(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HS256 => "HS256",
        Algorithm::EdDSA => "EdDSA",
        Algorithm::ES256 => "ES256",
        Algorithm::RS256 => "RS256",
        _ => "another",
    }
}
