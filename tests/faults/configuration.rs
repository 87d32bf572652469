//! Variables and files of variables.

use std::os::unix::fs::PermissionsExt as _;

use crate::faults::Broken;

const HEX: &str = "0f1e2d3c4b5a69780f1e2d3c4b5a69780f1e2d3c4b5a69780f1e2d3c4b5a6978";

/// `doctor` and `config check` find the same.
#[track_caller]
fn says(broken: &Broken, id: &str, outcome: &str, remedy: &str) {
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
        "todoctl gen-secrets --only JWT_SECRET",
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
        "unset SERVICE_AUTH_TOKEN_FILE",
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
        "CORS_ORIGINS=https://",
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
        "REDIS_URL=redis://",
    );
    says(
        &Broken::new().env("SQLALCHEMY_POOL_SIZE", "many"),
        "config.database",
        "fail",
        "SQLALCHEMY_POOL_SIZE=10",
    );
}

#[test]
fn an_env_file_that_docker_reads_differently() {
    let broken = Broken::new();
    let file = broken.path().join(".env");
    std::fs::write(&file, "EMAIL_FROM='Todo <todo@example.com>'\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    says(
        &broken,
        "config.env_file",
        "warn",
        "without export, blanks, quotes",
    );
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
        "rmdir .env && todoctl gen-secrets --write .env",
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
    let remedy = "todoctl gen-secrets --only JWT_SECRET --replace --write .env";
    says(&broken, "config.secrets", "fail", remedy);
    let typed: Vec<&str> = remedy.split(' ').skip(1).collect();
    assert!(broken.output(&typed).status.success());
    says(&broken, "config.secrets", "pass", "");
}

#[test]
fn a_misspelt_variable() {
    let broken = Broken::new();
    std::fs::write(broken.path().join(".env"), "DATABSE_URL=sqlite://x.db\n").unwrap();
    says(&broken, "config.unknown", "warn", "DATABASE_URL=");
    let swapped = Broken::new().env("PROT", "8000");
    says(&swapped, "config.unknown", "warn", "PORT=");
}

#[test]
fn an_id_that_does_not_exist() {
    let output = Broken::new().output(&["doctor", "--only", "databas"]);
    assert_eq!(output.status.code(), Some(2));
}
