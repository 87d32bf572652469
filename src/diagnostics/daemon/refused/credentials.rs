//! Credentials that are refused (401), by the reasons of the metric `auth_refusals_total`, and what
//! services name users with.

use crate::config::SPELLINGS;

use super::cause::{
    Among, Cause, NO_SERVICE_TOKENS, NO_SIGNERS, NO_TOKEN, OTHER, PUBLISHED, SHORT_TOKEN,
    UNKNOWN_TOKEN, Usual, service, session, token, without,
};

pub(super) const CAUSES: &[Cause] = &[
    token(
        "signature",
        "user tokens had a wrong signature: the sign-in service, or one of its instances, signs with another JWT_SECRET",
        "give JWT_SECRET the value that the sign-in service has, and restart the daemon; this reads it without showing it, and keeps the old one as JWT_SECRET_PREVIOUS: todoctl config set JWT_SECRET=-",
    )
    .of(OTHER),
    token(
        "signature",
        "user tokens were signed with the value of JWT_SECRET in another spelling",
        "let the sign-in service sign with the text of JWT_SECRET as it is set here, neither decoded nor cut off: in a file of its own a value with #, $, blanks or backslashes needs single quotes, and in a compose file each $ is written $$; then restart it",
    )
    .of(SPELLINGS),
    token(
        "signature",
        "user tokens were signed with another secret of this service in place of JWT_SECRET: their values are exchanged, here or in the sign-in service",
        "compare which value each service has under which name, put them right where they are exchanged, and restart that service",
    )
    .of(NO_SIGNERS),
    token(
        "signature",
        "user tokens had a wrong signature of a key that the auth server publishes: it signs with another key than it publishes under that id",
        "compare the keys that the auth server signs with and publishes (/api/auth/jwks, also in a cache in front of it): after a change of its keys it has to be restarted, and needs a new key id (kid)",
    )
    .of(PUBLISHED),
    token(
        "unknown_key",
        "user tokens were signed with HS256, and JWT_SECRET is not set",
        "give JWT_SECRET the value that the sign-in service has, and restart the daemon; this reads it without showing it: todoctl config set JWT_SECRET=-",
    )
    .of(&["HS256"]),
    token(
        "unknown_key",
        "user tokens were signed with a key that is not accepted here: AUTH_SERVER_URL is not set",
        "name the server that publishes the keys of these tokens (AUTH_SERVER_URL), and restart the daemon",
    )
    .of(PUBLISHED),
    token(
        "too_early",
        "user tokens were not valid yet: the clock of this machine is behind that of the sign-in service",
        "let both machines get their time from a server: timedatectl shows whether this one does",
    ),
    token(
        "milliseconds",
        "user tokens had times (nbf, iat) in milliseconds",
        "let the sign-in service write nbf, iat and exp in seconds since 1970 (RFC 7519, section 2)",
    ),
    token(
        "expired",
        "user tokens had expired: clients do not get new ones, or the clock of this machine is ahead of the sign-in service's",
        "let clients ask the sign-in service for a new token when they are answered with token_expired; compare this machine's time with date -u on the sign-in service's machine",
    )
    .usual(Usual::InTurn),
    token(
        "expiry_milliseconds",
        "user tokens were accepted that have a time of expiry (exp) in milliseconds: they are valid for thousands of years",
        "let the sign-in service write exp in seconds since 1970 (RFC 7519, section 2); todoctl accepts the tokens that it has made until JWT_SECRET is another one",
    )
    .among(Among::Nothing),
    token(
        "issuer",
        "user tokens had another issuer (iss)",
        "give AUTH_ISSUER the value of iss in the sign-in service's tokens, and restart the daemon",
    ),
    token(
        "audience",
        "user tokens were made for another service (aud)",
        "let the sign-in service make tokens whose aud names AUTH_SERVER_URL, or correct AUTH_SERVER_URL; tokens that JWT_SECRET signs must have no aud",
    ),
    token(
        "subject",
        "user tokens named no user (sub)",
        "let the sign-in service write the user's id, as text, into sub",
    ),
    token(
        "expiry",
        "user tokens had no time of expiry (exp)",
        "let the sign-in service write into exp until when a token is valid, in seconds since 1970",
    ),
    token(
        "time_type",
        "user tokens had a time (exp, nbf, iat) that is a text, not a number",
        "let the sign-in service write exp, nbf and iat as numbers: seconds since 1970, without quotes (RFC 7519, section 2)",
    ),
    token(
        "type",
        "user tokens were not access tokens (type)",
        "let clients send the access token, and not the refresh token, in Authorization",
    ),
    token(
        "algorithm",
        "user tokens were signed with an algorithm other than HS256, EdDSA, ES256 and RS256",
        "let the sign-in service sign with HS256 and JWT_SECRET, or with EdDSA, ES256 or RS256 and a key that it publishes (AUTH_SERVER_URL); alg Ed25519 (RFC 9864) is named EdDSA here",
    ),
    token(
        "critical",
        "user tokens had critical extensions (crit), of which none is supported",
        "let the sign-in service make tokens without crit in their header (RFC 7515, section 4.1.11)",
    ),
    token(
        "malformed",
        "user tokens could not be decoded: they were cut off or changed on the way",
        "compare a token as the sign-in service made it with the one that arrives: a proxy or a cookie may have cut it off",
    )
    .usual(Usual::Sometimes),
    session(
        "unknown_session",
        "bearer tokens were neither JWTs nor session tokens that todoctl or an auth server knows",
        "let clients send the token that they got at sign-in, and not that of another environment; if an auth server has made it, name it in AUTH_SERVER_URL, and restart the daemon",
    )
    .of(UNKNOWN_TOKEN)
    .usual(Usual::Sometimes),
    session(
        "unknown_session",
        "bearer tokens were no tokens, but undefined, null, or a template that was not filled in",
        "let clients ask only when they have a token, and find why they have none: it may be stored under another name, or read before the sign-in has ended",
    )
    .of(NO_TOKEN)
    .usual(Usual::ByStrangers),
    session(
        "unknown_session",
        "bearer tokens were too short for a token",
        "let clients send the whole token that they got at sign-in",
    )
    .of(SHORT_TOKEN)
    .usual(Usual::ByStrangers),
    session(
        "encrypted",
        "user tokens were encrypted (JWE, as NextAuth makes them): only signed tokens are accepted",
        "let the sign-in service give clients a signed token (NextAuth: jwt.encode and jwt.decode of your own, or a token that your server signs for this API), and let them send that one",
    ),
    session(
        "cut_session",
        "session tokens were cut off: they are shorter than those that todoctl makes",
        "let clients keep and send the whole token: a column, a field of a form or a variable may be too short for it",
    ),
    session(
        "own_secret",
        "bearer tokens held a part of a secret or of a token of this service: quotes, a word in front of it, or a token that was cut off",
        "let clients send Bearer, one blank and the token, without quotes",
    ),
    session(
        "ended_session",
        "session tokens had expired or were revoked",
        "let their users get new ones: todoctl session create --help",
    )
    .among(Among::Accepted(&["session"]))
    .usual(Usual::InTurn),
    without(
        "requests that are not a service's had an Authorization header without Bearer and a token (401)",
        "let clients send Authorization: Bearer, one blank and the token, once; a proxy that adds a header of its own (auth_basic, a gateway's key) must not replace or repeat it",
    )
    .of(&[
        "Bearer without a blank",
        "JWT",
        "Token",
        "a token without Bearer",
        "another scheme",
        "two values",
    ]),
    without(
        "requests that are not a service's had a token, but not in Authorization: Bearer (401)",
        "let clients send Authorization: Bearer and the token, because cookies, other headers and addresses are not read; a gateway that moves the header has to restore it",
    )
    .of(&["a cookie", "another header", "the address"]),
    without(
        "requests that are not a service's had no Authorization: Bearer header, and few or no tokens of users were accepted",
        "let the proxy in front pass Authorization on (nginx: no proxy_set_header Authorization, and no auth_basic of its own; Apache with CGI: CGIPassAuth On), and clients send Bearer and a token; let a probe ask for GET /health/ready",
    )
    .of(&["Basic", "Bearer alone", "no header"])
    .usual(Usual::BeforeSignIn),
    service(
        "user_token_as_service",
        "requests with X-User-ID had a user's token, and not the service token",
        "let the proxy, or the client, send users' tokens without the header X-User-ID: only a service sends it, with SERVICE_AUTH_TOKEN",
    ),
    service(
        "missing",
        "requests with X-User-ID had no token",
        "let the service send SERVICE_AUTH_TOKEN as Authorization: Bearer, and let the proxy in front pass that header on",
    ),
    service(
        "service_token_alone",
        "requests with the service token had no X-User-ID",
        "let the service name the user in the header X-User-ID, and let the proxy in front pass it on (nginx drops headers with underscores)",
    ),
    service(
        "service_token_elsewhere",
        "requests with the service token were for endpoints that do not accept it",
        "let the service use the endpoints for tasks and notifications, or, for GET /api/user-api-keys/current, send the token as X-Service-Auth",
    ),
    service(
        "service_auth_elsewhere",
        "requests of services had X-Service-Auth in place of Authorization: Bearer",
        "let the service send SERVICE_AUTH_TOKEN as Authorization: Bearer; X-Service-Auth is for GET /api/user-api-keys/current alone, with X-User-ID",
    ),
    service(
        "service_token",
        "requests of services had another service token",
        "give all services the value of SERVICE_AUTH_TOKEN, or set SERVICE_AUTH_TOKEN_PREVIOUS to theirs until they have it, and restart the daemon",
    )
    .of(OTHER),
    service(
        "service_token",
        "requests of services had the value of SERVICE_AUTH_TOKEN in another spelling",
        "let the service send the text of SERVICE_AUTH_TOKEN as it is set here, neither decoded nor cut off: in a file of its own a value with #, $, blanks or backslashes needs single quotes, and in a compose file each $ is written $$",
    )
    .of(SPELLINGS),
    service(
        "service_token",
        "requests of services had another secret of this service in place of SERVICE_AUTH_TOKEN: their values are exchanged, here or in the service",
        "compare which value each service has under which name, put them right where they are exchanged, and restart that service",
    )
    .of(NO_SERVICE_TOKENS),
    Cause {
        caller: "",
        ..service(
            "X-User-ID",
            "requests had an X-User-ID that is blank, too long or there twice",
            "let the service name one user in X-User-ID, and only once: a proxy that sets it must replace it (nginx: proxy_set_header; HAProxy: http-request set-header, not add-header); a blank one is often a variable that is not set",
        )
    },
];
