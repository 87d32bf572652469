//! Services whose certificates are of a private CA: `SSL_CERT_FILE` is honoured by all clients.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::faults::Broken;
use crate::faults::peers::peer;

/// What each service answers with when it is well.
fn answer(request: &str) -> String {
    let (status, body) = if request.contains("PING") {
        return "+PONG\r\n".to_owned();
    } else if request.contains(" /v1beta/models ") {
        (400, r#"{"error":{"status":"INVALID_ARGUMENT"}}"#)
    } else if request.contains(" /domains?") {
        (
            200,
            r#"{"data":[{"name":"example.com","status":"verified"}]}"#,
        )
    } else if request.contains("/get-session ") {
        (200, "null")
    } else {
        (
            200,
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
        )
    };
    let length = body.len();
    format!("HTTP/1.1 {status} \r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

/// Speaks TLS as `localhost`, and HTTP or Redis within; its port, and its CA as PEM.
fn tls_peer() -> (u16, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let at = peer(move |stream| {
        let connection = ServerConnection::new(config.clone()).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let mut request = [0; 4096];
        let Ok(length) = stream.read(&mut request) else {
            return;
        };
        let answer = answer(&String::from_utf8_lossy(&request[..length]));
        let _ = stream.write_all(answer.as_bytes());
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    (at.port(), authority.pem())
}

#[test]
fn every_client_trusts_it() {
    let (port, ca) = tls_peer();
    let service = |id: &str| {
        let broken = Broken::new();
        match id {
            "services.redis" => broken.env("REDIS_URL", &format!("rediss://localhost:{port}")),
            "services.mail" => broken
                .env("RESEND_API_KEY", "re_canary")
                .env("EMAIL_FROM", "Todo <todo@example.com>")
                .env("RESEND_API_URL", &format!("https://localhost:{port}")),
            "services.key_provider" => {
                broken.env("GEMINI_API_URL", &format!("https://localhost:{port}"))
            }
            _ => broken.env("AUTH_SERVER_URL", &format!("https://localhost:{port}")),
        }
    };
    for id in [
        "services.auth_server",
        "services.redis",
        "services.mail",
        "services.key_provider",
    ] {
        let report = |broken: &Broken| broken.report(&["doctor", "--only", id, "--format", "json"]);
        let without = report(&service(id)).detail(id).to_owned();
        assert!(without.contains("cannot be reached"), "{id}: {without}");
        let broken = service(id);
        let file = broken.path().join("ca.pem");
        std::fs::write(&file, &ca).unwrap();
        let broken = broken.env("SSL_CERT_FILE", &file.display().to_string());
        let with = report(&broken);
        if id == "services.redis" {
            // The peer understands PING alone. What it answers to the script arrives over TLS.
            with.says(id, "fail", "log of Redis");
            let detail = with.detail(id);
            assert!(
                detail.starts_with("answers, but does not count"),
                "{detail}"
            );
            assert!(!detail.contains("certificate"), "{detail}");
        } else {
            with.says(id, "pass", "");
        }
    }
}

/// Images, conda and corporate proxies set `SSL_CERT_FILE` in the environment.
#[test]
fn a_ca_file_that_the_environment_hides() {
    const CHECK: &str = "services.auth_server";
    let (port, ca) = tls_peer();
    let broken = Broken::new().env("AUTH_SERVER_URL", &format!("https://localhost:{port}"));
    let file = broken.path().join("ca.pem");
    std::fs::write(&file, &ca).unwrap();
    let variables = format!("SSL_CERT_FILE={}\n", file.display());
    std::fs::write(broken.path().join(".env"), variables).unwrap();
    let (_, other) = tls_peer();
    let hiding = broken.path().join("other.pem");
    std::fs::write(&hiding, other).unwrap();
    let report = |broken: &Broken| broken.report(&["doctor", "--only", CHECK, "--format", "json"]);
    let broken = broken.env("SSL_CERT_FILE", &hiding.display().to_string());
    report(&broken).says(CHECK, "fail", "\nunset SSL_CERT_FILE\n");
    // As after that command; an empty variable is none.
    let broken = broken.env("SSL_CERT_FILE", "");
    report(&broken).says(CHECK, "pass", "");
}
