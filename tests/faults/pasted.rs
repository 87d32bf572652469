//! Values that were pasted from where they are written otherwise.

use crate::faults::harness::{Fault, Scene, Symptom, faults, set_mode};

faults! {
    BLANKS = Fault::failing(
        "A value in .env has blanks, and no quotes around it",
        Symptom::Start("has a value with blanks and without quotes around it"),
        "config.env_file",
    );
    SCHEME_TWICE = Fault::failing(
        "A URL has its scheme twice",
        Symptom::Start("scheme twice"),
        "config.services",
    );
    OTHER_SEPARATORS = Fault::failing(
        "TRUSTED_PROXIES has other signs than commas between its entries",
        Symptom::Start("TRUSTED_PROXIES contains"),
        "config.http",
    );
    OBJECT_OF_JSON = Fault::warned_of(
        "A secret is in an object of JSON, or behind a name and a colon, as secret managers keep it",
        Symptom::Risk("tokens that are signed with the bare value are answered with 401"),
        "config.secrets",
    );
}

fn add(scene: &Scene, line: &str) {
    let file = scene.path().join(".env");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}{line}\n")).unwrap();
}

/// As `docker run --env-file` and systemd read them.
#[tokio::test]
async fn values_with_blanks() {
    for (line, value) in [
        (
            "EMAIL_FROM=Todo <todo@example.com>",
            "'Todo <todo@example.com>'",
        ),
        (
            "EMAIL_FROM=Bob's Todo <todo@example.com> # sender",
            "\"Bob's Todo <todo@example.com>\" # sender",
        ),
        (
            "CORS_ORIGINS=https://a.example.com, https://b.example.com",
            "'https://a.example.com, https://b.example.com'",
        ),
    ] {
        let mut scene = Scene::sqlite().await;
        add(&scene, line);
        scene.proves(&BLANKS).await;
        let name = line.split_once('=').unwrap().0;
        assert_eq!(scene.get(name).as_deref(), Some(value));
    }
    // With the command of the provider's page, which another check takes away.
    let scene = Scene::sqlite().await;
    add(
        &scene,
        "DATABASE_URL=psql 'postgresql://todo:x@127.0.0.1:1/todo'",
    );
    for check in ["config.env_file", "config.database"] {
        let report = scene.doctor(check);
        report.says(check, "fail", "todoctl config respell");
        let remedy = report.check(check)["remedy"].as_str().unwrap();
        assert!(scene.type_in(remedy).status.success(), "{remedy}");
    }
    let url = scene.get("DATABASE_URL").unwrap();
    assert_eq!(
        url.trim_matches('\''),
        "postgresql://todo:x@127.0.0.1:1/todo"
    );
}

#[tokio::test]
async fn urls_and_lists() {
    let mut scene = Scene::sqlite().await;
    for (name, value, expected) in [
        (
            "AUTH_SERVER_URL",
            "http://http://127.0.0.1:1",
            "http://127.0.0.1:1",
        ),
        (
            "REDIS_URL",
            "redis://redis://127.0.0.1:1/0",
            "redis://127.0.0.1:1/0",
        ),
    ] {
        scene.set(name, value);
        scene.proves(&SCHEME_TWICE).await;
        assert_eq!(scene.get(name).as_deref(), Some(expected));
    }
    for value in ["10.0.0.1;10.0.1.0/24", "'10.0.0.1 10.0.1.0/24'"] {
        scene.set("TRUSTED_PROXIES", value);
        scene.proves(&OTHER_SEPARATORS).await;
        let list = scene.get("TRUSTED_PROXIES").unwrap();
        assert_eq!(list.trim_matches('\''), "10.0.0.1,10.0.1.0/24");
    }
}

#[tokio::test]
async fn secrets_of_secret_managers() {
    let mut scene = Scene::sqlite().await;
    let secret = scene.get("JWT_SECRET").unwrap();
    scene.unset("JWT_SECRET");
    scene.set("JWT_SECRET_FILE", "jwt");
    let file = scene.path().join("jwt");
    for text in [
        format!("{{\"JWT_SECRET\": \"{secret}\"}}\n"),
        format!("jwt_secret: {secret}\n"),
    ] {
        std::fs::write(&file, text).unwrap();
        set_mode(&file, 0o600);
        scene.proves(&OBJECT_OF_JSON).await;
        assert_eq!(std::fs::read_to_string(&file).unwrap().trim_end(), secret);
    }
}
