//! Auth servers that answer, and not as the daemon needs it: sessions, redirections, paths,
//! certificates, time.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::peers::peer;
use crate::support::{Answer, HttpPeer, blocking_http_client};

const CHECK: &str = "services.auth_server";

const UNAVAILABLE: Symptom = Symptom::Risk("session tokens of its users are answered with 503");

const OTHER_MACHINE: After =
    After::Person("the auth server, or what is in front of it, is another machine's");

faults! {
    NO_SESSIONS = Fault {
        title: "The auth server does not know the question for sessions, and clients send session tokens",
        symptom: UNAVAILABLE,
        check: CHECK,
        outcome: "warn",
        after: OTHER_MACHINE,
    };
    FAILING_SESSIONS = Fault {
        title: "The auth server fails, or a proxy answers, when it is asked for a session",
        symptom: UNAVAILABLE,
        check: CHECK,
        outcome: "warn",
        after: OTHER_MACHINE,
    };
    LIMITED = Fault {
        title: "The auth server limits the requests of this machine",
        symptom: UNAVAILABLE,
        check: CHECK,
        outcome: "warn",
        after: OTHER_MACHINE,
    };
    NEEDLESS_PATH = Fault {
        title: "AUTH_SERVER_URL has the path that todoctl adds itself",
        symptom: UNAVAILABLE,
        check: CHECK,
        outcome: "warn",
        after: After::Typed("pass"),
    };
    REDIRECTED = Fault {
        title: "The auth server redirects from http to https",
        symptom: UNAVAILABLE,
        check: CHECK,
        outcome: "warn",
        after: After::Typed("pass"),
    };
    BAD_CERTIFICATE = Fault {
        title: "The auth server's certificate has expired, is not valid yet, or is for another name",
        symptom: UNAVAILABLE,
        check: CHECK,
        outcome: "fail",
        after: OTHER_MACHINE,
    };
    CLIENT_CERTIFICATE = Fault {
        title: "The auth server asks for a client certificate",
        symptom: UNAVAILABLE,
        check: CHECK,
        outcome: "fail",
        after: OTHER_MACHINE,
    };
    PLAIN_TO_TLS = Fault {
        title: "The auth server speaks TLS, and AUTH_SERVER_URL has http://",
        symptom: UNAVAILABLE,
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    SLOW = Fault {
        title: "The auth server takes longer to answer than the daemon waits",
        symptom: UNAVAILABLE,
        check: CHECK,
        outcome: "fail",
        after: OTHER_MACHINE,
    };
}

/// An Ed25519 key (RFC 8037, appendix A.2).
fn keys() -> Value {
    json!({ "keys": [
        { "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" },
    ] })
}

/// An auth server below `prefix` that is well but for its answer to the question for sessions.
async fn auth_server(prefix: &'static str, session: Answer) -> HttpPeer {
    HttpPeer::start(move |request| match request.path.strip_prefix(prefix) {
        Some("/api/auth/jwks") => Answer::Json(200, keys()),
        Some("/api/auth/get-session") => session.clone(),
        _ => Answer::Json(404, json!({})),
    })
    .await
}

fn well() -> Answer {
    Answer::Json(200, Value::Null)
}

/// The status of a request with a session token that nobody knows.
pub fn with_session(base: &str) -> u16 {
    let url = format!("{base}/tasks/");
    let ask = || {
        let request = blocking_http_client()
            .get(&url)
            .bearer_auth("abcdefghijklmnop");
        request.send().unwrap().status().as_u16()
    };
    std::thread::scope(|scope| scope.spawn(ask).join().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_for_sessions() {
    let mut scene = Scene::sqlite().await;
    let right = auth_server("", well()).await;
    // Where all tokens are JWTs, nobody asks for a session.
    let missing = auth_server("", Answer::Json(404, json!({}))).await;
    scene.set("AUTH_SERVER_URL", &missing.url);
    let base = scene.start_at_its_port();
    scene.doctor(CHECK).says(CHECK, "pass", "");
    assert_eq!(with_session(&base), 503);
    scene.proves(&NO_SESSIONS).await;
    scene.stop();
    scene.set("AUTH_SERVER_URL", &right.url);
    scene.proves_gone(&NO_SESSIONS);

    let login = ("location", "https://login.example.com/?token=canary");
    for answer in [
        Answer::Json(500, json!({})),
        Answer::Json(403, json!({})),
        Answer::Json(200, json!("<html>")),
        Answer::WithHeader(302, login, Value::Null),
        Answer::HangUp,
    ] {
        let failing = auth_server("", answer).await;
        scene.set("AUTH_SERVER_URL", &failing.url);
        scene.proves(&FAILING_SESSIONS).await;
    }
    let limited = Answer::Json(429, json!({}));
    for limiting in [
        auth_server("", limited.clone()).await,
        HttpPeer::answering(limited).await,
    ] {
        scene.set("AUTH_SERVER_URL", &limiting.url);
        scene.proves(&LIMITED).await;
        scene
            .doctor(CHECK)
            .says(CHECK, "warn", "limits the requests of this machine");
    }
    let unauthorized = auth_server("", Answer::Json(401, json!({}))).await;
    scene.set("AUTH_SERVER_URL", &unauthorized.url);
    scene.proves_gone(&FAILING_SESSIONS);
    scene.proves_gone(&LIMITED);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_of_the_auth_server() {
    let mut scene = Scene::sqlite().await;
    let root = auth_server("", well()).await;
    let below = auth_server("/login", well()).await;
    for (written, right) in [
        (format!("{}/api/auth", root.url), root.url.clone()),
        (format!("{}/api/auth/jwks", root.url), root.url.clone()),
        (format!("{}/auth/", root.url), root.url.clone()),
        (
            format!("{}/login/api/auth/", below.url),
            format!("{}/login", below.url),
        ),
    ] {
        scene.set("AUTH_SERVER_URL", &written);
        scene.proves(&NEEDLESS_PATH).await;
        assert_eq!(scene.get("AUTH_SERVER_URL"), Some(right));
    }
}

/// What a server with TLS shows, and asks for.
pub struct Tls {
    names: &'static str,
    /// Years of its begin and its end.
    valid: (i32, i32),
    wants_certificate: bool,
}

pub const GOOD: Tls = Tls {
    names: "localhost",
    valid: (2020, 2090),
    wants_certificate: false,
};

/// An auth server that speaks TLS: its port, and its CA and its own certificate as PEM.
pub fn encrypted(tls: &Tls) -> (u16, String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![tls.names.to_owned()]).unwrap();
    params.not_before = date_time_ymd(tls.valid.0, 1, 1);
    params.not_after = date_time_ymd(tls.valid.1, 1, 1);
    let certificate = params.signed_by(&key, &authority).unwrap();
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if tls.wants_certificate {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
    let at = peer(move |stream| {
        let connection = ServerConnection::new(config.clone()).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let mut request = [0; 4096];
        let Ok(length) = stream.read(&mut request) else {
            // The alert says why.
            let _ = stream.conn.complete_io(&mut stream.sock);
            return;
        };
        let request = String::from_utf8_lossy(&request[..length]);
        let body = if request.contains("/api/auth/jwks ") {
            keys()
        } else {
            Value::Null
        };
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all((head + &body).as_bytes());
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    (at.port(), authority.pem(), certificate.pem())
}

pub fn trust(scene: &Scene, ca: &str) {
    let file = scene.path().join("ca.pem");
    std::fs::write(&file, ca).unwrap();
    scene.set("SSL_CERT_FILE", file.to_str().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_the_auth_server() {
    let mut scene = Scene::sqlite().await;
    for tls in [
        Tls {
            valid: (2020, 2021),
            ..GOOD
        },
        Tls {
            valid: (2080, 2090),
            ..GOOD
        },
        Tls {
            names: "auth.example.com",
            ..GOOD
        },
    ] {
        let (port, ca, _) = encrypted(&tls);
        trust(&scene, &ca);
        scene.set("AUTH_SERVER_URL", &format!("https://localhost:{port}"));
        scene.proves(&BAD_CERTIFICATE).await;
    }
    let (port, ca, _) = encrypted(&Tls {
        wants_certificate: true,
        ..GOOD
    });
    trust(&scene, &ca);
    scene.set("AUTH_SERVER_URL", &format!("https://localhost:{port}"));
    scene.proves(&CLIENT_CERTIFICATE).await;
    let said = scene.doctor(CHECK);
    said.says(CHECK, "fail", "asks for a client certificate");

    let (port, ca, _) = encrypted(&GOOD);
    trust(&scene, &ca);
    let to = format!("https://localhost:{port}/api/auth/jwks").leak();
    let redirecting = HttpPeer::answering(Answer::WithHeader(308, ("location", to), Value::Null));
    let redirecting = redirecting.await;
    let url = redirecting.url.replace("127.0.0.1", "localhost");
    scene.set("AUTH_SERVER_URL", &url);
    scene.proves(&REDIRECTED).await;
    let right = format!("https://localhost:{port}");
    assert_eq!(scene.get("AUTH_SERVER_URL"), Some(right));
    scene.proves_gone(&BAD_CERTIFICATE);
    scene.proves_gone(&CLIENT_CERTIFICATE);
    scene.set("AUTH_SERVER_URL", &format!("http://localhost:{port}"));
    scene.proves(&PLAIN_TO_TLS).await;
    // Where it leads cannot be reached from here yet.
    let to = "https://localhost:1/api/auth/jwks";
    let redirecting = Answer::WithHeader(301, ("location", to), Value::Null);
    let redirecting = HttpPeer::answering(redirecting).await;
    let url = redirecting.url.replace("127.0.0.1", "localhost");
    scene.set("AUTH_SERVER_URL", &url);
    let remedy = "todoctl config set AUTH_SERVER_URL=https://localhost:1";
    scene.doctor(CHECK).says(CHECK, "warn", remedy);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auth_server_that_is_slow() {
    let mut scene = Scene::sqlite().await;
    let slow = HttpPeer::answering(Answer::Late(Duration::from_secs(4), 200, keys())).await;
    scene.set("AUTH_SERVER_URL", &slow.url);
    scene.proves(&SLOW).await;
    scene.doctor(CHECK).says(CHECK, "fail", "slow or silent");
    let late = HttpPeer::start(|request| {
        let is_keys = request.path == "/api/auth/jwks";
        let body = if is_keys { keys() } else { Value::Null };
        Answer::Late(Duration::from_millis(1100), 200, body)
    });
    let late = late.await;
    scene.set("AUTH_SERVER_URL", &late.url);
    let report = scene.doctor(CHECK);
    let said = report.says(CHECK, "warn", "find out why").detail(CHECK);
    assert!(said.contains("but takes 1"), "{said}");
    let right = auth_server("", well()).await;
    scene.set("AUTH_SERVER_URL", &right.url);
    scene.proves_gone(&SLOW);
}
