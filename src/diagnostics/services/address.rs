//! Addresses of services, and what to do where they cannot be reached.

use url::Url;

use crate::config::Remedy;

pub(super) fn reach(origin: &str, variable: &str) -> Remedy {
    Remedy::note(format!(
        "let this machine connect to {origin} (firewall, proxy), or correct {variable}"
    ))
}

/// The configured address, or the service's own.
#[expect(
    clippy::expect_used,
    reason = "the addresses are constants, tested below"
)]
pub(super) fn url_or(url: Option<&Url>, own: &'static str) -> Url {
    let own = || Url::parse(own).expect("a constant address is a URL");
    url.cloned().unwrap_or_else(own)
}

/// Scheme, host and port: path and query may hold secrets.
pub(super) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{GEMINI_API, RESEND_API};

    #[test]
    fn own_addresses() {
        for own in [RESEND_API, GEMINI_API] {
            assert_eq!(origin(&url_or(None, own)), own);
        }
    }
}
