//! Addresses at which something else than the mail provider answers.

use url::Url;

use crate::config::{RESEND_API, Remedy, ServicesConfig};
use crate::diagnostics::services::address::url_or;
use crate::services::http_client::Redirection;

/// How keys of the provider itself begin. A relay has others.
const OWN_KEY: &str = "re_";

/// A proxy, a login page or a relay answers in place of the provider, and does not take mails.
/// `has_taken` is whether mails were accepted since the daemon started.
pub(super) fn other_service(config: &ServicesConfig, has_taken: bool) -> Remedy {
    let own = url_or(None, RESEND_API);
    if config.resend_api_url.as_ref().is_none_or(|url| *url == own) {
        return Remedy::note(
            "a proxy of this network answers in place of the provider: let this machine connect to it directly",
        );
    }
    if has_taken {
        return Remedy::note(
            "mails were accepted since the daemon started: give RESEND_API_URL back the value that it had then if it was changed, otherwise read the log of what answers there",
        );
    }
    let key = config.resend_api_key.as_ref();
    if key.is_some_and(|key| !key.expose().starts_with(OWN_KEY)) {
        return Remedy::note(format!(
            "correct RESEND_API_URL: a proxy, a login page or another service answers there; RESEND_API_KEY is not a key of {RESEND_API}"
        ));
    }
    Remedy::note(format!(
        "a proxy, a login page or another service answers there; this leads to {RESEND_API}:"
    ))
    .then(Remedy::unset("RESEND_API_URL"))
}

/// It wants other credentials.
pub(super) fn other_credentials() -> Remedy {
    Remedy::note(
        "what answers there does not accept RESEND_API_KEY, or a proxy there asks for a login: correct RESEND_API_KEY or RESEND_API_URL; this reads the key without showing it: todoctl config set RESEND_API_KEY=-",
    )
}

/// It leads elsewhere, and the daemon does not follow.
pub(super) fn redirected(to: Option<&Redirection>) -> Remedy {
    let Some(to) = to else {
        return Remedy::note(
            "a proxy there asks for a login or leads elsewhere: correct RESEND_API_URL, or let this machine send mails without",
        );
    };
    let base = to.base.as_str().trim_end_matches('/');
    if to.is_safe {
        return Remedy::note(format!("it leads to {base}:"))
            .then(Remedy::set("RESEND_API_URL", base));
    }
    Remedy::note(format!(
        "it leads to {base}; if that is the mail provider, which gets RESEND_API_KEY then:"
    ))
    .or(Remedy::set("RESEND_API_URL", base))
}

/// The provider does not have the page.
pub(super) fn other_path(config: &ServicesConfig, has_taken: bool) -> Remedy {
    match config.resend_api_url.as_ref().and_then(without_endpoint) {
        Some(base) => Remedy::note("todoctl adds /emails and /domains to the address itself:")
            .then(Remedy::set("RESEND_API_URL", base)),
        None => other_service(config, has_taken),
    }
}

/// The address to which the paths are added, if `url` ends with one of them. Credentials and
/// queries may be secrets.
fn without_endpoint(url: &Url) -> Option<String> {
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return None;
    }
    let path = url.path().trim_end_matches('/');
    let mut endpoints = ["/emails", "/domains"].into_iter();
    let base = endpoints.find_map(|endpoint| path.strip_suffix(endpoint))?;
    let mut right = url.clone();
    right.set_path(base);
    Some(right.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_the_path_of_an_endpoint() {
        for (given, right) in [
            ("https://a.example/emails", Some("https://a.example")),
            (
                "https://a.example/v1/domains/",
                Some("https://a.example/v1"),
            ),
            ("https://a.example/v1", None),
            ("https://u:canary@a.example/emails", None),
            ("https://a.example/emails?key=canary", None),
        ] {
            let found = without_endpoint(&given.parse().unwrap());
            assert_eq!(found.as_deref(), right, "{given}");
        }
    }
}
