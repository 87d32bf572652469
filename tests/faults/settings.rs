//! Variables, secrets and the `.env` file: what is found, and corrected by typing.

use std::os::unix::fs::chown;

use rstest::rstest;
use url::Url;

use crate::faults::harness::{After, Fault, Scene, Symptom, faults, set_mode};

faults! {
    UNENCODED_PASSWORD = Fault {
        title: "The password in DATABASE_URL is not percent-encoded",
        symptom: Symptom::Start("the user or password contains characters with a meaning in URLs"),
        check: "config.database",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    SPELLING_OF_KEY = Fault {
        title: "ENCRYPTION_KEY is in another spelling: standard base64, hex, in quotes",
        symptom: Symptom::Start("is not a Fernet key"),
        check: "config.secrets",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    MISSING_SECRETS = Fault {
        title: "Secrets of a new service are missing, with PostgreSQL",
        symptom: Symptom::Start("is required with PostgreSQL"),
        check: "config.secrets",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    SAME_SECRETS = Fault {
        title: "Two secrets are the same",
        symptom: Symptom::Risk("who learns one of them knows both"),
        check: "config.secrets_differ",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    SECRET_TWICE = Fault {
        title: "A secret is set as a variable and as a file",
        symptom: Symptom::Start("are both set"),
        check: "config.secrets",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    OPEN_SECRET_FILE = Fault {
        title: "Other users may read the file of a secret",
        symptom: Symptom::Risk("every user of the machine may read the secret"),
        check: "config.secret_files",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    NO_USERS = Fault {
        title: "Nothing can verify the tokens of users",
        symptom: Symptom::Risk("tokens of users are answered with 401"),
        check: "config.secrets",
        outcome: "warn",
        after: After::Person("the secret is the sign-in service's"),
    };
    WRONG_NUMBER = Fault {
        title: "A variable is no number",
        symptom: Symptom::Start("is not a whole number"),
        check: "config.database",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    WRONG_WORD = Fault {
        title: "A variable has an unknown word",
        symptom: Symptom::Start("is not error, warn, info, debug or trace"),
        check: "config.telemetry",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    ANY_ORIGIN = Fault {
        title: "CORS_ORIGINS allows every origin",
        symptom: Symptom::Start("CORS_ORIGINS"),
        check: "config.cors",
        outcome: "fail",
        after: After::Person("only a person knows the origins of the pages"),
    };
    NO_ORIGINS = Fault {
        title: "CORS_ORIGINS has pages instead of origins, or is JSON",
        symptom: Symptom::Start("CORS_ORIGINS contains"),
        check: "config.cors",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    OPEN_ENV_FILE = Fault {
        title: "Other users may read the .env file",
        symptom: Symptom::Risk("every user of the machine may read the secrets"),
        check: "config.env_file",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    FOREIGN_ENV_FILE = Fault {
        title: "The .env file belongs to another user",
        symptom: Symptom::Risk("`todoctl serve` ends: .env cannot be read"),
        check: "config.env_file",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    BROKEN_ENV_FILE = Fault {
        title: "A quote in the .env file is not closed",
        symptom: Symptom::Start("has an error in line"),
        check: "config.env_file",
        outcome: "fail",
        after: After::Person("only a person knows what the line should be"),
    };
    ENV_DIRECTORY = Fault {
        title: "The .env file is a directory, as Docker creates one",
        symptom: Symptom::Start("is a directory"),
        check: "config.env_file",
        outcome: "fail",
        after: After::Person("only a person has the file that belongs there"),
    };
    MISSPELT_NAME = Fault {
        title: "The name of a variable is misspelt",
        symptom: Symptom::Risk("the variable has no effect"),
        check: "config.unknown",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    LONG_TOKENS = Fault {
        title: "Access tokens are valid for a year",
        symptom: Symptom::Risk("a stolen token cannot be revoked"),
        check: "config.http",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    USELESS_ISSUER = Fault {
        title: "AUTH_ISSUER without AUTH_SERVER_URL",
        symptom: Symptom::Risk("the variable has no effect"),
        check: "config.services",
        outcome: "warn",
        after: After::Typed("pass"),
    };
}

#[tokio::test]
async fn an_unencoded_password() {
    let mut scene = Scene::postgres().await;
    let database = scene.database.as_ref().unwrap();
    let role = database.name.replace("test", "owner");
    scene
        .sql(&format!(
            "CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'p@ss/w:rd?'"
        ))
        .await;
    let url = Url::parse(&scene.get("DATABASE_URL").unwrap()).unwrap();
    let rest = url.as_str().split_once('@').unwrap().1;
    let wrong = format!("postgresql://{role}:p@ss/w:rd?@{rest}");
    scene.set("DATABASE_URL", &wrong);
    scene.proves(&UNENCODED_PASSWORD).await;
    scene.sql(&format!("DROP ROLE {role}")).await;
}

#[rstest]
#[case("++//PgswVXqfxOkOM1h9osfsETZbgKXK7xQ5XoOozfI=")]
#[case("fbefff3e0b30557a9fc4e90e33587da2c7ec11365b80a5caef14395e83a8cdf2")]
#[case("\"'--__PgswVXqfxOkOM1h9osfsETZbgKXK7xQ5XoOozfI='\"")]
#[tokio::test]
async fn a_key_in_another_spelling(#[case] written: &str) {
    let mut scene = Scene::sqlite().await;
    scene.set("ENCRYPTION_KEY", written);
    scene.proves(&SPELLING_OF_KEY).await;
    let key = scene.get("ENCRYPTION_KEY").unwrap();
    assert_eq!(key, "--__PgswVXqfxOkOM1h9osfsETZbgKXK7xQ5XoOozfI=");
}

#[tokio::test]
async fn missing_secrets() {
    let mut scene = Scene::postgres().await;
    scene.sql("DELETE FROM tasks").await;
    scene.unset("SESSION_HASH_SECRET");
    scene.set("ENCRYPTION_KEY", "change-me");
    scene.proves(&MISSING_SECRETS).await;
}

/// The sign-in service's secret stays, and sessions stay valid.
#[tokio::test]
async fn the_same_secret_twice() {
    let mut scene = Scene::sqlite().await;
    let shared = scene.get("JWT_SECRET").unwrap();
    scene.set("SESSION_HASH_SECRET", &shared);
    scene.proves(&SAME_SECRETS).await;
    assert_eq!(scene.get("JWT_SECRET").unwrap(), shared);
    assert_eq!(scene.get("SESSION_HASH_SECRET_PREVIOUS").unwrap(), shared);
}

#[tokio::test]
async fn a_variable_and_a_file() {
    let mut scene = Scene::sqlite().await;
    let file = scene.path().join("token");
    std::fs::write(&file, scene.get("SERVICE_AUTH_TOKEN").unwrap()).unwrap();
    set_mode(&file, 0o600);
    scene.set("SERVICE_AUTH_TOKEN_FILE", &file.display().to_string());
    scene.proves(&SECRET_TWICE).await;
}

#[tokio::test]
async fn a_secret_file_for_everybody() {
    let mut scene = Scene::sqlite().await;
    let file = scene.path().join("my token");
    std::fs::write(&file, scene.get("SERVICE_AUTH_TOKEN").unwrap()).unwrap();
    set_mode(&file, 0o644);
    scene.unset("SERVICE_AUTH_TOKEN");
    scene.set("SERVICE_AUTH_TOKEN_FILE", &format!("'{}'", file.display()));
    scene.proves(&OPEN_SECRET_FILE).await;
}

#[tokio::test]
async fn no_way_to_know_users() {
    let mut scene = Scene::sqlite().await;
    let secret = scene.get("JWT_SECRET").unwrap();
    scene.unset("JWT_SECRET");
    scene.proves(&NO_USERS).await;
    scene.set("JWT_SECRET", &secret);
    scene.proves_gone(&NO_USERS);
}

#[tokio::test]
async fn wrong_values() {
    let mut scene = Scene::sqlite().await;
    scene.set("SQLALCHEMY_POOL_SIZE", "many");
    scene.proves(&WRONG_NUMBER).await;
    scene.set("LOG_LEVEL", "loud");
    scene.proves(&WRONG_WORD).await;
}

#[tokio::test]
async fn every_origin() {
    let mut scene = Scene::sqlite().await;
    scene.set("CORS_ORIGINS", "*");
    scene.proves(&ANY_ORIGIN).await;
    scene.set("CORS_ORIGINS", "https://app.example.com");
    scene.proves_gone(&ANY_ORIGIN);
}

#[tokio::test]
async fn pages_instead_of_origins() {
    let mut scene = Scene::sqlite().await;
    for written in [
        "https://app.example.com/login,https://admin.example.com",
        r#"'["https://app.example.com", "https://admin.example.com"]'"#,
    ] {
        scene.set("CORS_ORIGINS", written);
        scene.proves(&NO_ORIGINS).await;
        let origins = scene.get("CORS_ORIGINS").unwrap();
        let right = "https://app.example.com,https://admin.example.com";
        assert_eq!(origins.trim_matches('\''), right);
    }
}

#[tokio::test]
async fn an_env_file_for_everybody() {
    let mut scene = Scene::sqlite().await;
    set_mode(&scene.path().join(".env"), 0o644);
    scene.proves(&OPEN_ENV_FILE).await;
}

/// Which `chmod` alone cannot correct.
#[tokio::test]
async fn an_env_file_of_another_user() {
    let mut scene = Scene::sqlite().await;
    scene.run_by(65_534);
    chown(scene.path().join(".env"), Some(0), Some(0)).unwrap();
    scene.proves(&FOREIGN_ENV_FILE).await;
}

#[tokio::test]
async fn a_broken_env_file() {
    let mut scene = Scene::sqlite().await;
    scene.set("EMAIL_FROM", "'canary");
    scene.proves(&BROKEN_ENV_FILE).await;
    scene.unset("EMAIL_FROM");
    scene.proves_gone(&BROKEN_ENV_FILE);
}

#[tokio::test]
async fn an_env_file_that_is_a_directory() {
    let mut scene = Scene::sqlite().await;
    let file = scene.path().join(".env");
    let away = scene.path().join("env");
    std::fs::rename(&file, &away).unwrap();
    std::fs::create_dir(&file).unwrap();
    scene.proves(&ENV_DIRECTORY).await;
    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(&away, &file).unwrap();
    scene.proves_gone(&ENV_DIRECTORY);
}

#[tokio::test]
async fn a_misspelt_name() {
    let mut scene = Scene::sqlite().await;
    scene.set("LOG_LEVLE", "debug");
    scene.proves(&MISSPELT_NAME).await;
    assert_eq!(scene.get("LOG_LEVEL").unwrap(), "debug");
}

#[tokio::test]
async fn unwise_values() {
    let mut scene = Scene::sqlite().await;
    scene.set("ENVIRONMENT", "production");
    scene.set("CORS_ORIGINS", "https://app.example.com");
    scene.set("DATABASE_URL", "sqlite://data/todo.db");
    scene.set("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "525600");
    scene.proves(&LONG_TOKENS).await;
    scene.set("AUTH_ISSUER", "https://auth.example.com");
    scene.proves(&USELESS_ISSUER).await;
}
