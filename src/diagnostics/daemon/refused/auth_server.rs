//! Credentials that are refused because of what the auth server says, or does not say.

use url::Url;

use crate::config::Remedy;

/// What `reason` means where `AUTH_SERVER_URL` is `url`, if it is about the auth server. `other_issuer`
/// is what it calls itself in tokens that are refused for it; empty where it does not.
pub(super) fn of_auth_server(
    reason: &str,
    url: &Url,
    other_issuer: Option<&str>,
) -> Option<(String, Remedy)> {
    let origin = url.origin().ascii_serialization();
    Some(match (reason, other_issuer) {
        ("issuer", Some("")) => (
            format!("user tokens that {origin} has signed had no address as their issuer (iss)"),
            Remedy::note(format!(
                "let {origin} write its address into iss; if it has a name there, give AUTH_ISSUER that name, and restart the daemon"
            )),
        ),
        ("issuer", Some(other)) => {
            let correction = if other == origin {
                Remedy::unset("AUTH_ISSUER")
            } else {
                Remedy::set("AUTH_ISSUER", other)
            };
            (
                format!("user tokens that {origin} has signed had another issuer (iss), {other}"),
                correction.then(Remedy::note("then restart the daemon")),
            )
        }
        (reason, _) => return of_answers(reason, &origin),
    })
}

fn of_answers(reason: &str, origin: &str) -> Option<(String, Remedy)> {
    Some(match reason {
        "unknown_key" => (
            format!(
                "user tokens were signed with a key that {origin} does not publish: another auth server has made them, it has replaced its keys since, or the keys that it publishes are stale"
            ),
            Remedy::note(format!(
                "if it has a new key: keep /api/auth/jwks out of the caches in front of {origin} (Cache-Control, CDN), and restart its instances that have old keys; todoctl asks again within a minute"
            ))
            .then(Remedy::note(format!(
                "otherwise let clients sign in at {origin}, or name the auth server where they do (iss in their tokens): todoctl config set AUTH_SERVER_URL=https://auth.example.com"
            ))),
        ),
        "unknown_session" => (
            format!(
                "bearer tokens were no JWTs, and {origin}, which was asked, knows no session for them (it answered null)"
            ),
            Remedy::note(
                "let clients send the whole value of the auth server's cookie better-auth.session_token, which is the token, a dot and a signature: the token alone, as sign-in returns it and the table session has it, is not known; todoctl sends it as better-auth.session_token, so the auth server must not rename that cookie (advanced.cookiePrefix, advanced.cookies)"
            )
            .then(Remedy::note(format!(
                "where they do, they have signed in somewhere else: let them sign in at {origin}, or name their auth server: todoctl config set AUTH_SERVER_URL=https://auth.example.com"
            ))),
        ),
        "signature" => (
            format!(
                "user tokens had a wrong signature of a key that {origin} publishes: it signs with another key than it publishes under that id"
            ),
            Remedy::note(format!(
                "restart the auth server, so that all of its instances sign with the keys that {origin} publishes, and keep /api/auth/jwks out of the caches in front of it; todoctl fetches changed keys within a minute"
            )),
        ),
        _ => return None,
    })
}
