//! Values of variables and files that are accepted, or nearly, and are not what was meant.

use base64::Engine as _;

use crate::faults::harness::{After, Fault, Scene, Symptom, faults, set_mode};
use crate::support::process::free_port;

faults! {
    UNWISE_NUMBER = Fault::warned_of(
        "A number is so low or so high that requests fail or a stop takes long",
        Symptom::Risk("ordinary requests are answered with 413, 429 or 503"),
        "config.http",
    );
    DEVELOPERS_PAGE = Fault::warned_of(
        "CORS_ORIGINS of a production has a development machine",
        Symptom::Risk("whatever listens there may call the API from a browser"),
        "config.cors",
    );
    SILENT_LOG = Fault::warned_of(
        "LOG_LEVEL leaves out why requests fail, or logs everything",
        Symptom::Risk("the log does not say why requests fail, or fills the disk"),
        "config.telemetry",
    );
    UTF_16_SECRET = Fault::failing(
        "The file of a secret is UTF-16 text",
        Symptom::Start("is UTF-16 text"),
        "config.secrets",
    );
    UTF_16_ENV_FILE = Fault::failing(
        "The .env file is UTF-16 text",
        Symptom::Start("is UTF-16 text"),
        "config.env_file",
    );
    QUOTED_SECRET = Fault::warned_of(
        "SESSION_HASH_SECRET is in typographic quotes",
        Symptom::Risk("sessions are unknown to daemons that have the bare value"),
        "config.secrets",
    );
    QUOTED_MAIL_KEY = Fault::warned_of(
        "RESEND_API_KEY is in typographic quotes",
        Symptom::Risk("the mail provider refuses the key"),
        "config.services",
    );
    QUOTED_SENDER = Fault::warned_of(
        "EMAIL_FROM is in typographic quotes",
        Symptom::Risk("the mail provider refuses the sender"),
        "config.services",
    );
    WORD_FOR_NOTHING = Fault::failing(
        "A template has put null, undefined or none in the place of a value",
        Symptom::Start("a word for nothing"),
        "config.services",
    );
    REFERENCE = Fault {
        title: "The value of a secret is a reference that was not resolved",
        symptom: Symptom::Risk("who knows the template knows the secret"),
        check: "config.secrets",
        outcome: "warn",
        after: After::Person("the platform has the value"),
    };
    PATH_AS_SECRET = Fault::warned_of(
        "The value of a secret is the path of its file",
        Symptom::Risk("services that have the secret are answered with 401"),
        "config.secrets",
    );
    SECRET_AS_PATH = Fault::failing(
        "NAME_FILE has the secret itself, and not the path of its file",
        Symptom::Start("is no path of a file"),
        "config.secrets",
    );
    ENCODED_TWICE = Fault::warned_of(
        "A secret is the base64 of its value",
        Symptom::Risk("services that have the value itself are answered with 401"),
        "config.secrets",
    );
    METRICS_ON_THE_API = Fault::failing(
        "METRICS_ADDR is all addresses, with the port of the API",
        Symptom::Start("METRICS_ADDR"),
        "daemon.metrics_port",
    );
}

#[tokio::test]
async fn numbers_and_levels() {
    let mut scene = Scene::sqlite().await;
    for (name, value, expected) in [
        ("REQUEST_TIMEOUT_SECONDS", "0.1", "20"),
        ("MAX_BODY_BYTES", "1024", "1048576"),
        ("KEEPALIVE_SECONDS", "1", "75"),
        ("SHUTDOWN_GRACE_SECONDS", "600", "8"),
        ("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "1", "30"),
        ("AUTH_FAILURES_PER_MINUTE", "2", "600"),
    ] {
        scene.set(name, value);
        scene.proves(&UNWISE_NUMBER).await;
        assert_eq!(scene.get(name).as_deref(), Some(expected));
    }
    scene.set(
        "CORS_ORIGINS",
        "http://localhost:3000,https://app.example.com",
    );
    scene.set("DATABASE_URL", "sqlite://data/todo.db");
    scene.set("ENVIRONMENT", "production");
    scene.set("PORT", "0");
    scene.proves(&UNWISE_NUMBER).await;
    scene.proves(&DEVELOPERS_PAGE).await;
    for level in ["trace", "off", "error", "sqlx=debug"] {
        scene.set("LOG_LEVEL", level);
        scene.proves(&SILENT_LOG).await;
        assert_eq!(scene.get("LOG_LEVEL").as_deref(), Some("info"));
    }
}

#[tokio::test]
async fn files_in_utf_16() {
    let mut scene = Scene::sqlite().await;
    let utf_16 = |text: &str| -> Vec<u8> {
        let units = "\u{feff}".encode_utf16().chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect()
    };
    let file = scene.path().join("my jwt");
    let secret = scene.get("JWT_SECRET").unwrap();
    scene.unset("JWT_SECRET");
    scene.set("JWT_SECRET_FILE", &format!("'{}'", file.display()));
    std::fs::write(&file, utf_16(&format!("{secret}\r\n"))).unwrap();
    set_mode(&file, 0o600);
    scene.proves(&UTF_16_SECRET).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim_end(), secret);

    let file = scene.path().join(".env");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, utf_16(&text)).unwrap();
    scene.proves(&UTF_16_ENV_FILE).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    let left = std::fs::read_dir(scene.path()).unwrap();
    let copies = left.filter(|one| {
        let name = one.as_ref().unwrap().file_name();
        name.to_string_lossy().contains("utf8")
    });
    assert_eq!(copies.count(), 0);
}

#[tokio::test]
async fn typographic_quotes() {
    let mut scene = Scene::sqlite().await;
    let secret = scene.get("SESSION_HASH_SECRET").unwrap();
    scene.set("SESSION_HASH_SECRET", &format!("\u{201e}{secret}\u{201c}"));
    scene.proves(&QUOTED_SECRET).await;
    assert_eq!(scene.get("SESSION_HASH_SECRET"), Some(secret));
    // Sessions that were made meanwhile stay valid.
    assert!(scene.get("SESSION_HASH_SECRET_PREVIOUS").is_some());
    scene.set("EMAIL_FROM", "'\u{201c}Todo <todo@example.com>\u{201d}'");
    scene.proves(&QUOTED_SENDER).await;
    scene.set("RESEND_API_KEY", "\u{201c}re_0123456789abcdef\u{201d}");
    scene.proves(&QUOTED_MAIL_KEY).await;
    assert_eq!(
        scene.get("RESEND_API_KEY").as_deref(),
        Some("re_0123456789abcdef")
    );
}

#[tokio::test]
async fn what_stands_in_the_place_of_a_value() {
    let mut scene = Scene::sqlite().await;
    for value in ["null", "undefined"] {
        scene.set("REDIS_URL", value);
        scene.proves(&WORD_FOR_NOTHING).await;
        assert_eq!(scene.get("REDIS_URL"), None);
    }
    let jwt = scene.get("JWT_SECRET").unwrap();
    for value in [
        "'${JWT_SECRET_OF_THE_VAULT_OF_PRODUCTION}'",
        "'{{ .Values.secrets.jwtSecretOfProduction }}'",
    ] {
        scene.set("JWT_SECRET", value);
        scene.proves(&REFERENCE).await;
    }
    // A short one is no reason to make a new secret either.
    scene.set("JWT_SECRET", "'${JWT_SECRET}'");
    let report = scene.doctor("config.secrets");
    let remedy = report.check("config.secrets")["remedy"].to_string();
    assert!(!remedy.contains("gen-secrets"), "{remedy}");

    scene.unset("JWT_SECRET");
    scene.set("JWT_SECRET_FILE", &jwt);
    scene.proves(&SECRET_AS_PATH).await;
    let report = scene.doctor("config.secrets").json.to_string();
    assert!(!report.contains(&jwt));
    assert_eq!(scene.get("JWT_SECRET"), Some(jwt));

    let token = scene.get("SERVICE_AUTH_TOKEN").unwrap();
    let file = scene.path().join("service_auth_token_of_production");
    std::fs::write(&file, &token).unwrap();
    set_mode(&file, 0o600);
    scene.set("SERVICE_AUTH_TOKEN", file.to_str().unwrap());
    scene.proves(&PATH_AS_SECRET).await;
    assert_eq!(
        scene.get("SERVICE_AUTH_TOKEN_FILE").as_deref(),
        file.to_str()
    );
    scene.unset("SERVICE_AUTH_TOKEN_FILE");

    let twice = base64::engine::general_purpose::STANDARD.encode(&token);
    scene.set("SERVICE_AUTH_TOKEN", &twice);
    scene.proves(&ENCODED_TWICE).await;
    assert_eq!(scene.get("SERVICE_AUTH_TOKEN"), Some(token));
    assert_eq!(scene.get("SERVICE_AUTH_TOKEN_PREVIOUS"), Some(twice));
}

#[tokio::test]
async fn metrics_on_the_address_of_the_api() {
    let mut scene = Scene::sqlite().await;
    let port = free_port();
    scene.set("PORT", &port.to_string());
    scene.has_own_port = true;
    scene.set("METRICS_ADDR", &format!("0.0.0.0:{port}"));
    // Both checks that object to it propose the same.
    let expected = format!("todoctl config set METRICS_ADDR=127.0.0.1:{}", port + 1);
    let report = scene.check(&["doctor", "--format", "json"]);
    report.says("daemon.metrics_port", "fail", &expected);
    report.says("config.telemetry", "warn", &expected);
    scene.proves(&METRICS_ON_THE_API).await;
    scene
        .doctor("config.telemetry")
        .says("config.telemetry", "pass", "");
}
