//! What is in front of the daemon: proxies, load balancers, probes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use reqwest::blocking::Client;
use serde_json::Value;

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::refused::asked;
use crate::support::process::free_port;
use crate::support::{blocking_http_client, eventually};

const ERRORS: &str = "daemon.errors";

const PERSON: After = After::Person("what is in front has to be set up differently");

faults! {
    OTHER_PROTOCOL = Fault {
        title: "A load balancer speaks the PROXY protocol, TLS or HTTP/2 to the plain port",
        symptom: Symptom::Risk("no request is answered"),
        check: ERRORS,
        outcome: "warn",
        after: PERSON,
    };
    OTHER_PROBES = Fault {
        title: "Probes and scrapers ask for what is not here",
        symptom: Symptom::Risk("a daemon that is well gets no requests, or is restarted"),
        check: ERRORS,
        outcome: "warn",
        after: PERSON,
    };
    SILENT_PROXY = Fault {
        title: "A trusted proxy does not say for whom it asks",
        symptom: Symptom::Risk("users with right tokens are answered with 429"),
        check: ERRORS,
        outcome: "warn",
        after: PERSON,
    };
    CHANGED_PATHS = Fault {
        title: "A proxy or a client changes the paths",
        symptom: Symptom::Risk("requests are answered with 404"),
        check: ERRORS,
        outcome: "warn",
        after: PERSON,
    };
}

/// Sends bytes on a connection of their own; how the answer begins.
fn answer_to(base: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(base.trim_start_matches("http://")).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // It may be closed with bytes unread.
    let _ = stream.read_to_end(&mut answer);
    let line = answer.split(|byte| *byte == b'\r').next();
    String::from_utf8_lossy(line.unwrap_or_default()).into_owned()
}

/// How many requests and connections were refused for this reason, as `/status` says.
fn refused(base: &str, reason: &str) -> u64 {
    let url = format!("{base}/status");
    let ask = || blocking_http_client().get(url).send().unwrap().json();
    let status: Value = std::thread::scope(|scope| scope.spawn(ask).join().unwrap().unwrap());
    assert!(!status.to_string().contains("canary"), "{status}");
    let refusals = status["requests"]["refusals"].as_array().unwrap().clone();
    let of_reason = refusals.iter().filter(|one| one["reason"] == reason);
    of_reason.map(|one| one["count"].as_u64().unwrap()).sum()
}

fn says(scene: &Scene, said: &[&str]) {
    let report = scene.doctor(ERRORS);
    let detail = report.detail(ERRORS);
    for said in said {
        assert!(detail.contains(said), "{said:?} is not in {detail:?}");
    }
    assert!(!detail.contains("canary"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_protocols() {
    let mut scene = Scene::sqlite().await;
    let base = scene.start_at_its_port();
    let openings: [(&str, &[u8]); 4] = [
        (
            "proxy_protocol",
            b"PROXY TCP4 10.0.0.1 10.0.0.2 5 80\r\nGET /health?canary HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        (
            "proxy_protocol",
            b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0ccanary012345GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        ("tls", b"\x16\x03\x01\0\x06canary\r\n\r\n"),
        (
            "http2",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        ),
    ];
    let connect = |times| {
        for _ in 0..times {
            for (_, bytes) in openings {
                answer_to(&base, bytes);
            }
        }
    };
    // A scanner tries as many.
    connect(4);
    scene.doctor(ERRORS).says(ERRORS, "pass", "");
    connect(6);
    eventually("all of them are counted", async || {
        openings
            .iter()
            .all(|(reason, _)| refused(&base, reason) >= 10)
    })
    .await;
    scene.proves(&OTHER_PROTOCOL).await;
    says(
        &scene,
        &[
            "connections began with a header of the PROXY protocol",
            "10 connections began with TLS",
            "10 connections began with HTTP/2",
        ],
    );
    let report = scene.doctor(ERRORS);
    report.says(ERRORS, "warn", "send-proxy");
    report.says(ERRORS, "warn", "HTTP/2 end-to-end");
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_scrapers() {
    let mut scene = Scene::sqlite().await;
    let metrics = format!("127.0.0.1:{}", free_port());
    scene.set("METRICS_ADDR", &metrics);
    let base = scene.start_at_its_port();
    let status = format!("http://{metrics}");
    let get = |path: &str| {
        let url = format!("{base}{path}");
        move |client: &Client| client.get(&url)
    };
    assert_eq!(asked(9, get("/healthz")), [404; 9]);
    assert_eq!(asked(30, get("/wp-login.php")), [404; 30]);
    assert_eq!(asked(30, get("/health/ready")), [200; 30]);
    // Scanners behind a proxy that is not trusted.
    let root = format!("{base}/");
    let scan = |client: &Client| client.get(&root).header("X-Forwarded-For", "198.51.100.7");
    assert_eq!(asked(12, scan), [404; 12]);
    scene.doctor(ERRORS).says(ERRORS, "pass", "");

    assert_eq!(asked(1, get("/healthz/")), [404]);
    assert_eq!(asked(10, get("/api/health")), [404; 10]);
    assert_eq!(asked(10, get("/metrics")), [404; 10]);
    for _ in 0..10 {
        let answer = answer_to(&base, b"OPTIONS / HTTP/1.0\r\n\r\n");
        assert_eq!(answer, "HTTP/1.0 404 Not Found");
        let bytes = b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n";
        assert_eq!(answer_to(&base, bytes), "HTTP/1.1 400 Bad Request");
        let answer = answer_to(&base, b"OPTIONS /health/ready HTTP/1.0\r\n\r\n");
        assert_eq!(answer, "HTTP/1.0 405 Method Not Allowed");
    }
    assert_eq!(refused(&status, "probe_path"), 52);
    scene.proves(&OTHER_PROBES).await;
    says(
        &scene,
        &[
            "52 requests of probes or scrapers were for paths that do not exist here (404) (/, /api/health, /healthz, /metrics;",
            "10 requests of probes had a method that is not answered (405)",
            "10 requests had no Host header, or not one host and port (400) (is missing;",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_that_do_not_name_clients() {
    let mut scene = Scene::sqlite().await;
    scene.set("TRUSTED_PROXIES", "127.0.0.1");
    scene.set("AUTH_FAILURES_PER_MINUTE", "2");
    let base = scene.start_at_its_port();
    let url = format!("{base}/tasks/");
    let with = |name: &'static str, value: &'static str| {
        let url = url.clone();
        move |client: &Client| client.get(&url).bearer_auth("canary").header(name, value)
    };
    // However many others are answered.
    let live = format!("{base}/health/live");
    assert_eq!(asked(200, |client| client.get(&live)), [200; 200]);
    let limited = "requests were answered with 429 because all clients of a trusted proxy";
    // One client that guesses is no proxy.
    let forwarded = asked(14, with("X-Forwarded-For", "198.51.100.7"));
    assert_eq!(forwarded[2..], [429; 12]);
    let detail = scene.doctor(ERRORS).detail(ERRORS).to_owned();
    assert!(!detail.contains(limited), "{detail}");

    let silent = asked(14, |client| client.get(&url).bearer_auth("canary"));
    assert_eq!(silent[2..], [429; 12]);
    scene.proves(&SILENT_PROXY).await;
    assert_eq!(asked(10, with("X-Real-IP", "198.51.100.7")), [429; 10]);
    for behind in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"] {
        let through = format!("{behind}, 203.0.113.9");
        let request = |client: &Client| {
            let request = client.get(&url).bearer_auth("canary");
            request.header("X-Forwarded-For", &through)
        };
        asked(4, request);
    }
    says(
        &scene,
        &[
            "12 requests were answered with 429 because all clients of a trusted proxy share its limit of wrong credentials: it sends no X-Forwarded-For",
            "it sends another header than X-Forwarded-For, or no address in it (x-real-ip;",
            "if that address is another proxy or a CDN (203.0.0.0/16;",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_are_changed() {
    let mut scene = Scene::sqlite().await;
    let token = scene.get("SERVICE_AUTH_TOKEN").unwrap();
    let base = scene.start_at_its_port();
    let with_token = |path: &str| {
        let url = format!("{base}{path}?search=canary");
        let token = token.clone();
        move |client: &Client| {
            let request = client.get(&url).bearer_auth(&token);
            request.header("X-User-ID", "me")
        }
    };
    assert_eq!(asked(30, with_token("/tasks/")), [200; 30]);
    let bot = |client: &Client| {
        let request = client.get(format!("{base}/wp-json/canary"));
        request.basic_auth("admin", Some("canary"))
    };
    assert_eq!(asked(40, bot), [404; 40]);
    scene.doctor(ERRORS).says(ERRORS, "pass", "");
    for path in ["//tasks/", "/TASKS/", "/tasks%2F1", "/1", "/canary/"] {
        assert_eq!(asked(10, with_token(path)), [404; 10], "{path}");
    }
    let twice = with_token("/tasks/?page=1");
    assert_eq!(asked(10, twice), [422; 10]);
    scene.proves(&CHANGED_PATHS).await;
    says(
        &scene,
        &[
            "10 of 50 requests with credentials had a path with // in it (404)",
            "10 of 50 requests with credentials had a path in capitals (404)",
            "10 of 50 requests with credentials had an encoded slash in the path (404)",
            "10 of 50 requests with credentials lacked the beginning of the path (404) (/tasks;",
            "10 of 50 requests with credentials were for paths that do not exist (404)",
            "10 of 40 GET /tasks/ had parameters that are not valid (422)",
        ],
    );
}
