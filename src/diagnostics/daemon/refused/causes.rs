//! Why nearly all credentials of a kind are refused.

/// What it means that nearly all credentials of a kind are refused for one reason.
pub(super) struct Cause {
    pub kind: &'static str,
    /// The kind whose accepted credentials they are compared with.
    pub among: &'static str,
    /// As in the metric `auth_refusals_total`.
    pub reason: &'static str,
    pub what: &'static str,
    pub remedy: &'static str,
}

pub(super) const CAUSES: &[Cause] = &[
    Cause {
        kind: "jwt",
        among: "jwt",
        reason: "signature",
        what: "user tokens had a wrong signature: the sign-in service signs with another JWT_SECRET",
        remedy: "give JWT_SECRET the value that the sign-in service has, and restart the daemon; this reads it without showing it, and keeps the old one as JWT_SECRET_PREVIOUS: todoctl config set JWT_SECRET=-",
    },
    Cause {
        kind: "jwt",
        among: "jwt",
        reason: "unknown_key",
        what: "user tokens were signed with a key or an algorithm that is not accepted here",
        remedy: "for tokens of EdDSA, ES256 or RS256 name the server that publishes their keys (AUTH_SERVER_URL), for tokens of HS256 set JWT_SECRET, and restart the daemon",
    },
    Cause {
        kind: "jwt",
        among: "jwt",
        reason: "too_early",
        what: "user tokens were not valid yet: the clock of this machine is behind that of the sign-in service",
        remedy: "let both machines get their time from a server: timedatectl shows whether this one does",
    },
    Cause {
        kind: "jwt",
        among: "jwt",
        reason: "milliseconds",
        what: "user tokens had times (nbf, iat) in milliseconds",
        remedy: "let the sign-in service write nbf, iat and exp in seconds since 1970 (RFC 7519, section 2)",
    },
    Cause {
        kind: "jwt",
        among: "jwt",
        reason: "expired",
        what: "user tokens had expired: clients do not get new ones, or the clock of this machine is ahead of the sign-in service's",
        remedy: "let clients ask the sign-in service for a new token when they are answered with token_expired; compare this machine's time with date -u on the sign-in service's machine",
    },
    Cause {
        kind: "jwt",
        among: "jwt",
        reason: "issuer",
        what: "user tokens had another issuer (iss)",
        remedy: "give AUTH_ISSUER the value of iss in the sign-in service's tokens, and restart the daemon",
    },
    Cause {
        kind: "jwt",
        among: "jwt",
        reason: "audience",
        what: "user tokens were made for another service (aud)",
        remedy: "let the sign-in service make tokens whose aud names AUTH_SERVER_URL, or correct AUTH_SERVER_URL; tokens that JWT_SECRET signs must have no aud",
    },
    Cause {
        kind: "jwt",
        among: "jwt",
        reason: "subject",
        what: "user tokens named no user (sub)",
        remedy: "let the sign-in service write the user's id, as text, into sub",
    },
    Cause {
        kind: "jwt",
        among: "jwt",
        reason: "expiry",
        what: "user tokens had no time of expiry (exp)",
        remedy: "let the sign-in service write into exp until when a token is valid, in seconds since 1970",
    },
    Cause {
        kind: "jwt",
        among: "jwt",
        reason: "type",
        what: "user tokens were not access tokens (type)",
        remedy: "let clients send the access token, and not the refresh token, in Authorization",
    },
    Cause {
        kind: "jwt",
        among: "jwt",
        reason: "algorithm",
        what: "user tokens were signed with an algorithm other than HS256, EdDSA, ES256 and RS256",
        remedy: "let the sign-in service sign with HS256 and JWT_SECRET, or with EdDSA, ES256 or RS256 and a key that it publishes (AUTH_SERVER_URL)",
    },
    Cause {
        kind: "session",
        among: "session",
        reason: "unknown_session",
        what: "bearer tokens were neither JWTs nor session tokens that todoctl or an auth server knows",
        remedy: "let clients send the token that they got at sign-in (not undefined, nor that of another environment); if an auth server has made it, name it in AUTH_SERVER_URL, and restart the daemon",
    },
    Cause {
        kind: "service",
        among: "jwt",
        reason: "user_token_as_service",
        what: "requests with X-User-ID had a user's token, and not the service token",
        remedy: "let the proxy, or the client, send users' tokens without the header X-User-ID: only a service sends it, with SERVICE_AUTH_TOKEN",
    },
    Cause {
        kind: "service",
        among: "service",
        reason: "missing",
        what: "requests with X-User-ID had no token",
        remedy: "let the service send SERVICE_AUTH_TOKEN as Authorization: Bearer, and let the proxy in front pass that header on",
    },
    Cause {
        kind: "service",
        among: "service",
        reason: "service_token_alone",
        what: "requests with the service token had no X-User-ID",
        remedy: "let the service name the user in the header X-User-ID, and let the proxy in front pass it on (nginx drops headers with underscores)",
    },
    Cause {
        kind: "service",
        among: "service",
        reason: "service_token_elsewhere",
        what: "requests with the service token were for endpoints that do not accept it",
        remedy: "let the service use the endpoints for tasks and notifications, or, for GET /api/user-api-keys/current, send the token as X-Service-Auth",
    },
    Cause {
        kind: "service",
        among: "service",
        reason: "service_token",
        what: "requests of services had another service token",
        remedy: "give the services the value of SERVICE_AUTH_TOKEN, or set SERVICE_AUTH_TOKEN_PREVIOUS to theirs until they have it, and restart the daemon",
    },
];
