//! Values of the `.env` file that are not what was meant.

use std::path::Path;

use crate::faults::Broken;
use crate::faults::configuration::says;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults, set_mode};

faults! {
    COMMENT_IN_VALUE = Fault {
        title: "A comment is part of a value, because no space is before its #",
        symptom: Symptom::Start("a comment, a quote or a semicolon is part of the value"),
        check: "config.http",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    EXAMPLE_SECRET = Fault {
        title: "A secret is long enough, and reads like that of an example",
        symptom: Symptom::Risk("who knows the example signs in as any user"),
        check: "config.secrets",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    TWO_LINES = Fault {
        title: "The file of a secret has two lines",
        symptom: Symptom::Risk("other programs may read the first line alone"),
        check: "config.secrets",
        outcome: "warn",
        after: After::Person("only a person knows which line is the secret"),
    };
    ADDRESS_AS_PORT = Fault {
        title: "PORT is an address with a port",
        symptom: Symptom::Start("it has more than the number of a port"),
        check: "config.http",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    SPACE_IN_URL = Fault {
        title: "The file with DATABASE_URL has a space at the end of the password",
        symptom: Symptom::Start("a space at the end of the password"),
        check: "config.database",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    PATH_AS_URL = Fault {
        title: "DATABASE_URL is the path of the SQLite file",
        symptom: Symptom::Start("it has no scheme"),
        check: "config.database",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    KEY_OF_PAIR = Fault {
        title: "JWT_SECRET is a public key",
        symptom: Symptom::Start("is a key of a key pair"),
        check: "config.secrets",
        outcome: "fail",
        // No token has another key to be checked with.
        after: After::Typed("warn"),
    };
    ALGORITHM_OF_PAIRS = Fault {
        title: "JWT_ALGORITHM is one of key pairs",
        symptom: Symptom::Start("is not HS256"),
        check: "config.http",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    LINE_END_IN_SECRET = Fault {
        title: "A secret has Bearer, its name, a byte-order mark, a comment, a semicolon, = or the two characters \\n around it",
        symptom: Symptom::Risk("tokens of services that have the bare value are answered with 401"),
        check: "config.secrets",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    EXPANDED = Fault {
        title: "A $ in a value of .env begins the name of a variable",
        symptom: Symptom::Risk("the value is another than the one that is written there"),
        check: "config.env_file",
        outcome: "warn",
        after: After::Person("only a person knows which of both is meant"),
    };
    TWO_VALUES = Fault {
        title: "A name has two values in .env",
        symptom: Symptom::Risk("todoctl takes the first, Docker the last"),
        check: "config.env_file",
        outcome: "warn",
        after: After::Person("only a person knows which is meant"),
    };
}

/// Adds a line as it is written there.
fn add(scene: &Scene, line: &str) {
    let file = scene.path().join(".env");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}{line}\n")).unwrap();
}

#[tokio::test]
async fn what_is_written_around_a_value() {
    for written in ["8462#main", "8462;", "8462,"] {
        let mut scene = Scene::sqlite().await;
        scene.has_own_port = true;
        scene.set("PORT", written);
        scene.proves(&COMMENT_IN_VALUE).await;
        assert_eq!(scene.get("PORT").as_deref(), Some("8462"), "{written}");
    }
}

#[tokio::test]
async fn values_that_contain_the_right_one() {
    let mut scene = Scene::sqlite().await;
    scene.has_own_port = true;
    scene.set("PORT", "127.0.0.1:8464");
    scene.proves(&ADDRESS_AS_PORT).await;
    assert_eq!(scene.get("PORT").as_deref(), Some("8464"));
    let file = scene.file();
    scene.set("DATABASE_URL", file.to_str().unwrap());
    scene.proves(&PATH_AS_URL).await;
    let url = format!("sqlite://{}", file.display());
    assert_eq!(scene.get("DATABASE_URL"), Some(url));
}

#[tokio::test]
async fn secrets_of_examples() {
    let mut scene = Scene::sqlite().await;
    for value in [
        "your-super-secret-jwt-key-change-in-production",
        "test_only_0f1e2d3c4b5a69780f1e2d3c4b5a6978",
        "0123456789abcdef0123456789abcdef",
    ] {
        scene.set("JWT_SECRET", value);
        scene.unset("JWT_SECRET_PREVIOUS");
        scene.proves(&EXAMPLE_SECRET).await;
        // Tokens that the sign-in service signs with it are still accepted.
        assert_eq!(scene.get("JWT_SECRET_PREVIOUS").as_deref(), Some(value));
    }
}

#[tokio::test]
async fn a_secret_file_with_two_lines() {
    let mut scene = Scene::sqlite().await;
    let file = scene.path().join("jwt");
    let secret = scene.get("JWT_SECRET").unwrap();
    let write = |file: &Path, text: String| {
        std::fs::write(file, text).unwrap();
        set_mode(file, 0o600);
    };
    scene.unset("JWT_SECRET");
    scene.set("JWT_SECRET_FILE", file.to_str().unwrap());
    for end in ["\n", "\r\n"] {
        write(&file, format!("{secret}{end}canary{end}"));
        scene.proves(&TWO_LINES).await;
    }
    // One that cannot have lines is not replaced.
    let token = scene.path().join("token");
    let value = scene.get("SERVICE_AUTH_TOKEN").unwrap();
    write(&token, format!("{value}\n{secret}\n"));
    scene.unset("SERVICE_AUTH_TOKEN");
    scene.set("SERVICE_AUTH_TOKEN_FILE", token.to_str().unwrap());
    let report = scene.doctor("config.secrets");
    report.says(
        "config.secrets",
        "fail",
        "an older value belongs in SERVICE_AUTH_TOKEN_PREVIOUS",
    );
    let remedy = report.check("config.secrets")["remedy"].to_string();
    assert!(!remedy.contains("gen-secrets"), "{remedy}");
    write(&token, value);
    // White space around one line, and a byte-order mark, are not part of it.
    write(&file, format!("\u{feff}{secret}\r\n\r\n"));
    scene.proves_gone(&TWO_LINES);
}

#[tokio::test]
async fn variables_in_values() {
    let mut scene = Scene::sqlite().await;
    let token = scene.get("SERVICE_AUTH_TOKEN").unwrap();
    scene.set("SERVICE_AUTH_TOKEN", &format!("\"abc$HOME-{token}\""));
    scene.proves(&EXPANDED).await;
    scene.set("SERVICE_AUTH_TOKEN", &token);
    scene.proves_gone(&EXPANDED);
}

#[tokio::test]
async fn a_name_that_is_set_twice() {
    let mut scene = Scene::sqlite().await;
    add(&scene, "PORT=8463");
    scene.proves(&TWO_VALUES).await;
    let file = scene.path().join(".env");
    let both = std::fs::read_to_string(&file).unwrap();
    let report = scene.doctor("config.env_file");
    let remedy = report.check("config.env_file")["remedy"].as_str().unwrap();
    let choices: Vec<&str> = remedy
        .lines()
        .filter_map(|line| line.split_once(" is right: "))
        .map(|(_, command)| command)
        .collect();
    // What a person chooses can be typed, and the other value stays in a comment.
    for (command, kept) in choices.iter().zip(["1", "8463"]) {
        for _ in 0..2 {
            assert!(scene.type_in(command).status.success(), "{command}");
        }
        assert_eq!(scene.get("PORT").as_deref(), Some(kept), "{remedy}");
        assert_eq!(
            std::fs::read_to_string(&file).unwrap().len(),
            both.len() + 1
        );
        scene.proves_gone(&TWO_VALUES);
        std::fs::write(&file, &both).unwrap();
    }
    assert_eq!(choices.len(), 2, "{remedy}");
    // A daemon that has got one of them from its environment is the one that counts.
    scene.start_by("export PORT=8463; exec todoctl serve");
    add(&scene, "PORT=8463");
    let report = scene.doctor("config.env_file");
    let detail = report.detail("config.env_file");
    assert!(detail.contains("has got PORT of line"), "{detail}");
}

/// With `JWT_ALGORITHM=HS256` everybody could sign tokens with the public key.
#[tokio::test]
async fn a_public_key_as_a_shared_secret() {
    let mut scene = Scene::sqlite().await;
    let der = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----");
    scene.set("JWT_ALGORITHM", "RS256");
    scene.proves(&ALGORITHM_OF_PAIRS).await;
    assert_eq!(scene.get("JWT_ALGORITHM"), None);
    scene.set("JWT_SECRET", &format!("\"{pem}\""));
    scene.proves(&KEY_OF_PAIR).await;
    assert_eq!(scene.get("JWT_SECRET_PREVIOUS"), None);
}

#[tokio::test]
async fn what_belongs_to_no_secret() {
    let mut scene = Scene::sqlite().await;
    let file = scene.path().join("jwt");
    let bare = scene.get("JWT_SECRET").unwrap();
    for value in [
        format!("{bare}\\n"),
        format!("{bare}\\r\\n"),
        format!("\u{feff}{bare}"),
        format!("JWT_SECRET={bare}"),
        format!("{bare};"),
        format!("={bare}"),
        format!("{bare}#old"),
        format!("Bearer {bare}"),
        format!("\u{201c}{bare}\u{201d}"),
    ] {
        scene.unset("JWT_SECRET_PREVIOUS");
        scene.set("JWT_SECRET", &format!("'{value}'"));
        scene.proves(&LINE_END_IN_SECRET).await;
        assert_eq!(scene.get("JWT_SECRET"), Some(bare.clone()));
        assert!(scene.get("JWT_SECRET_PREVIOUS").is_some());
    }
    scene.unset("JWT_SECRET_PREVIOUS");
    scene.unset("JWT_SECRET");
    scene.set("JWT_SECRET_FILE", file.to_str().unwrap());
    std::fs::write(&file, format!("{bare}\\n")).unwrap();
    set_mode(&file, 0o600);
    scene.proves(&LINE_END_IN_SECRET).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim_end(), bare);
}

/// Of the previous values only the encryption key's may be several.
#[test]
fn several_previous_values() {
    let values = ["a1b2c3d4e5f60718", "1a2b3c4d5e6f7081"].map(|part| part.repeat(4));
    let broken = Broken::new().secrets();
    let previous = "SERVICE_AUTH_TOKEN_PREVIOUS";
    let both = broken.env(previous, &values.join(","));
    says(
        &both,
        "config.secrets",
        "warn",
        "the newest that callers still have",
    );
    says(
        &both.env(previous, &values[0]),
        "config.secrets",
        "pass",
        "",
    );
}

/// What was meant is in the value.
#[test]
fn values_that_were_nearly_right() {
    for (id, name, value, remedy) in [
        (
            "config.services",
            "AUTH_SERVER_URL",
            "localhost:3001",
            "AUTH_SERVER_URL=http://localhost:3001",
        ),
        (
            "config.services",
            "AUTH_SERVER_URL",
            "auth.example.com",
            "AUTH_SERVER_URL=https://auth.example.com",
        ),
        (
            "config.telemetry",
            "METRICS_ADDR",
            "9099",
            "METRICS_ADDR=127.0.0.1:9099",
        ),
        (
            "config.cors",
            "CORS_ORIGINS",
            "https://a.example;https://b.example",
            "CORS_ORIGINS='https://a.example,https://b.example'",
        ),
        (
            "config.cors",
            "CORS_ORIGINS",
            "app.example.com",
            "CORS_ORIGINS=https://app.example.com",
        ),
        (
            "config.http",
            "TRUSTED_PROXIES",
            "*",
            "unset TRUSTED_PROXIES",
        ),
        (
            "config.http",
            "TRUSTED_PROXIES",
            "10.0.0.5:443",
            "TRUSTED_PROXIES=10.0.0.5",
        ),
        (
            "config.http",
            "MAX_BODY_BYTES",
            "10MB",
            "MAX_BODY_BYTES=10485760",
        ),
        (
            "config.services",
            "AUTH_SERVER_URL",
            "u:canary@auth:3001",
            "a value such as",
        ),
    ] {
        says(&Broken::new().env(name, value), id, "fail", remedy);
    }
    let broken = Broken::new();
    let file = broken.path().join("ca.der");
    std::fs::write(&file, [0x30, 0x82, 0x01, 0x00]).unwrap();
    let broken = broken.env("SSL_CERT_FILE", file.to_str().unwrap());
    says(
        &broken,
        "config.services",
        "warn",
        "openssl x509 -inform der -in ",
    );
}

/// Only a person can see that it belongs to the password, and is told how to keep it.
#[tokio::test]
async fn signs_that_nobody_sees_in_a_url() {
    let mut scene = Scene::postgres().await;
    let url = scene.get("DATABASE_URL").unwrap();
    let file = scene.path().join("url");
    scene.unset("DATABASE_URL");
    scene.set("DATABASE_URL_FILE", "url");
    std::fs::write(&file, url.replacen('@', " @", 1) + "\n").unwrap();
    set_mode(&file, 0o600);
    let report = scene.doctor("config.database");
    report.says("config.database", "fail", "DATABASE_URL.password=-");
    scene.proves(&SPACE_IN_URL).await;
    for text in [
        format!("\u{feff}\u{200b}{url}"),
        url.replacen('@', "\u{a0}@", 1),
        url.replacen("127", "\r\n127", 1),
    ] {
        std::fs::write(&file, &text).unwrap();
        let report = scene.doctor("config.database");
        let remedy = report.check("config.database")["remedy"].as_str().unwrap();
        assert!(scene.type_in(remedy).status.success(), "{remedy}");
        let written = std::fs::read_to_string(&file).unwrap();
        assert_eq!(written.trim_end(), url, "{text:?}");
    }
}
