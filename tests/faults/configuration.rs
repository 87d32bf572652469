//! Variables and files of variables.

use std::os::unix::fs::PermissionsExt as _;

use crate::faults::Broken;
use crate::faults::harness::{Scene, set_mode};

const HEX: &str = "0f1e2d3c4b5a69780f1e2d3c4b5a69780f1e2d3c4b5a69780f1e2d3c4b5a6978";

/// `doctor` and `config check` find the same.
#[track_caller]
pub fn says(broken: &Broken, id: &str, outcome: &str, remedy: &str) {
    for report in [
        broken.report(&["config", "check", "--format", "json"]),
        broken.report(&["doctor", "--only", id, "--format", "json"]),
    ] {
        report.says(id, outcome, remedy);
        assert!(
            !format!("{:#}", report.json).contains("canary"),
            "{:#}",
            report.json
        );
    }
}

#[test]
fn an_unencoded_password() {
    let broken = Broken::with_server("postgresql://todo:pa@ss/canary@db/todo");
    says(&broken, "config.database", "fail", "@ as %40");
    broken.database_says("database.url", "fail", "@ as %40");
}

#[test]
fn secrets_that_are_missing() {
    let broken = Broken::new().env("DATABASE_URL", "postgresql://u:p@127.0.0.1:1/d");
    says(
        &broken,
        "config.secrets",
        "fail",
        "todoctl gen-secrets --write .env",
    );
}

/// Contract 10.8: weak secrets are refused outside development.
#[test]
fn secrets_that_are_placeholders_or_weak() {
    let broken = Broken::with_server("postgresql://u:p@127.0.0.1:1/d")
        .env("ENVIRONMENT", "production")
        .env("CORS_ORIGINS", "https://app.example.com");
    says(&broken, "config.secrets", "pass", "");
    let weak = broken
        .env("SERVICE_AUTH_TOKEN", "change-me")
        .env("JWT_SECRET", "canary");
    says(
        &weak,
        "config.secrets",
        "fail",
        "todoctl gen-secrets --only JWT_SECRET",
    );
}

#[test]
fn secrets_that_are_the_same() {
    let broken = Broken::with_server("postgresql://u:p@127.0.0.1:1/d")
        .env("SESSION_HASH_SECRET", HEX)
        .env("JWT_SECRET", HEX);
    says(
        &broken,
        "config.secrets_differ",
        "warn",
        "todoctl gen-secrets --only SESSION_HASH_SECRET",
    );
}

#[test]
fn a_secret_twice() {
    let broken = Broken::new();
    let file = broken.path().join("token");
    std::fs::write(&file, "canary").unwrap();
    let broken = broken
        .env("SERVICE_AUTH_TOKEN", HEX)
        .env("SERVICE_AUTH_TOKEN_FILE", &file.display().to_string());
    says(
        &broken,
        "config.secrets",
        "fail",
        "unset SERVICE_AUTH_TOKEN",
    );
}

#[test]
fn a_secret_file_for_everybody() {
    let broken = Broken::new();
    let file = broken.path().join("token");
    std::fs::write(&file, HEX).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let broken = broken.env("SERVICE_AUTH_TOKEN_FILE", &file.display().to_string());
    says(&broken, "config.secret_files", "warn", "chmod 600 ");
}

#[test]
fn no_way_to_know_users() {
    says(&Broken::new(), "config.secrets", "warn", "JWT_SECRET=");
}

#[test]
fn origins() {
    says(
        &Broken::new().env("CORS_ORIGINS", "*"),
        "config.cors",
        "fail",
        "CORS_ORIGINS",
    );
    let broken = Broken::new()
        .env("ENVIRONMENT", "production")
        .env("DATABASE_URL", "sqlite://data/todo.db")
        .env("CORS_ORIGINS", "http://localhost:3000");
    says(&broken, "config.cors", "warn", "CORS_ORIGINS=https://");
}

#[test]
fn numbers_and_words() {
    says(
        &Broken::new().env("PORT", "80a"),
        "config.http",
        "fail",
        "PORT=8000",
    );
    says(
        &Broken::new().env("LOG_LEVEL", "loud"),
        "config.telemetry",
        "fail",
        "LOG_LEVEL=info",
    );
    says(
        &Broken::new().env("ENVIRONMENT", "live"),
        "config.environment",
        "fail",
        "ENVIRONMENT=production",
    );
    says(
        &Broken::new().env("REDIS_URL", "canary"),
        "config.services",
        "fail",
        "a value such as redis://",
    );
    says(
        &Broken::new().env("SQLALCHEMY_POOL_SIZE", "many"),
        "config.database",
        "fail",
        "SQLALCHEMY_POOL_SIZE=10",
    );
}

#[test]
fn an_env_file_with_quotes_and_comments() {
    let broken = Broken::new();
    let file = broken.path().join(".env");
    // As `todoctl config set` writes it.
    std::fs::write(&file, "EMAIL_FROM='Todo <todo@example.com>'\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    says(&broken, "config.env_file", "pass", "");
    std::fs::write(&file, "EMAIL_FROM=\"Todo <todo@example.com>\" # sender\n").unwrap();
    says(&broken, "config.env_file", "pass", "");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    says(&broken, "config.env_file", "warn", "chmod 600 .env");
}

#[test]
fn an_env_file_that_is_broken_or_a_directory() {
    let broken = Broken::new();
    let file = broken.path().join(".env");
    std::fs::write(&file, "PORT=1\nJWT_SECRET='canary\n").unwrap();
    says(&broken, "config.env_file", "fail", "single quotes");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    says(
        &broken,
        "config.env_file",
        "fail",
        "without data: rmdir .env && todoctl gen-secrets --write .env",
    );
}

/// One name twice, and white space before the sign: Docker takes another value.
#[test]
fn an_env_file_with_a_name_twice() {
    let broken = Broken::new();
    let file = broken.path().join(".env");
    std::fs::write(&file, "LOG_LEVEL=info\nLOG_LEVEL=debug\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    says(&broken, "config.env_file", "warn", "");
    let report = broken.report(&["config", "check", "--format", "json"]);
    let said = report.detail("config.env_file");
    assert!(said.contains("in line 1 and again in line 2"), "{said}");
}

/// `doctor`'s remedy for a weak secret works.
#[test]
fn a_weak_secret_in_the_env_file() {
    let broken = Broken::with_server("postgresql://u:p@127.0.0.1:1/d")
        .env("ENVIRONMENT", "production")
        .env("CORS_ORIGINS", "https://app.example.com")
        .env("JWT_SECRET", "");
    let file = broken.path().join(".env");
    std::fs::write(&file, "JWT_SECRET=canary\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    // The sign-in service has it too, so it is not replaced here alone.
    says(
        &broken,
        "config.secrets",
        "fail",
        "# the sign-in service needs the same new value, which todoctl gen-secrets --only JWT_SECRET makes: todoctl config set JWT_SECRET=-",
    );
    let remedy = "todoctl gen-secrets --only JWT_SECRET --replace --write .env";
    let typed: Vec<&str> = remedy.split(' ').skip(1).collect();
    assert!(broken.output(&typed).status.success());
    says(&broken, "config.secrets", "pass", "");
}

/// What is left of it is short, which is not the cause.
#[test]
fn a_secret_with_a_dollar_sign() {
    let broken = Broken::with_server("postgresql://u:p@127.0.0.1:1/d")
        .env("ENVIRONMENT", "production")
        .env("CORS_ORIGINS", "https://app.example.com")
        .env("JWT_SECRET", "");
    let file = broken.path().join(".env");
    std::fs::write(
        &file,
        "JWT_SECRET=canary$5f0e1d2c3b4a5968778695a4b3c2d1e0f\n",
    )
    .unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    says(
        &broken,
        "config.secrets",
        "fail",
        "# where the $ of JWT_SECRET is meant as it is, put the value into single quotes",
    );
    let report = broken.report(&["config", "check", "--format", "json"]);
    let detail = report.detail("config.secrets");
    assert!(!detail.contains("shorter"), "{detail}");
}

/// `cp .env.example .env`: all secrets are named at once, and one command fills them in.
#[test]
fn a_copied_example() {
    let example = include_str!("../../.env.example");
    let names = [
        "SESSION_HASH_SECRET",
        "SERVICE_AUTH_TOKEN",
        "JWT_SECRET",
        "ENCRYPTION_KEY",
    ];
    let weak = example.replace("SERVICE_AUTH_TOKEN=change-me", "SERVICE_AUTH_TOKEN=canary");
    let fresh = "# if a sign-in service has a JWT_SECRET already, give todoctl that one first, which the next command keeps: todoctl config set JWT_SECRET=-\ntodoctl gen-secrets --write .env";
    for (text, environment, remedy) in [
        (example, "", fresh),
        (example, "production", fresh),
        (
            &weak,
            "production",
            "# if a sign-in service has a JWT_SECRET already, leave --only JWT_SECRET out of the next command, and give todoctl that one: todoctl config set JWT_SECRET=-\n# the services that call todoctl need the new SERVICE_AUTH_TOKEN, and are refused until they have it\ntodoctl gen-secrets --only SESSION_HASH_SECRET --only SERVICE_AUTH_TOKEN --only JWT_SECRET --only ENCRYPTION_KEY --replace --write .env",
        ),
    ] {
        let broken = Broken::new()
            .env("ENVIRONMENT", environment)
            .env("DATABASE_URL", "sqlite://data/todo.db");
        let file = broken.path().join(".env");
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let output = broken.output(&["serve"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        for name in names {
            assert_eq!(
                said.matches(&format!("because: {name} ")).count(),
                1,
                "{said}"
            );
        }
        assert_eq!(said.matches("remedy: ").count(), 1, "{said}");
        let indented = remedy.replace('\n', "\n    ");
        assert!(said.contains(&format!("remedy: {indented}\n")), "{said}");
        says(&broken, "config.secrets", "fail", remedy);
        let command = remedy.lines().last().unwrap();
        let typed: Vec<&str> = command.split(' ').skip(1).collect();
        assert!(broken.output(&typed).status.success());
        says(&broken, "config.secrets", "pass", "");
    }
}

#[test]
fn a_misspelt_variable() {
    let broken = Broken::new();
    std::fs::write(broken.path().join(".env"), "DATABSE_URL=sqlite://x.db\n").unwrap();
    says(
        &broken,
        "config.unknown",
        "warn",
        "todoctl config respell DATABSE_URL",
    );
    // Commands that do not check say so too.
    let output = broken.output(&["migrate", "up"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("did you mean DATABASE_URL?"), "{said}");
    let swapped = Broken::new().env("PROT", "8000");
    says(&swapped, "config.unknown", "warn", "under the name PORT");
}

#[test]
fn an_id_that_does_not_exist() {
    let output = Broken::new().output(&["doctor", "--only", "databas"]);
    assert_eq!(output.status.code(), Some(2));
}

/// What works and is unwise outside development.
#[test]
fn unwise_settings() {
    let production = || {
        Broken::with_server("postgresql://u:p@127.0.0.1:1/d")
            .env("ENVIRONMENT", "production")
            .env("CORS_ORIGINS", "https://app.example.com")
    };
    says(&production(), "config.http", "pass", "");
    for (id, name, value) in [
        (
            "config.services",
            "AUTH_SERVER_URL",
            "http://auth.example.com",
        ),
        ("config.services", "AUTH_SERVER_URL", "http://10.1.2.3:3000"),
        (
            "config.services",
            "GEMINI_API_URL",
            "http://api.example.com",
        ),
        (
            "config.services",
            "REDIS_URL",
            "redis://:canary@redis.example.com",
        ),
        ("config.services", "SSL_CERT_FILE", "/nonexistent.pem"),
        ("config.services", "AUTH_ISSUER", "https://auth.example.com"),
        ("config.http", "TRUSTED_PROXIES", "10.0.0.1,0.0.0.0/0"),
        ("config.http", "TRUSTED_PROXIES", "::/0"),
        ("config.http", "TRUSTED_PROXIES", "128.0.0.0/1"),
        ("config.http", "AUTH_FAILURES_PER_MINUTE", "0"),
        ("config.http", "JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "525600"),
    ] {
        let broken = production().env(name, value);
        says(&broken, id, "warn", "");
        let report = broken.report(&["config", "check", "--format", "json"]);
        assert!(report.detail(id).starts_with(name), "{name}={value}");
    }
    for (id, name, value) in [
        ("config.services", "AUTH_SERVER_URL", "http://auth:3000"),
        ("config.services", "AUTH_SERVER_URL", "http://[::1]:3000"),
        (
            "config.services",
            "AUTH_SERVER_URL",
            "https://auth.example.com",
        ),
        ("config.services", "REDIS_URL", "redis://:canary@redis:6379"),
        // Where services are reached without it, it is right.
        (
            "config.services",
            "HTTPS_PROXY",
            "http://u:canary@proxy:3128",
        ),
        ("config.services", "REDIS_URL", "redis://redis.example.com"),
        (
            "config.services",
            "REDIS_URL",
            "rediss://:canary@redis.example.com",
        ),
        ("config.http", "TRUSTED_PROXIES", "10.0.0.0/8"),
        ("config.http", "JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "1440"),
    ] {
        says(&production().env(name, value), id, "pass", "");
    }
}

/// What is repeated of a wrong value holds no secret.
#[test]
fn wrong_values_that_hold_secrets() {
    for (id, name, value) in [
        (
            "config.cors",
            "CORS_ORIGINS",
            "https://a.example/?token=canary",
        ),
        ("config.cors", "CORS_ORIGINS", "https://u:canary@a.example"),
        (
            "config.cors",
            "CORS_ORIGINS",
            "https://u:canary@a.example/x#y",
        ),
        ("config.http", "TRUSTED_PROXIES", "http://u:canary@10.0.0.1"),
    ] {
        says(&Broken::new().env(name, value), id, "fail", "");
    }
}

/// An example without secrets may be read by everybody.
#[tokio::test]
async fn a_copy_of_the_env_file_for_everybody() {
    const CHECK: &str = "config.env_file";
    let scene = Scene::sqlite().await;
    let file = |name: &str| scene.path().join(name);
    std::fs::write(file(".env.example"), "PORT=8000\n").unwrap();
    std::fs::copy(file(".env"), file(".env.bak")).unwrap();
    scene.doctor(CHECK).says(CHECK, "pass", "");
    set_mode(&file(".env.bak"), 0o644);
    let report = scene.doctor(CHECK);
    report.says(CHECK, "warn", "chmod go-rwx .env.bak");
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    scene.doctor(CHECK).says(CHECK, "pass", "");
}
