//! Addresses of services, and what to do where they cannot be reached.

use url::Url;

use crate::config::Remedy;
use crate::store::messages;

/// What to do about a service that gave no answer; `error` says why, and `otherwise` is for what
/// this cannot tell.
pub(super) fn reach(origin: &str, variable: &str, error: &str, otherwise: Remedy) -> Remedy {
    match messages::find(error).map(|known| known.id) {
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
        Some("tls.host-name") => Remedy::note(format!(
            "use the host name of the certificate in {variable}, or give {origin} a certificate for its name"
        )),
        Some("network.host-not-found") => Remedy::note(format!(
            "correct the host in {variable}, or the name server of this machine (/etc/resolv.conf): {origin} does not resolve"
        )),
        _ => otherwise,
    }
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
            reach("https://auth:1", "AUTH_SERVER_URL", error, otherwise).to_string()
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
