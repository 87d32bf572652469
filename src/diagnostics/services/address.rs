//! Addresses of services, and what to do where they cannot be reached.

use url::Url;

use crate::config::{Remedy, Source};
use crate::store::messages;

/// What to do about a service that gave no answer; `error` says why, and `otherwise` is for what
/// this cannot tell.
pub(super) fn reach(
    origin: &str,
    variable: &str,
    error: &str,
    source: &Source,
    otherwise: Remedy,
) -> Remedy {
    // Of rustls: TLS 1.3 has an alert of its own (RFC 8446, section 6.2).
    if error.contains("CertificateRequired") {
        return Remedy::note(format!(
            "{origin} asks for a client certificate, and todoctl has none: let it accept clients without one (Redis: tls-auth-clients no or optional), or name another address in {variable}"
        ));
    }
    match messages::find(error).map(|known| known.id) {
        Some("tls.not-valid-yet") => Remedy::note(format!(
            "set this machine's clock if it is behind (as root: timedatectl set-ntp true); otherwise wait, or give {origin} another certificate:"
        ))
        .then(Remedy::command("date -u")),
        Some("tls.certificate") if is_hidden(CA_FILE, source) => Remedy::note(format!(
            "the CA of {origin} is not in the file that SSL_CERT_FILE of the environment names, and that hides the SSL_CERT_FILE of the .env file:"
        ))
        .then(Remedy::unset(CA_FILE)),
        Some("tls.expired") => Remedy::note(format!(
            "renew the certificate of {origin}, unless this machine's clock is wrong:"
        ))
        .then(Remedy::command("date -u")),
        Some("tls.certificate") => Remedy::note(format!(
            "if {origin} has a CA of its own, name a file with its certificate: todoctl config set SSL_CERT_FILE=/etc/ssl/certs/your-ca.pem; otherwise the server lacks its chain of certificates"
        )),
        Some("tls.ca-as-server") => Remedy::note(format!(
            "give {origin} a certificate with the extension basicConstraints CA:FALSE (openssl req -x509 makes one of a CA without it), and name the file of its CA: todoctl config set SSL_CERT_FILE=/etc/ssl/certs/your-ca.pem"
        )),
        Some("tls.no-name" | "tls.version-1") => Remedy::note(format!(
            "give {origin} a certificate of version 3 with the extension subjectAltName: its common name does not count"
        )),
        Some("tls.host-name") => Remedy::note(format!(
            "use the host name of the certificate in {variable}, or give {origin} a certificate for its name"
        )),
        Some("network.host-not-found") => Remedy::note(format!(
            "correct the host in {variable}, or the name server of this machine (/etc/resolv.conf): {origin} does not resolve"
        ))
        .then(unused_proxy(origin, source)),
        _ => otherwise.then(unused_proxy(origin, source)),
    }
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

const CA_FILE: &str = "SSL_CERT_FILE";

/// Whether the environment has another value than the `.env` file.
fn is_hidden(name: &str, source: &Source) -> bool {
    source.overridden().any(|one| one == name)
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
    use crate::config::{GEMINI_API, RESEND_API};

    #[test]
    fn errors_of_tls_and_of_names() {
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
            (
                "invalid peer certificate: certificate expired: verification time 1",
                "date -u",
            ),
            ("invalid peer certificate: UnknownIssuer", "SSL_CERT_FILE="),
            (
                "invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))",
                "CA:FALSE",
            ),
            (
                "invalid peer certificate: certificate not valid for name \"auth\"",
                "host name of the certificate",
            ),
            (
                "failed to lookup address information: Name or service not known",
                "correct the host",
            ),
            (
                "invalid peer certificate: certificate not valid yet: verification time 1",
                "clock if it is behind",
            ),
            (
                "received fatal alert: CertificateRequired",
                "client certificate",
            ),
            ("Connection refused (os error 111)", "start it"),
        ] {
            let remedy = of(error);
            assert!(remedy.contains(said), "{error}: {remedy}");
        }
    }

    #[test]
    fn own_addresses() {
        for own in [RESEND_API, GEMINI_API] {
            assert_eq!(origin(&url_or(None, own)), own);
        }
    }
}
