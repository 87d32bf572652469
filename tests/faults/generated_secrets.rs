//! Secrets that todoctl has generated beside a SQLite file, and that are gone or left behind.

use std::path::PathBuf;

use crate::faults::fingerprint;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::hidden::{KEY, TOKEN};

faults! {
    LEFT = Fault::failing(
        "SQLite: the file was moved without the secrets that were generated for it",
        Symptom::Start("was moved without its secrets"),
        "database.continuity",
    );
    LOST_WITH_SESSIONS = Fault {
        title: "SQLite: the generated secrets are gone, and session tokens are valid",
        symptom: Symptom::Start("valid session tokens"),
        check: "database.continuity",
        outcome: "fail",
        after: After::Person("a backup has them"),
    };
    KEY_NEARBY = Fault::failing(
        "The key of the stored provider keys is in a comment or a copy of .env, or was generated",
        Symptom::Risk("requests that need a provider key are answered with 500"),
        "database.provider_keys",
    );
    DELETED = Fault::failing(
        "SQLite: the generated secrets were deleted while the daemon runs",
        Symptom::Risk("after the next start services, sessions and provider keys are refused"),
        "config.secret_files",
    );
}

const GENERATED: [&str; 3] = [
    "SESSION_HASH_SECRET",
    "SERVICE_AUTH_TOKEN",
    "ENCRYPTION_KEY",
];

/// A service that has generated its secrets.
async fn service() -> Scene {
    let mut scene = Scene::sqlite().await;
    for name in GENERATED {
        scene.unset(name);
    }
    scene.start();
    // The first start beside a database with tasks, as after an import.
    assert!(scene.has_logged("generated secrets for a database that has tasks already"));
    scene.end();
    scene.start();
    assert!(!scene.has_logged("generated secrets"));
    scene.end();
    scene
}

fn secret(scene: &Scene, directory: &str, name: &str) -> PathBuf {
    scene.path().join(directory).join("secrets").join(name)
}

fn values(scene: &Scene, directory: &str) -> [Option<String>; 3] {
    GENERATED.map(|name| std::fs::read_to_string(secret(scene, directory, name)).ok())
}

fn create_session(scene: &Scene) {
    let output = scene.todoctl(&["session", "create", "--user", "me"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_moved_alone() {
    let mut scene = service().await;
    let before = values(&scene, "data");
    let kept = scene.path().join(".env-database");
    for (to, is_known) in [("new", true), ("other", false)] {
        let from = scene.file().parent().unwrap().to_owned();
        std::fs::create_dir(scene.path().join(to)).unwrap();
        std::fs::rename(
            scene.path().join("data/todo.db"),
            scene.path().join(to).join("todo.db"),
        )
        .unwrap();
        scene.set("DATABASE_URL", &format!("sqlite://{to}/todo.db"));
        if !is_known {
            // Then the directories around it tell.
            let _ = std::fs::remove_file(&kept);
        }
        let output = scene.todoctl(&["session", "create", "--user", "me"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(!scene.path().join(to).join("secrets").exists());
        scene.proves(&LEFT).await;
        assert_eq!(values(&scene, to), before);
        std::fs::rename(scene.path().join(to).join("todo.db"), from.join("todo.db")).unwrap();
        std::fs::remove_dir_all(scene.path().join(to)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_are_gone() {
    let mut scene = service().await;
    create_session(&scene);
    let kept = scene.path().join("kept");
    std::fs::rename(scene.path().join("data/secrets"), &kept).unwrap();
    scene.proves(&LOST_WITH_SESSIONS).await;
    let report = scene.doctor(LOST_WITH_SESSIONS.check);
    let remedy = report.check(LOST_WITH_SESSIONS.check)["remedy"].to_string();
    assert!(
        remedy.contains("put data/secrets/SESSION_HASH_SECRET"),
        "{remedy}"
    );
    for name in GENERATED {
        assert_eq!(scene.get(name), None);
    }
    std::fs::rename(&kept, scene.path().join("data/secrets")).unwrap();
    scene.proves_gone(&LOST_WITH_SESSIONS);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_a_daemon_still_has() {
    let mut scene = service().await;
    let before = values(&scene, "data");
    scene.start();
    scene.doctor(DELETED.check).says(DELETED.check, "pass", "");
    std::fs::remove_file(secret(&scene, "data", GENERATED[1])).unwrap();
    scene.proves(&DELETED).await;
    assert_eq!(values(&scene, "data"), before);
    scene.end();
    scene.start();
    std::fs::remove_dir_all(scene.path().join("data/secrets")).unwrap();
    scene.proves(&DELETED).await;
    assert_eq!(values(&scene, "data"), before);
    // Where they are set, nobody needs the files.
    let values = before.map(Option::unwrap);
    for (name, value) in GENERATED.into_iter().zip(&values) {
        scene.set(name, value.trim());
    }
    std::fs::remove_dir_all(scene.path().join("data/secrets")).unwrap();
    scene.doctor(DELETED.check).says(DELETED.check, "pass", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encryption_key_that_is_nearby() {
    let mut scene = Scene::sqlite().await;
    let insert = format!(
        "INSERT INTO user_api_keys (user_id, provider, encrypted_key, created_at, updated_at)
         VALUES ('me', 'gemini', '{TOKEN}', 1, 1)"
    );
    fingerprint::sqlite(&scene.file(), &insert).await;
    let env_file = scene.path().join(".env");
    let before = std::fs::read_to_string(&env_file).unwrap();
    let secret = secret(&scene, "data", "ENCRYPTION_KEY");
    std::fs::create_dir(secret.parent().unwrap()).unwrap();
    let comment = format!("{before}# ENCRYPTION_KEY={KEY}\n");
    for (file, text) in [
        (&env_file, comment.as_str()),
        (
            &scene.path().join(".env.bak"),
            &format!("A=1\nexport ENCRYPTION_KEY={KEY}\n"),
        ),
        (&secret, &format!("{KEY}\n")),
    ] {
        std::fs::write(file, text).unwrap();
        scene.proves(&KEY_NEARBY).await;
        assert_eq!(scene.get("ENCRYPTION_KEY_PREVIOUS").as_deref(), Some(KEY));
        std::fs::remove_file(file).unwrap();
        std::fs::write(&env_file, &before).unwrap();
    }
}
