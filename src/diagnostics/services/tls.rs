//! Faults of TLS between todoctl and a service, whichever it is.

use url::Url;

use crate::config::{Remedy, Source, ca_file};
use crate::store::messages;

/// The service that is connected to.
pub(super) struct Peer<'a> {
    /// Scheme, host and port.
    pub origin: &'a str,
    /// The variable with its address.
    pub variable: &'a str,
    pub source: &'a Source,
}

const CA_FILE: &str = "SSL_CERT_FILE";

/// Names of rustls for what ends a handshake: alerts of the server (RFC 8446, section 6.2), and
/// what the client does not accept.
const OLD_VERSION: [&str; 3] = [
    "ProtocolVersion",
    "ServerTlsVersionIsDisabledByOurConfig",
    "ServerDoesNotSupportTls12Or13",
];
const NO_CIPHER: [&str; 5] = [
    "HandshakeFailure",
    "InsufficientSecurity",
    "NoCipherSuitesInCommon",
    "NoKxGroupsInCommon",
    "NoSignatureSchemesInCommon",
];
const NO_SUCH_NAME: [&str; 2] = ["UnrecognisedName", "alert: InternalError"];
const NO_TLS: &str = "InvalidContentType";

/// The error in plain words, where those of rustls are not.
pub(super) fn plain(error: &str) -> &str {
    if error.contains(NO_TLS) {
        "it does not speak TLS"
    } else {
        error
    }
}

/// What to do, if `error` is one of TLS.
pub(super) fn remedy(peer: &Peer<'_>, error: &str) -> Option<Remedy> {
    let Peer {
        origin, variable, ..
    } = peer;
    let has = |words: &[&str]| words.iter().any(|word| error.contains(word));
    if has(&[NO_TLS]) {
        return Some(no_tls(variable));
    }
    if has(&["CertificateRequired"]) {
        return Some(Remedy::note(format!(
            "{origin} asks for a client certificate, and todoctl has none: let it accept clients without one (Redis: tls-auth-clients no or optional), or name another address in {variable}"
        )));
    }
    if has(&OLD_VERSION) {
        return Some(Remedy::note(format!(
            "{origin} speaks TLS 1.1 or older only, which is not safe: enable TLS 1.2 or 1.3 there (nginx: ssl_protocols TLSv1.2 TLSv1.3; Redis: tls-protocols)"
        )));
    }
    if has(&NO_CIPHER) {
        return Some(Remedy::note(format!(
            "{origin} accepts none of the cipher suites of todoctl: let it offer one with ECDHE and AES-GCM or ChaCha20-Poly1305 (nginx: ssl_ciphers HIGH; Redis: tls-ciphers); a server without a certificate answers so as well"
        )));
    }
    if has(&NO_SUCH_NAME) {
        return Some(Remedy::note(format!(
            "{origin} has no certificate for this name or address: write a host name that it serves into {variable}, or let it serve this one"
        )));
    }
    Some(match messages::find(error).map(|known| known.id) {
        Some("tls.certificate") => unknown_authority(peer),
        Some("tls.not-valid-yet") => Remedy::note(format!(
            "set this machine's clock if it is behind (as root: timedatectl set-ntp true); otherwise wait, or give {origin} another certificate:"
        ))
        .then(Remedy::command("date -u")),
        Some("tls.expired") => Remedy::note(format!(
            "renew the certificate of {origin}, unless this machine's clock is wrong:"
        ))
        .then(Remedy::command("date -u")),
        Some("tls.ca-as-server") => Remedy::note(format!(
            "give {origin} a certificate with the extension basicConstraints CA:FALSE (openssl req -x509 makes one of a CA without it), and name the file of its CA: todoctl config set SSL_CERT_FILE=/etc/ssl/certs/your-ca.pem"
        )),
        Some("tls.no-name" | "tls.version-1") => Remedy::note(format!(
            "give {origin} a certificate of version 3 with the extension subjectAltName: its common name does not count"
        )),
        Some("tls.host-name") => Remedy::note(format!(
            "use the host name of the certificate in {variable}, or give {origin} a certificate for its name"
        )),
        _ if has(&["invalid peer certificate"]) => Remedy::note(format!(
            "give {origin} another certificate: the present one is not valid for TLS"
        )),
        _ => return None,
    })
}

fn no_tls(variable: &str) -> Remedy {
    let scheme = if variable == "REDIS_URL" {
        "redis"
    } else {
        "http"
    };
    Remedy::note(format!(
        "enable TLS there; only if the network in between is trusted: todoctl config set {variable}.scheme={scheme}"
    ))
}

/// The certificate is not signed by a CA that is trusted.
fn unknown_authority(peer: &Peer<'_>) -> Remedy {
    let Peer {
        origin,
        variable,
        source,
    } = peer;
    if source.overridden().any(|one| one == CA_FILE) {
        return Remedy::note(format!(
            "the CA of {origin} is not in the file that SSL_CERT_FILE of the environment names, and that hides the SSL_CERT_FILE of the .env file:"
        ))
        .then(Remedy::unset(CA_FILE));
    }
    let Some(file) = ca_file(source) else {
        return Remedy::note(format!(
            "if {origin} has a CA of its own, name a file with its certificate: todoctl config set SSL_CERT_FILE=/etc/ssl/certs/your-ca.pem; otherwise the server lacks its chain of certificates"
        ));
    };
    let for_redis = (*variable == "REDIS_URL").then(|| {
        Remedy::note("for Redis, SSL_CERT_FILE counts instead of the public CAs: if a public one has signed its certificate, append them too (Debian has them in /etc/ssl/certs/ca-certificates.crt)")
    });
    Remedy::note(format!(
        "SSL_CERT_FILE does not have the CA that has signed the certificate of {origin} (the server's own certificate does not count as one), or the server lacks its chain of certificates: append the CA's certificate to the file; these show what the file has, and whose signature is needed:"
    ))
    .then(
        Remedy::command("openssl crl2pkcs7 -nocrl -certfile")
            .arg(file)
            .pipe(&Remedy::command("openssl pkcs7 -print_certs -noout")),
    )
    .then(shows_issuer(origin))
    .then(for_redis)
}

/// Shows the certificates that a server sends.
fn shows_issuer(origin: &str) -> Option<Remedy> {
    let address = if origin.contains("://") {
        let url = Url::parse(origin).ok()?;
        format!("{}:{}", url.host_str()?, url.port_or_known_default()?)
    } else {
        origin.to_owned()
    };
    let command = Remedy::command("openssl s_client -connect").arg(address);
    Some(command.joined(" </dev/null 2>/dev/null | grep -E '^ *[0-9]* [si]:'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(error: &str, variable: &str, values: &[(&str, &str)]) -> Option<String> {
        let source = Source::from_values(values.iter().copied());
        let peer = Peer {
            origin: "https://auth:1",
            variable,
            source: &source,
        };
        remedy(&peer, error).map(|remedy| remedy.to_string())
    }

    #[test]
    fn each_fault_names_the_variable_of_the_service() {
        for variable in ["AUTH_SERVER_URL", "RESEND_API_URL", "GEMINI_API_URL"] {
            for error in [
                "invalid peer certificate: certificate not valid for name \"auth\"",
                "received fatal alert: UnrecognisedName",
                "received fatal alert: InternalError",
                "received fatal alert: CertificateRequired",
                "received corrupt message of type InvalidContentType",
            ] {
                let said = of(error, variable, &[]).unwrap();
                assert!(said.contains(variable), "{error}: {said}");
                assert!(!said.contains("DATABASE_URL"), "{said}");
            }
        }
        let redis = of("InvalidContentType", "REDIS_URL", &[]).unwrap();
        assert!(redis.contains("REDIS_URL.scheme=redis"), "{redis}");
    }

    #[test]
    fn what_is_said() {
        for (error, said) in [
            (
                "invalid peer certificate: certificate expired: verification time 1",
                "date -u",
            ),
            (
                "invalid peer certificate: certificate not valid yet: verification time 1",
                "clock if it is behind",
            ),
            (
                "invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))",
                "CA:FALSE",
            ),
            (
                "invalid peer certificate: BadEncoding",
                "another certificate",
            ),
            ("received fatal alert: ProtocolVersion", "TLS 1.2 or 1.3"),
            (
                "peer is incompatible: ServerDoesNotSupportTls12Or13",
                "TLS 1.2 or 1.3",
            ),
            ("received fatal alert: HandshakeFailure", "cipher suites"),
        ] {
            let remedy = of(error, "AUTH_SERVER_URL", &[]).unwrap();
            assert!(remedy.contains(said), "{error}: {remedy}");
        }
        for other in ["Connection refused (os error 111)", "no answer within 2s"] {
            assert_eq!(of(other, "AUTH_SERVER_URL", &[]), None);
        }
    }

    #[test]
    fn certificates_of_unknown_authorities() {
        let error = "invalid peer certificate: UnknownIssuer";
        let without = of(error, "AUTH_SERVER_URL", &[]).unwrap();
        assert!(without.contains("config set SSL_CERT_FILE="), "{without}");
        let set = [("SSL_CERT_FILE", "/etc/ca.pem")];
        let with = of(error, "AUTH_SERVER_URL", &set).unwrap();
        assert!(with.contains("-certfile /etc/ca.pem |"), "{with}");
        assert!(with.contains("-connect auth:1 "), "{with}");
        assert!(!with.contains("for Redis"), "{with}");
        assert!(of(error, "REDIS_URL", &set).unwrap().contains("for Redis"));
    }
}
