//! What a server offers when TLS is requested.
//!
//! The driver verifies the certificate as `sslmode` says. Here a handshake accepts every
//! certificate and sends no secret, so that a check can say, whatever `sslmode` is, what is
//! wrong with the certificate and whether a stricter mode would work.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
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
use crate::store::{ConnectError, ConnectFault, root_certificates};

use super::network::{Address, failed};

/// PostgreSQL, "Message Formats": `SSLRequest` is eight bytes, the code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A certificate that expires within this time is worth a warning.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// The server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TlsFinding {
    NotOffered,
    Offered {
        /// Such as `TLSv1.3`.
        version: String,
        trust: Trust,
    },
}

/// Whether a certificate can be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Signed by a trusted authority for this host.
    Full {
        /// It expires within two weeks.
        ends_soon: bool,
    },
    /// Signed by a trusted authority for the hosts named, if any is.
    OtherHost(Option<String>),
    /// Not signed by a trusted authority.
    UnknownIssuer,
    Expired,
    /// Something else is wrong with it.
    Bad(String),
}

/// Requests TLS and inspects the certificate.
pub(crate) async fn inspect_tls(
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
                let wrong = format!("it answered {:?} to the request for TLS", char::from(other));
                return Err(ConnectError::from_sqlx(
                    &target,
                    &sqlx::Error::Protocol(wrong),
                ));
            }
        }
        let name = server_name(server).map_err(bad)?;
        let connector = TlsConnector::from(Arc::new(accepting_client().map_err(bad)?));
        let stream = connector
            .connect(name.clone(), stream)
            .await
            .map_err(|error| match error.kind() {
                // The first byte was the one that PostgreSQL sends; the rest is another protocol.
                io::ErrorKind::InvalidData if is_no_tls(&error) => ConnectError::from_sqlx(
                    &target,
                    &sqlx::Error::Protocol("its answer is not TLS".to_owned()),
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
            trust: verify(roots, chain, &name, clock).map_err(bad)?,
        })
    };
    timeout(limit, work).await.unwrap_or_else(|_| {
        let said = format!(
            "it accepts connections, but did not answer within {} s",
            limit.as_secs()
        );
        Err(ConnectError::new(ConnectFault::TimedOut, &target, said))
    })
}

/// Whether the other side answered a handshake with something else.
pub(super) fn is_no_tls(error: &io::Error) -> bool {
    matches!(tls_error(error), Some(rustls::Error::InvalidMessage(_)))
}

/// Whether a handshake came as far as the certificate.
pub(super) fn is_certificate_error(error: &io::Error) -> bool {
    matches!(tls_error(error), Some(rustls::Error::InvalidCertificate(_)))
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn server_name(server: &PostgresTarget) -> Result<ServerName<'static>, String> {
    let host = server.host.trim_matches(['[', ']']);
    ServerName::try_from(host.to_owned())
        .map_err(|_| "the host in the URL cannot be the name in a certificate".to_owned())
}

/// The embedded roots, and those of `sslrootcert=`.
fn roots(server: &PostgresTarget) -> Result<RootCertStore, String> {
    let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    roots.add_parsable_certificates(root_certificates(server)?);
    Ok(roots)
}

/// A client that accepts every certificate. It only inspects it, and sends nothing.
fn accepting_client() -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAnyCert(provider)))
        .with_no_client_auth();
    Ok(client)
}

/// Verifies the certificate for now, and for in two weeks.
fn verify(
    roots: RootCertStore,
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    clock: &Clock,
) -> Result<Trust, String> {
    let Some((first, others)) = chain.split_first() else {
        return Ok(Trust::Bad("the server sent no certificate".to_owned()));
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
            CertificateError::NotValidForName => Trust::OtherHost(Some("another host".to_owned())),
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
fn names(presented: &[String]) -> Option<String> {
    let plain = presented.iter().map(|name| {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest);
        inner.trim_end_matches(')').trim_matches('"').to_owned()
    });
    let plain: Vec<String> = plain.filter(|name| !name.is_empty()).collect();
    (!plain.is_empty()).then(|| plain.join(", "))
}

/// Accepts every certificate, but checks that the server holds its key.
#[derive(Debug)]
struct AcceptAnyCert(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for AcceptAnyCert {
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
        assert_eq!(
            names(&presented).as_deref(),
            Some("db.example.com, 127.0.0.1")
        );
        assert_eq!(names(&[]), None);
    }
}
