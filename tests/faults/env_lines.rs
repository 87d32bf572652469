//! Lines of the `.env` file that are not what they look like.

use serde_json::Value;

use crate::faults::harness::{After, Fault, Scene, Symptom, faults, set_mode};
use crate::faults::report::Report;

const FILE: &str = "config.env_file";

const SECRETS: [&str; 4] = [
    "SESSION_HASH_SECRET",
    "SERVICE_AUTH_TOKEN",
    "JWT_SECRET",
    "ENCRYPTION_KEY",
];

faults! {
    PLACEHOLDER = Fault::warned_of(
        "A placeholder, or nothing, stands beside the value of the same name in .env",
        Symptom::Risk("other programs take the last of both"),
        FILE,
    );
    GLUED = Fault::failing(
        "Two variables are in one line of .env",
        Symptom::Risk("the first has a wrong value, and the second none"),
        FILE,
    );
    GLUED_URL = Fault::failing(
        "Two variables are in one line of .env, and the first is a URL",
        Symptom::Start("RATE_LIMIT_PER_MINUTE begins there"),
        FILE,
    );
    INVISIBLE = Fault::failing(
        "A name in .env has an invisible character before or in it",
        Symptom::Start("has an invisible character (U+"),
        FILE,
    );
    INVISIBLE_IN_SECRET = Fault::warned_of(
        "A secret has an invisible character at its end",
        Symptom::Risk("tokens of services that have the bare value are answered with 401"),
        "config.secrets",
    );
    INVISIBLE_IN_NUMBER = Fault::failing(
        "A number has an invisible character at its end",
        Symptom::Start("begins or ends with an invisible character (U+"),
        "config.http",
    );
    COMMENTED = Fault::failing(
        "The value of a secret is in a comment of .env, and a placeholder in its place",
        Symptom::Start("is a placeholder"),
        "config.secrets",
    );
    EMPTY_FILE_OF_SECRET = Fault {
        title: "A secret is set, and its NAME_FILE leads to an empty file",
        symptom: Symptom::Start("are both set"),
        check: "config.secrets",
        outcome: "fail",
        after: After::Typed("pass"),
    };
}

fn text(scene: &Scene) -> String {
    std::fs::read_to_string(scene.path().join(".env")).unwrap()
}

fn write(scene: &Scene, text: &str) {
    std::fs::write(scene.path().join(".env"), text).unwrap();
}

/// The four secrets, as readers of the file get them.
fn secrets(scene: &Scene) -> [Option<String>; 4] {
    SECRETS.map(|name| scene.get(name))
}

fn remedy(report: &Report, id: &str) -> String {
    report.check(id)["remedy"].as_str().unwrap().to_owned()
}

async fn in_production() -> Scene {
    let scene = Scene::sqlite().await;
    scene.set("ENVIRONMENT", "production");
    scene.set("DATABASE_URL", "sqlite://data/todo.db");
    scene.set("CORS_ORIGINS", "https://app.example.com");
    scene
}

/// `cat .env.example .env`, in either order: nothing is lost, and no new secret is made.
#[tokio::test]
async fn placeholders_beside_values() {
    let example = include_str!("../../.env.example");
    let mut scene = in_production().await;
    let (mine, before) = (text(&scene), secrets(&scene));
    let token = before[1].clone().unwrap();
    for both in [
        format!("{example}{mine}"),
        format!("{mine}{example}"),
        format!("export JWT_SECRET=\n{mine}JWT_SECRET=''\n"),
        format!("SERVICE_AUTH_TOKEN=<token>\n{mine}export SERVICE_AUTH_TOKEN={token}\n"),
    ] {
        write(&scene, &both);
        // The values count wherever they are.
        for check in ["config.secrets", "config.secrets_differ"] {
            scene.doctor(check).says(check, "pass", "");
        }
        let output = scene.todoctl(&["gen-secrets", "--write", ".env"]);
        assert!(output.status.success());
        assert_eq!(text(&scene), both);
        scene.todoctl(&["doctor", "--only", FILE, "--fix", "--yes"]);
        scene.doctor(FILE).says(FILE, "pass", "");
        let fixed = text(&scene);
        write(&scene, &both);
        scene.proves(&PLACEHOLDER).await;
        assert_eq!(text(&scene), fixed);
        assert_eq!(secrets(&scene), before);
    }
    write(&scene, &format!("{example}{mine}"));
    assert_eq!(scene.status("GET", "/tasks/"), 200);
}

/// `echo NAME=value >> .env` to a file without a line break at its end.
#[tokio::test]
async fn two_variables_in_one_line() {
    let mut scene = Scene::sqlite().await;
    scene.set("REDIS_URL", "redis://127.0.0.1:1/0");
    let mine = text(&scene);
    let before = secrets(&scene);
    for name in SECRETS {
        let value = scene.get(name).unwrap();
        let line = format!("{name}={value}");
        for end in ["\n", "\r\n"] {
            let glued = mine.replace(&line, &format!("{line}LOG_LEVEL=debug"));
            write(&scene, &glued.replace('\n', end));
            let report = scene.doctor(FILE);
            let said = report.detail(FILE);
            assert!(said.starts_with(&format!("{name} has another")), "{said}");
            scene.proves(&GLUED).await;
            assert_eq!(secrets(&scene), before);
            assert_eq!(scene.get("LOG_LEVEL").as_deref(), Some("debug"));
            assert_eq!(scene.get(name), Some(value.clone()));
            // Sessions were made with what was in the line.
            let previous = scene.get("SESSION_HASH_SECRET_PREVIOUS");
            let is_hash_secret = name == "SESSION_HASH_SECRET";
            assert_eq!(previous.is_some(), is_hash_secret, "{previous:?}");
        }
        write(&scene, &mine);
    }
    // Nothing is said about the content of the URL.
    let line = "REDIS_URL=redis://127.0.0.1:1/0";
    write(
        &scene,
        &mine.replace(line, &format!("{line}RATE_LIMIT_PER_MINUTE=600")),
    );
    let printed = scene.start_fails().unwrap();
    assert!(!printed.contains("REDIS_URL.database"), "{printed}");
    scene.proves(&GLUED_URL).await;
    assert_eq!(scene.get("RATE_LIMIT_PER_MINUTE").as_deref(), Some("600"));
    assert_eq!(
        scene.get("REDIS_URL").as_deref(),
        Some("redis://127.0.0.1:1/0")
    );
}

#[tokio::test]
async fn invisible_characters_in_names() {
    let mut scene = Scene::sqlite().await;
    let mine = text(&scene);
    for line in [
        "\u{200b}LOG_LEVEL=debug",
        "\u{feff}LOG_LEVEL=debug",
        "LOG_\u{ad}LEVEL=debug",
        "export \u{202e}LOG_LEVEL=debug",
        "\u{200b}\nLOG_LEVEL=debug",
    ] {
        write(&scene, &format!("{mine}{line}\n"));
        scene.proves(&INVISIBLE).await;
        let written = text(&scene);
        assert!(written.contains("LOG_LEVEL=debug\n"), "{written}");
        assert_eq!(
            written.replace("export ", "").replace("\n\n", "\n"),
            format!("{mine}LOG_LEVEL=debug\n")
        );
    }
    // What else is wrong with the file is for a person.
    write(&scene, &format!("{mine}\u{200b}LOG_LEVEL=debug\nA='open\n"));
    let report = scene.doctor(FILE);
    report.says(FILE, "fail", "correct that line");
    let output = scene.todoctl(&["config", "respell"]);
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn invisible_characters_in_values() {
    let mut scene = Scene::sqlite().await;
    let bare = scene.get("JWT_SECRET").unwrap();
    let file = scene.path().join("jwt");
    for sign in ['\u{200b}', '\u{200f}', '\u{ad}'] {
        scene.unset("JWT_SECRET_PREVIOUS");
        scene.set("JWT_SECRET", &format!("{bare}{sign}"));
        scene.proves(&INVISIBLE_IN_SECRET).await;
        assert_eq!(scene.get("JWT_SECRET").as_deref(), Some(bare.as_str()));
        // Tokens may have been signed with it.
        assert_eq!(
            scene.get("JWT_SECRET_PREVIOUS"),
            Some(format!("{bare}{sign}"))
        );
    }
    scene.unset("JWT_SECRET_PREVIOUS");
    scene.unset("JWT_SECRET");
    scene.set("JWT_SECRET_FILE", "jwt");
    std::fs::write(&file, format!("\u{200e}{bare}\n")).unwrap();
    set_mode(&file, 0o600);
    scene.proves(&INVISIBLE_IN_SECRET).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim_end(), bare);
    scene.has_own_port = true;
    scene.set("PORT", "8468\u{200b}");
    scene.proves(&INVISIBLE_IN_NUMBER).await;
    assert_eq!(scene.get("PORT").as_deref(), Some("8468"));
    // Without a port of the test's own, and where the value is the environment's.
    scene.has_own_port = false;
    let lines = "export RESEND_API_KEY=\"$(printf 're_0123456789abcdef\\342\\200\\213')\"\n";
    let typed = scene.type_in(&format!(
        "{lines}todoctl doctor --only config.services --format json || true\n"
    ));
    let report: Value = serde_json::from_slice(&typed.stdout).unwrap();
    let found = report["checks"].as_array().unwrap().iter();
    let found = found
        .into_iter()
        .find(|one| one["id"] == "config.services")
        .unwrap();
    assert!(
        found["detail"].as_str().unwrap().contains("(U+200B)"),
        "{found}"
    );
    let remedy = found["remedy"].as_str().unwrap();
    let typed = scene.type_in(&format!("{lines}{remedy}\nprintf %s \"$RESEND_API_KEY\""));
    assert_eq!(typed.stdout, b"re_0123456789abcdef", "{remedy}");
}

#[tokio::test]
async fn a_value_in_a_comment() {
    let mut scene = in_production().await;
    let before = secrets(&scene);
    for name in ["SERVICE_AUTH_TOKEN", "ENCRYPTION_KEY"] {
        let value = scene.get(name).unwrap();
        scene.set(name, "change-me");
        write(&scene, &format!("# {name}={value}\n{}", text(&scene)));
        // Others are not generated beside it, nor in its place.
        scene.set("SESSION_HASH_SECRET", "change-me");
        let report = scene.doctor("config.secrets");
        let printed = remedy(&report, "config.secrets");
        assert!(
            printed.contains("gen-secrets --only SESSION_HASH_SECRET"),
            "{printed}"
        );
        assert!(!printed.contains("gen-secrets --write"), "{printed}");
        scene.set("SESSION_HASH_SECRET", before[0].as_deref().unwrap());
        scene.proves(&COMMENTED).await;
        assert_eq!(secrets(&scene), before);
    }
    // Of two, a person has to choose.
    scene.set("JWT_SECRET", "change-me");
    let lines = "#JWT_SECRET=0f1e2d3c4b5a69780f1e2d3c4b5a6978\n#JWT_SECRET=fedcba9876543210fedcba9876543210\n";
    write(&scene, &format!("{lines}{}", text(&scene)));
    let report = scene.doctor("config.secrets");
    let printed = remedy(&report, "config.secrets");
    assert!(
        printed.starts_with("# the lines 1 and 2 of .env"),
        "{printed}"
    );
    assert!(
        printed.lines().all(|line| line.starts_with("# ")),
        "{printed}"
    );
}

#[tokio::test]
async fn a_secret_and_an_empty_file_of_it() {
    let mut scene = Scene::sqlite().await;
    let value = scene.get("JWT_SECRET").unwrap();
    let file = scene.path().join("jwt");
    scene.set("JWT_SECRET_FILE", "jwt");
    std::fs::write(&file, "\n").unwrap();
    set_mode(&file, 0o600);
    scene.proves(&EMPTY_FILE_OF_SECRET).await;
    assert_eq!(scene.get("JWT_SECRET"), Some(value.clone()));
    assert_eq!(scene.get("JWT_SECRET_FILE"), None);
    // A placeholder gives way to the file.
    scene.set("JWT_SECRET", "change-me");
    scene.set("JWT_SECRET_FILE", "jwt");
    std::fs::write(&file, &value).unwrap();
    scene.proves(&EMPTY_FILE_OF_SECRET).await;
    assert_eq!(scene.get("JWT_SECRET"), None);
}

/// Quotes and comments are right, unless a daemon has got them with the value.
#[tokio::test]
async fn lines_as_docker_reads_them() {
    let mut scene = Scene::sqlite().await;
    scene.set("EMAIL_FROM", "\"Todo <todo@example.com>\"");
    scene.set("LOG_FORMAT", "json # for the collector");
    scene.doctor(FILE).says(FILE, "pass", "");
    scene.start_by("export EMAIL_FROM='\"Todo <todo@example.com>\"'; exec todoctl serve");
    let report = scene.doctor(FILE);
    report.says(FILE, "warn", "without export, blanks, quotes");
    assert!(
        report
            .detail(FILE)
            .contains("the comment, of EMAIL_FROM with")
    );
    scene.stop();
    scene.doctor(FILE).says(FILE, "pass", "");
    // A file that only the daemon is given.
    std::fs::rename(scene.path().join(".env"), scene.path().join("prod.env")).unwrap();
    scene.doctor(FILE).says(FILE, "pass", "");
    scene.start_by("unset PORT; exec todoctl --env-file prod.env serve");
    std::fs::remove_file(scene.path().join(".env")).unwrap();
    scene
        .doctor(FILE)
        .says(FILE, "warn", "todoctl --env-file prod.env doctor");
}
