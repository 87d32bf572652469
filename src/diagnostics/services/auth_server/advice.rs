//! What several answers of the auth server have in common.

use url::Url;

use crate::config::Remedy;

/// Where the keys are, below `AUTH_SERVER_URL`.
pub(super) const KEYS: &str = "/api/auth/jwks";

/// Where it validates session tokens.
pub(super) const SESSIONS: &str = "/api/auth/get-session";

/// A page of the auth server. The query of its address may have a secret.
pub(super) fn address_of(base: &Url, path: &str) -> String {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

pub(super) fn behind_proxy(path: &str) -> Remedy {
    Remedy::note(format!(
        "a proxy in front of it asks for a login or leads elsewhere: let this machine ask {path} without, or give AUTH_SERVER_URL the address behind the proxy"
    ))
}

/// better-auth counts by address, and allows few requests by default.
pub(super) fn limited(origin: &str) -> Remedy {
    Remedy::note(format!(
        "{origin} limits the requests of this machine: exempt this machine's address there, or raise the limit (better-auth: rateLimit); where it counts by address, let it believe the X-Forwarded-For that the daemon sends for each client"
    ))
}
