//! Secrets that the service had, and that its `.env` file has lost or hides.

use std::collections::BTreeMap;

use rstest::rstest;

use crate::faults::fingerprint;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults, set_mode};
use crate::support::may_mount;

faults! {
    LOST_FOR_SERVER = Fault {
        title: "PostgreSQL: .env has lost its secrets, and the database is in use",
        symptom: Symptom::Start("is required with PostgreSQL"),
        check: "config.secrets",
        outcome: "fail",
        after: After::Person("a backup or a secret store has them"),
    };
    RENAMED_FOR_SERVER = Fault::failing(
        "PostgreSQL: .env was written anew without its secrets, and a copy beside it has them",
        Symptom::Start("is required with PostgreSQL"),
        "config.secrets",
    );
    RESTORED = Fault::failing(
        "JWT_SECRET is a placeholder, and a copy of .env beside it has its value",
        Symptom::Start("JWT_SECRET is a placeholder"),
        "config.secrets",
    );
    LOST_FOR_FILE = Fault {
        title: "SQLite: .env has lost its secrets, and session tokens are valid",
        symptom: Symptom::Start("valid session tokens"),
        check: "database.continuity",
        outcome: "fail",
        after: After::Person("a backup or a secret store has them"),
    };
    RENAMED_FOR_FILE = Fault::failing(
        "SQLite: .env was renamed, and session tokens are valid",
        Symptom::Start("valid session tokens"),
        "database.continuity",
    );
    LOST_WHILE_RUNNING = Fault::failing(
        ".env has lost its secrets, or was renamed, while the daemon runs",
        Symptom::Risk("after the next start services, sessions and provider keys are refused"),
        "config.secret_files",
    );
    LEFT_BEHIND = Fault::failing(
        "PostgreSQL: the service was moved from SQLite, and its generated secrets are still in data/secrets",
        Symptom::Start("is required with PostgreSQL"),
        "config.secrets",
    );
    SIGNED_ELSEWHERE = Fault {
        title: "JWT_SECRET is the placeholder of .env.example in a service that is in use",
        symptom: Symptom::Start("JWT_SECRET is a placeholder"),
        check: "config.secrets",
        outcome: "fail",
        after: After::Person("the sign-in service has it"),
    };
    HIDDEN = Fault::warned_of(
        "SQLite: .env has other secrets than todoctl has generated before",
        Symptom::Risk("services, sessions and provider keys of the generated ones are refused"),
        "config.secrets",
    );
}

const NAMES: [&str; 4] = [
    "SESSION_HASH_SECRET",
    "SERVICE_AUTH_TOKEN",
    "ENCRYPTION_KEY",
    "JWT_SECRET",
];

fn values(scene: &Scene) -> BTreeMap<&'static str, Option<String>> {
    NAMES
        .into_iter()
        .map(|name| (name, scene.get(name)))
        .collect()
}

fn remedy(scene: &Scene, check: &str) -> String {
    let report = scene.doctor(check);
    report.check(check)["remedy"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn create_session(scene: &Scene) {
    let output = scene.todoctl(&["session", "create", "--user", "me"]);
    assert!(output.status.success());
}

/// With a session, and a daemon that has run.
async fn service(is_server: bool) -> Scene {
    let mut scene = if is_server {
        Scene::postgres().await
    } else {
        Scene::sqlite().await
    };
    create_session(&scene);
    scene.start();
    scene.end();
    scene
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_env_file_without_its_secrets(#[values(false, true)] is_server: bool) {
    let (lost, renamed) = if is_server {
        (&LOST_FOR_SERVER, &RENAMED_FOR_SERVER)
    } else {
        (&LOST_FOR_FILE, &RENAMED_FOR_FILE)
    };
    let mut scene = service(is_server).await;
    let before = values(&scene);
    let env_file = scene.path().join(".env");
    let whole = std::fs::read_to_string(&env_file).unwrap();
    let record = scene.path().join(".env-database");
    for is_known in [true, false] {
        // On another machine the database alone tells.
        if !is_known {
            std::fs::remove_file(&record).unwrap();
        }
        for name in NAMES {
            scene.unset(name);
        }
        scene.proves(lost).await;
        let printed = remedy(&scene, lost.check);
        let place = if is_known {
            "back into .env, where the daemon had them from"
        } else {
            "back where the daemon had them from: .env"
        };
        assert!(printed.contains(place), "{printed}");
        assert!(!printed.contains("data/secrets"), "{printed}");
        assert!(!printed.contains("JWT_SECRET"), "{printed}");
        std::fs::write(&env_file, &whole).unwrap();
        scene.proves_gone(lost);
        scene.end();
    }
    // Half of a copy, an example and other services beside it are not taken.
    let quoted = whole
        .replace("JWT_SECRET=fe", "export JWT_SECRET=\"fe")
        .replace("3210\n", "3210\"\n");
    for copy in [".env.production", ".env~", ".env.bak"] {
        let copy = scene.path().join(copy);
        std::fs::write(&copy, &quoted).unwrap();
        set_mode(&copy, 0o600);
        for name in NAMES {
            scene.unset(name);
        }
        std::fs::write(
            scene.path().join(".env.example"),
            "SERVICE_AUTH_TOKEN=change-me\n",
        )
        .unwrap();
        scene.proves(renamed).await;
        assert_eq!(values(&scene), before);
        scene.end();
        std::fs::remove_file(&copy).unwrap();
    }
    if !is_server {
        std::fs::rename(&env_file, scene.path().join(".env.old")).unwrap();
        scene.proves(renamed).await;
        assert_eq!(values(&scene), before);
    }
}

/// As after a deploy with the lines of `.env.example`: users' tokens are signed with the value that the
/// sign-in service has.
#[tokio::test(flavor = "multi_thread")]
async fn a_placeholder_for_the_secret_of_the_sign_in_service() {
    let mut scene = service(false).await;
    scene.set("ENVIRONMENT", "production");
    scene.set("DATABASE_URL", "sqlite://data/todo.db");
    scene.set("CORS_ORIGINS", "https://app.example.com");
    let before = values(&scene);
    let env_file = scene.path().join(".env");
    let whole = std::fs::read_to_string(&env_file).unwrap();
    let copy = scene.path().join(".env.old");
    for placeholders in [&NAMES[3..], &NAMES[..]] {
        for name in placeholders {
            scene.set(name, "change-me");
        }
        scene.proves(&SIGNED_ELSEWHERE).await;
        let printed = remedy(&scene, SIGNED_ELSEWHERE.check);
        assert!(
            printed.contains("todoctl config set JWT_SECRET=-"),
            "{printed}"
        );
        assert!(
            printed.lines().all(|line| line.starts_with("# ")),
            "{printed}"
        );
        let at_start = scene.start_fails().unwrap();
        assert!(
            at_start.contains("todoctl config set JWT_SECRET=-"),
            "{at_start}"
        );
        // A copy has it, with the others or without it.
        std::fs::write(&copy, &whole).unwrap();
        set_mode(&copy, 0o600);
        scene.proves(&RESTORED).await;
        assert_eq!(values(&scene), before);
        let without = whole.replace("JWT_SECRET=", "#JWT=");
        std::fs::write(&copy, without).unwrap();
        for name in placeholders {
            scene.set(name, "change-me");
        }
        let printed = remedy(&scene, SIGNED_ELSEWHERE.check);
        assert!(scene.type_in(&printed).status.success(), "{printed}");
        assert!(printed.contains("# give JWT_SECRET the value"), "{printed}");
        let mut expected = before.clone();
        expected.insert("JWT_SECRET", Some("change-me".to_owned()));
        assert_eq!(values(&scene), expected);
        std::fs::remove_file(&copy).unwrap();
        std::fs::write(&env_file, &whole).unwrap();
    }
    // In development it is a warning, and no new value is made either.
    scene.set("ENVIRONMENT", "development");
    scene.set("JWT_SECRET", "change-me");
    scene
        .doctor("config.secrets")
        .says("config.secrets", "warn", "# give JWT_SECRET the value");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_service_makes_its_secrets() {
    let scene = Scene::empty_postgres().await;
    for name in NAMES {
        scene.unset(name);
    }
    std::fs::write(scene.path().join(".env.old"), "A=1\n").unwrap();
    assert_eq!(
        remedy(&scene, "config.secrets"),
        "todoctl gen-secrets --write .env"
    );
    let printed = scene.start_fails().unwrap();
    assert!(
        printed.contains("todoctl gen-secrets --write .env"),
        "{printed}"
    );
    assert!(!printed.contains("only if they are lost"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_env_file_that_loses_its_secrets_while_the_daemon_runs() {
    let mut scene = service(false).await;
    let check = LOST_WHILE_RUNNING.check;
    scene.start_at_its_port();
    let env_file = scene.path().join(".env");
    let whole = std::fs::read_to_string(&env_file).unwrap();
    let before = values(&scene);
    scene.doctor(check).says(check, "pass", "");
    // Taken out, emptied, deleted.
    for text in [Some("PORT"), Some("nothing"), None] {
        match text {
            Some(kept) => {
                let lines = whole.lines().filter(|line| line.starts_with(kept));
                let lines: Vec<&str> = lines.collect();
                std::fs::write(&env_file, lines.join("\n") + "\n").unwrap();
            }
            None => std::fs::remove_file(&env_file).unwrap(),
        }
        let report = scene.check(&[
            "doctor",
            "--only",
            check,
            "--only",
            "daemon.health",
            "--format",
            "json",
        ]);
        report.says(check, "fail", "# put SESSION_HASH_SECRET");
        let detail = report.check(check)["detail"].as_str().unwrap();
        assert!(
            detail.contains("ENCRYPTION_KEY, which .env has lost"),
            "{detail}"
        );
        report.says("daemon.health", "pass", "");
        let printed = remedy(&scene, check);
        assert!(!printed.contains("--only JWT_SECRET"), "{printed}");
        assert!(
            printed.lines().all(|line| line.starts_with("# ")),
            "{printed}"
        );
        let copy = scene.path().join(".env.production");
        std::fs::write(&copy, &whole).unwrap();
        set_mode(&copy, 0o600);
        scene.proves(&LOST_WHILE_RUNNING).await;
        assert_eq!(values(&scene), before);
        std::fs::remove_file(&copy).unwrap();
        std::fs::write(&env_file, &whole).unwrap();
    }
    // The sign-in service has key pairs from now on.
    scene.unset("JWT_SECRET");
    scene.set("AUTH_SERVER_URL", "http://127.0.0.1:1");
    scene.doctor(check).says(check, "pass", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_env_file_that_hides_generated_secrets() {
    let mut scene = Scene::sqlite().await;
    let set = values(&scene);
    let generated = &NAMES[..3];
    for name in generated {
        scene.unset(name);
    }
    scene.start();
    scene.end();
    for (count, name) in generated.iter().enumerate() {
        let path = scene.path().join("data/secrets").join(name);
        let value = std::fs::read_to_string(path).unwrap();
        // The same value hides nothing.
        scene.set(name, value.trim());
        scene
            .doctor("config.secrets")
            .says("config.secrets", "pass", "");
        scene.set(name, set[name].as_deref().unwrap());
        scene.proves(&HIDDEN).await;
        let previous = scene.get(&format!("{name}_PREVIOUS"));
        assert_eq!(previous.as_deref(), Some(value.trim()), "{count}");
    }
    scene.start();
}

/// Secrets that todoctl has generated.
const GENERATED: [&str; 3] = [
    "SESSION_HASH_SECRET",
    "SERVICE_AUTH_TOKEN",
    "ENCRYPTION_KEY",
];

#[tokio::test(flavor = "multi_thread")]
async fn generated_secrets_of_a_service_that_was_moved_to_postgresql() {
    let mut scene = Scene::postgres().await;
    let url = scene.get("DATABASE_URL").unwrap();
    for name in GENERATED.into_iter().chain(["DATABASE_URL"]) {
        scene.unset(name);
    }
    scene.start();
    scene.end();
    let insert = "INSERT INTO tasks (user_id, title, title_folded, created_at, updated_at)
                  VALUES ('me', 'one', 'one', 1, 1)";
    fingerprint::sqlite(&scene.file(), insert).await;
    scene.start();
    scene.end();
    let generated = GENERATED.map(|name| {
        let file = scene.path().join("data/secrets").join(name);
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    });
    let kept = |scene: &Scene| GENERATED.map(|name| scene.get(name).unwrap());
    scene.set("DATABASE_URL", &url);
    // What was typed in another order: other values are there already.
    scene.set("SESSION_HASH_SECRET", &"1f0e2d3c4b5a6978".repeat(4));
    scene.set("SERVICE_AUTH_TOKEN", &"2f0e2d3c4b5a6978".repeat(4));
    scene.set(
        "ENCRYPTION_KEY",
        "ZDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    );
    let report = scene.doctor("config.secrets");
    report.says(
        "config.secrets",
        "warn",
        "config set SERVICE_AUTH_TOKEN_PREVIOUS=-",
    );
    let begin_again = |scene: &Scene| {
        for name in GENERATED {
            scene.unset(name);
        }
    };
    begin_again(&scene);
    scene.proves(&LEFT_BEHIND).await;
    assert_eq!(kept(&scene), generated);
    begin_again(&scene);
    let typed = scene.todoctl(&["gen-secrets", "--write", ".env"]);
    assert!(typed.status.success());
    assert_eq!(kept(&scene), generated);
    // Without the folder they are lost, as in any other service.
    begin_again(&scene);
    std::fs::rename(scene.path().join("data"), scene.path().join("elsewhere")).unwrap();
    scene
        .doctor("config.secrets")
        .says("config.secrets", "fail", "# ");
}

/// The secrets are below the mount.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_volume_in_the_place_of_the_secrets() {
    if !may_mount() {
        return;
    }
    let scene = Scene::sqlite().await;
    for name in GENERATED {
        scene.unset(name);
    }
    create_session(&scene);
    let script = "unshare --mount sh -ec 'mount -t tmpfs t data/secrets
        todoctl doctor --only database.continuity >said || true'";
    assert!(scene.type_in(script).status.success());
    let said = std::fs::read_to_string(scene.path().join("said")).unwrap();
    assert!(
        said.contains("data/secrets is a mount of its own"),
        "{said}"
    );
}
