//! What a server shows when TLS is asked for.
//!
//! The driver verifies by its own, as `sslmode` says. Here the handshake is done once more
//! with nothing refused and nothing secret sent, so that a check can say what the
//! certificate is worth whatever `sslmode` is: which part of it does not hold, and whether
//! a stricter mode would work.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::clock::Clock;
use crate::config::{DatabaseTarget, PostgresTarget};
use crate::store::{ConnectError, ConnectFault};

use super::network::{Address, failed};

/// PostgreSQL, "Message Formats": `SSLRequest` is eight bytes, the code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A certificate that ends within this time is told of.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// What the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFinding {
    /// It does not offer TLS.
    NotOffered,
    /// It does, with this protocol and certificate.
    Offered {
        /// Such as `TLSv1.3`.
        version: String,
        /// What its certificate is worth for this host.
        trust: Trust,
    },
}

/// What a certificate is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// A known authority vouches for this host.
    Full {
        /// Not for two weeks more.
        ends_soon: bool,
    },
    /// A known authority signed it, for another host.
    OtherHost(String),
    /// Nobody known signed it.
    UnknownIssuer,
    /// It was good once.
    Expired,
    /// Something else is wrong with it.
    Bad(String),
}

/// Asks the server for TLS and looks at what it shows.
pub async fn look_at_tls(
    server: &PostgresTarget,
    address: &Address,
    clock: &Clock,
    limit: Duration,
) -> Result<TlsFinding, ConnectError> {
    let Address::Tcp(addresses) = address else {
        return Ok(TlsFinding::NotOffered);
    };
    let target = DatabaseTarget::Postgres(server.clone());
    let failed = failed(server);
    let bad = |text: String| ConnectError::new(ConnectFault::Certificate, &target, text);
    let roots = roots(server).map_err(bad)?;
    let work = async {
        let mut stream = TcpStream::connect(&addresses[..]).await.map_err(&failed)?;
        stream.write_all(&SSL_REQUEST).await.map_err(&failed)?;
        match stream.read_u8().await.map_err(&failed)? {
            b'S' => {}
            b'N' => return Ok(TlsFinding::NotOffered),
            other => {
                let wrong = format!(
                    "it answered {:?} to PostgreSQL's request for TLS",
                    char::from(other)
                );
                return Err(ConnectError::from_sqlx(
                    &target,
                    &sqlx::Error::Protocol(wrong),
                ));
            }
        }
        let name = server_name(server).map_err(bad)?;
        let connector = TlsConnector::from(Arc::new(curious_client().map_err(bad)?));
        let stream = connector
            .connect(name.clone(), stream)
            .await
            .map_err(|error| match error.kind() {
                // It began with the letter that PostgreSQL would have sent, and is something else.
                io::ErrorKind::InvalidData if is_no_tls(&error) => ConnectError::from_sqlx(
                    &target,
                    &sqlx::Error::Protocol("what it sends is no TLS".to_owned()),
                ),
                _ => bad(format!("the TLS handshake failed: {error}")),
            })?;
        let (_, session) = stream.get_ref();
        let version = session
            .protocol_version()
            .and_then(|version| version.as_str())
            .unwrap_or("TLS");
        let chain = session.peer_certificates().unwrap_or_default();
        Ok(TlsFinding::Offered {
            version: version.to_owned(),
            trust: judge(roots, chain, &name, clock).map_err(bad)?,
        })
    };
    timeout(limit, work).await.unwrap_or_else(|_| {
        let said = format!(
            "it accepts connections and says nothing for {} s",
            limit.as_secs()
        );
        Err(ConnectError::new(ConnectFault::TimedOut, &target, said))
    })
}

fn is_no_tls(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidMessage(_)))
}

fn server_name(server: &PostgresTarget) -> Result<ServerName<'static>, String> {
    let host = server.host.trim_matches(['[', ']']);
    ServerName::try_from(host.to_owned())
        .map_err(|_| "the host in the URL is no name that a certificate can bear".to_owned())
}

/// The embedded roots, and those of `sslrootcert=`.
fn roots(server: &PostgresTarget) -> Result<RootCertStore, String> {
    let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    if let Some(path) = &server.root_cert {
        let place = path.display();
        let unreadable = |error: &dyn std::fmt::Display| {
            format!("the root certificate file {place} cannot be read: {error}")
        };
        let certificates =
            CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
    }
    Ok(roots)
}

/// A client that refuses no certificate: it looks, and hangs up.
fn curious_client() -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Curious(provider)))
        .with_no_client_auth();
    Ok(client)
}

/// Verifies the certificate now, and once more in two weeks.
fn judge(
    roots: RootCertStore,
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    clock: &Clock,
) -> Result<Trust, String> {
    let Some((first, others)) = chain.split_first() else {
        return Ok(Trust::Bad("the server showed no certificate".to_owned()));
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| error.to_string())?;
    let seconds = u64::try_from(clock.now().micros() / 1_000_000).unwrap_or_default();
    let now = Duration::from_secs(seconds);
    let verified = |at: Duration| {
        let at = UnixTime::since_unix_epoch(at);
        verifier.verify_server_cert(first, others, name, &[], at)
    };
    Ok(match verified(now) {
        Ok(_) => Trust::Full {
            ends_soon: verified(now + SOON).is_err(),
        },
        Err(rustls::Error::InvalidCertificate(fault)) => match fault {
            CertificateError::NotValidForName => Trust::OtherHost("another host".to_owned()),
            CertificateError::NotValidForNameContext { presented, .. } => {
                Trust::OtherHost(names(&presented))
            }
            CertificateError::UnknownIssuer => Trust::UnknownIssuer,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Trust::Expired,
            other => Trust::Bad(other.to_string()),
        },
        Err(other) => Trust::Bad(other.to_string()),
    })
}

/// The library writes them as `DnsName("db.example.com")`.
fn names(presented: &[String]) -> String {
    let plain = presented.iter().map(|name| {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest);
        inner.trim_end_matches(')').trim_matches('"').to_owned()
    });
    let plain: Vec<String> = plain.filter(|name| !name.is_empty()).collect();
    if plain.is_empty() {
        "no host at all".to_owned()
    } else {
        plain.join(", ")
    }
}

/// Accepts every certificate, but checks that the server holds its key.
#[derive(Debug)]
struct Curious(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Curious {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_certificate() {
        let presented = [
            "DnsName(\"db.example.com\")".to_owned(),
            "IpAddress(127.0.0.1)".to_owned(),
        ];
        assert_eq!(names(&presented), "db.example.com, 127.0.0.1");
        assert_eq!(names(&[]), "no host at all");
    }
}
