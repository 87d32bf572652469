//! Addresses of services, and what to do where they cannot be reached.

use url::Url;

use crate::config::{GEMINI_API, RESEND_API, Remedy, Source, unresolved};
use crate::store::messages;

use super::tls::{self, Peer};

/// What to do about a service that gave no answer; `error` says why, and `otherwise` is for what
/// this cannot tell.
pub(super) fn reach(
    origin: &str,
    variable: &str,
    error: &str,
    source: &Source,
    otherwise: Remedy,
) -> Remedy {
    let peer = Peer {
        origin,
        variable,
        source,
    };
    if let Some(remedy) = tls::remedy(&peer, error) {
        return remedy;
    }
    let otherwise = match messages::find(error).map(|known| known.id) {
        Some("network.host-not-found") => unresolved(
            variable,
            origin,
            Remedy::note(format!(
                "correct the host in {variable}, or the name server of this machine (/etc/resolv.conf): {origin} does not resolve"
            )),
        ),
        Some("network.timeout") if error.contains("unreachable") => Remedy::note(format!(
            "this machine has no way to {origin}: correct {variable}, or its routes; an address of IPv6 needs IPv6 here, which many containers do not have"
        )),
        Some("network.refused") if is_loopback(origin) => otherwise.then(Remedy::note(format!(
            "inside a container, localhost is the container itself: write the name of the other container into {variable}, or host.docker.internal for its host"
        ))),
        _ if error.starts_with("invalid HTTP ") => Remedy::note(format!(
            "what listens at {origin} does not answer in HTTP/1.1: correct the port in {variable}, or let the proxy there speak HTTP/1.1"
        )),
        _ if CLOSED.iter().any(|words| error.contains(words)) => Remedy::note(format!(
            "what listens at {origin} ends connections without an answer: read its log, or correct host and port in {variable}"
        )),
        _ => otherwise,
    };
    otherwise
        .then(default_address(origin, variable))
        .then(unused_proxy(origin, source))
}

/// Where the variable leads when it is not set, if that is elsewhere.
fn default_address(origin: &str, variable: &str) -> Option<Remedy> {
    let own = match variable {
        "GEMINI_API_URL" => GEMINI_API,
        "RESEND_API_URL" => RESEND_API,
        _ => return None,
    };
    let own = self::origin(&url_or(None, own));
    (own != origin).then(|| {
        Remedy::note(format!(
            "if {variable} was meant for tests, this leads to {own} again, after a restart: todoctl config unset {variable}"
        ))
    })
}

/// Of hyper and of the system, for a connection that was accepted.
const CLOSED: [&str; 3] = [
    "connection closed before message completed",
    "Connection reset by peer",
    "tls handshake eof",
];

fn is_loopback(origin: &str) -> bool {
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    let begins = ["localhost", "127.", "[::1]"];
    begins.iter().any(|begin| host.starts_with(begin))
}

/// Variables that other programs obey and todoctl does not.
const PROXIES: [&str; 6] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Why other programs of this machine may reach a service of HTTP that todoctl does not.
fn unused_proxy(origin: &str, source: &Source) -> Option<Remedy> {
    let mut names = PROXIES.into_iter();
    let name = names.find(|name| source.get(name).is_some())?;
    origin.starts_with("http").then(|| {
        Remedy::note(format!(
            "{name} is set, and todoctl does not use it: it connects directly, without a proxy"
        ))
    })
}

/// Another machine's firewall or this one's.
pub(super) fn let_through(origin: &str, variable: &str) -> Remedy {
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

    #[test]
    fn errors_of_tls_of_names_and_others() {
        let of = |error| {
            let otherwise = Remedy::note("start it");
            let source = Source::default();
            reach(
                "https://auth:1",
                "AUTH_SERVER_URL",
                error,
                &source,
                otherwise,
            )
            .to_string()
        };
        for (error, said) in [
            ("invalid peer certificate: UnknownIssuer", "SSL_CERT_FILE="),
            (
                "failed to lookup address information: Name or service not known",
                "correct the host",
            ),
            ("Connection refused (os error 111)", "start it"),
            ("Network is unreachable (os error 101)", "IPv6"),
            ("invalid HTTP version parsed", "HTTP/1.1"),
            ("connection closed before message completed", "read its log"),
        ] {
            let remedy = of(error);
            assert!(remedy.contains(said), "{error}: {remedy}");
            assert!(!remedy.contains("inside a container"), "{remedy}");
        }
    }

    #[test]
    fn addresses_that_have_a_default() {
        for (variable, own) in [
            ("GEMINI_API_URL", Some(GEMINI_API)),
            ("RESEND_API_URL", Some(RESEND_API)),
            ("AUTH_SERVER_URL", None),
        ] {
            let of = |origin: &str| {
                let (error, otherwise) = ("Connection refused", Remedy::note("start it"));
                let source = Source::default();
                reach(origin, variable, error, &source, otherwise).to_string()
            };
            let unset = format!("todoctl config unset {variable}");
            assert_eq!(of("http://10.0.0.7:1").contains(&unset), own.is_some());
            let own = own.map(|own| origin(&url_or(None, own)));
            assert!(own.is_none_or(|own| !of(&own).contains("unset")));
        }
    }

    #[test]
    fn this_machine() {
        for own in [
            "http://localhost:3001",
            "http://127.0.0.1:1",
            "https://[::1]:1",
            "127.0.0.1:6379",
        ] {
            assert!(is_loopback(own), "{own}");
        }
        assert!(!is_loopback("http://auth:3001"));
        let (origin, start) = ("http://localhost:3001", Remedy::note("start it"));
        let refused = "Connection refused (os error 111)";
        let remedy = reach(
            origin,
            "AUTH_SERVER_URL",
            refused,
            &Source::default(),
            start,
        );
        assert!(remedy.to_string().contains("name of the other container"));
    }

    #[test]
    fn own_addresses() {
        for own in [RESEND_API, GEMINI_API] {
            assert_eq!(origin(&url_or(None, own)), own);
        }
    }
}
