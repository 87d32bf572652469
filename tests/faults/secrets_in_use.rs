//! Secrets that somebody has already: what a remedy replaces, others have to get.

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};

faults! {
    EMPTIED = Fault {
        title: "Files of secrets that the daemon has generated are empty, or were cut off",
        symptom: Symptom::Start("was generated, but its file"),
        check: "config.secrets",
        outcome: "fail",
        after: After::Person("a backup has them"),
    };
    WEAK_IN_DEVELOPMENT = Fault {
        title: "A secret that callers have is short, in development",
        symptom: Symptom::Risk("outside development the daemon does not start with it"),
        check: "config.secrets",
        outcome: "warn",
        // The old value is accepted until it is taken out.
        after: After::Typed("warn"),
    };
    WEAK_IN_PRODUCTION = Fault::failing(
        "A secret that callers have is short, in production",
        Symptom::Start("is shorter than 32 bytes"),
        "config.secrets",
    );
    WEAK_AND_SHARED = Fault {
        title: "JWT_SECRET is short, and the sign-in service has it too",
        symptom: Symptom::Start("is shorter than 32 bytes"),
        check: "config.secrets",
        outcome: "fail",
        after: After::Person("the sign-in service has to get the new value"),
    };
}

const GENERATED: [&str; 3] = [
    "SESSION_HASH_SECRET",
    "SERVICE_AUTH_TOKEN",
    "ENCRYPTION_KEY",
];

fn remedy(scene: &Scene) -> String {
    let report = scene.doctor("config.secrets");
    report.check("config.secrets")["remedy"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn only_what_is_lost_is_generated_again() {
    for lost in [
        &GENERATED[..1],
        &GENERATED[1..2],
        &GENERATED[2..],
        &[GENERATED[0], GENERATED[2]],
    ] {
        let mut scene = Scene::sqlite().await;
        for name in GENERATED {
            scene.unset(name);
        }
        scene.start();
        scene.end();
        let directory = scene.path().join("data/secrets");
        let path = |name: &str| directory.join(name);
        let values = GENERATED.map(|name| std::fs::read_to_string(path(name)).unwrap());
        for name in lost {
            std::fs::write(path(name), "").unwrap();
        }
        let printed = remedy(&scene);
        let first = printed.lines().next().unwrap();
        assert!(first.starts_with("# put data/secrets/"), "{printed}");
        assert!(first.contains("back from a backup"), "{printed}");
        // The file of a backup is enough.
        let restored = |name: &&str| {
            let index = GENERATED.iter().position(|one| one == name).unwrap();
            std::fs::write(path(name), &values[index]).unwrap();
        };
        lost.iter().for_each(restored);
        assert_eq!(
            scene.doctor("config.secrets").check("config.secrets")["outcome"],
            "pass"
        );
        for (index, name) in GENERATED
            .iter()
            .enumerate()
            .filter(|(_, name)| lost.contains(name))
        {
            std::fs::write(path(name), &values[index][..4 + 9 * lost.len()]).unwrap();
        }
        scene.proves(&EMPTIED).await;
        let printed = remedy(&scene);
        let only: Vec<String> = lost.iter().map(|name| format!(" --only {name}")).collect();
        let makes = format!(
            "# only if they are lost: todoctl gen-secrets{} --write .env",
            only.concat()
        );
        assert!(printed.contains(&makes), "{printed}");
        lost.iter().for_each(restored);
        scene.proves_gone(&EMPTIED);
    }
}

#[tokio::test]
async fn a_generated_secret_is_not_missing_in_the_file() {
    let mut scene = Scene::sqlite().await;
    for name in GENERATED {
        scene.unset(name);
    }
    scene.start();
    scene.end();
    scene.set("SERVICE_AUTH_TOKEN", "change-me");
    let output = scene.todoctl(&["gen-secrets", "--write", ".env"]);
    assert!(output.status.success());
    for name in GENERATED {
        assert_eq!(scene.get(name), None, "{name}");
    }
    // With PostgreSQL the files do not count.
    scene.set("DATABASE_URL", "postgresql://u:p@127.0.0.1:1/d");
    scene.todoctl(&["gen-secrets", "--write", ".env"]);
    for name in GENERATED {
        assert!(scene.get(name).is_some(), "{name}");
    }
}

#[tokio::test]
async fn a_short_secret_stays_accepted_in_development() {
    for name in ["SERVICE_AUTH_TOKEN", "SESSION_HASH_SECRET"] {
        let mut scene = Scene::sqlite().await;
        scene.set(name, "sesame-of-callers");
        scene.proves(&WEAK_IN_DEVELOPMENT).await;
        let previous = format!("{name}_PREVIOUS");
        assert_eq!(scene.get(&previous).as_deref(), Some("sesame-of-callers"));
        assert!(scene.get(name).unwrap().len() >= 32);
        // It is taken out by a person, who knows when nobody has it any more.
        let printed = remedy(&scene);
        assert!(printed.starts_with("# when no caller has"), "{printed}");
        scene.start();
    }
}

#[tokio::test]
async fn who_has_a_short_secret_is_named_in_production() {
    for (name, said) in [
        (
            "SERVICE_AUTH_TOKEN",
            "# the services that call todoctl need the new",
        ),
        (
            "SESSION_HASH_SECRET",
            "# a new SESSION_HASH_SECRET ends all sessions",
        ),
    ] {
        let mut scene = in_production().await;
        scene.set(name, "sesame-of-callers");
        assert!(remedy(&scene).starts_with(said), "{}", remedy(&scene));
        scene.proves(&WEAK_IN_PRODUCTION).await;
    }
}

#[tokio::test]
async fn a_secret_of_the_sign_in_service_is_not_replaced_here_alone() {
    let mut scene = in_production().await;
    let good = scene.get("JWT_SECRET").unwrap();
    scene.set("JWT_SECRET", "sesame-of-callers");
    // Also where others are replaced.
    scene.set("SERVICE_AUTH_TOKEN", "change-me");
    let printed = remedy(&scene);
    let mut commands = printed.lines().filter(|line| !line.starts_with('#'));
    assert!(
        commands.all(|line| !line.contains("JWT_SECRET")),
        "{printed}"
    );
    scene.set("SERVICE_AUTH_TOKEN", &good.replace('f', "0"));
    scene.proves(&WEAK_AND_SHARED).await;
    scene.set("JWT_SECRET", &good);
    scene.proves_gone(&WEAK_AND_SHARED);
}

async fn in_production() -> Scene {
    let scene = Scene::sqlite().await;
    scene.set("ENVIRONMENT", "production");
    scene.set("DATABASE_URL", "sqlite://data/todo.db");
    scene.set("CORS_ORIGINS", "https://app.example.com");
    scene
}
