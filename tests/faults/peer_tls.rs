//! Faults of TLS between todoctl and the services that it uses: each is explained with the variable
//! of that service.

use std::io::{Read as _, Write as _};

use crate::faults::auth_answers::{GOOD, encrypted, trust, with_session};
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::peers::peer;

const AUTH: &str = "services.auth_server";
const ERRORS: &str = "daemon.errors";

const UNAVAILABLE: Symptom = Symptom::Risk("tokens of its users are answered with 503");

faults! {
    OLD_TLS = Fault {
        title: "A service speaks no version of TLS that is safe",
        symptom: UNAVAILABLE,
        check: AUTH,
        outcome: "fail",
        after: After::Person("the service has to be configured"),
    };
    LEAF_AS_CA = Fault {
        title: "SSL_CERT_FILE has the certificate of the server in place of its CA",
        symptom: UNAVAILABLE,
        check: AUTH,
        outcome: "fail",
        after: After::Person("only a person has the CA's certificate"),
    };
    UNTRUSTED = Fault {
        title: "Requests fail because the daemon does not trust the auth server's certificate",
        symptom: UNAVAILABLE,
        check: ERRORS,
        outcome: "warn",
        after: After::Person("the check of the auth server says what to do"),
    };
}

/// A server that ends each handshake with this alert (RFC 8446, section 6); its port.
fn alerting(alert: u8) -> u16 {
    let at = peer(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&[21, 3, 1, 0, 2, 2, alert]);
        // Until the client has read it.
        let _ = stream.read(&mut [0; 4096]);
    });
    at.port()
}

const SERVICES: [(&str, &str, &str); 4] = [
    (AUTH, "AUTH_SERVER_URL", "https"),
    ("services.redis", "REDIS_URL", "rediss"),
    ("services.mail", "RESEND_API_URL", "https"),
    ("services.key_provider", "GEMINI_API_URL", "https"),
];

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_servers_end() {
    let mut scene = Scene::new();
    scene.set("RESEND_API_KEY", "re_canary");
    scene.set("EMAIL_FROM", "todo@example.com");
    let port = alerting(70);
    scene.set("AUTH_SERVER_URL", &format!("https://localhost:{port}"));
    scene.proves(&OLD_TLS).await;
    for (alert, said) in [
        (70, "TLS 1.2 or 1.3"),
        (40, "cipher suites"),
        (112, "has no certificate for this name"),
        (80, "has no certificate for this name"),
        (116, "asks for a client certificate"),
    ] {
        let port = alerting(alert);
        for (_, variable, scheme) in SERVICES {
            scene.set(variable, &format!("{scheme}://localhost:{port}"));
        }
        let report = scene.check(&["doctor", "--only", "services", "--format", "json"]);
        for (id, ..) in SERVICES {
            let check = report.check(id);
            let remedy = check["remedy"].as_str().unwrap_or_default();
            assert!(remedy.contains(said), "{alert} {id}: {check:#}");
            assert!(!remedy.contains("DATABASE_URL"), "{id}: {remedy}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_the_authority() {
    let mut scene = Scene::sqlite().await;
    let (port, ca, leaf) = encrypted(&GOOD);
    trust(&scene, &leaf);
    scene.set("AUTH_SERVER_URL", &format!("https://localhost:{port}"));
    scene.proves(&LEAF_AS_CA).await;
    let said = scene.doctor(AUTH);
    said.says(AUTH, "fail", "does not have the CA");

    let base = scene.start_at_its_port();
    for _ in 0..3 {
        assert_eq!(with_session(&base), 503);
    }
    scene.proves(&UNTRUSTED).await;
    let report = scene.doctor(ERRORS);
    report.says(ERRORS, "warn", "services.auth_server");
    let text = report.json.to_string();
    assert!(!text.contains("DATABASE_URL"), "{text}");
    assert!(
        text.contains("auth_server_unavailable: unreachable"),
        "{text}"
    );
    scene.stop();

    // Both may be in it.
    trust(&scene, &(leaf + &ca));
    scene.proves_gone(&LEAF_AS_CA);
}
