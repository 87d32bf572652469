//! Faults of the configuration: all at once, with what would be right, without any secret.

use crate::cli::{Cli, assert_said};

#[test]
fn everything_at_once() {
    let said = Cli::new()
        .env("ENVIRONMENT", "prod")
        .env("DATABASE_URL", "postgresql://todo:pa@ss/canary@db/todo")
        .env("SERVICE_AUTH_TOKEN", "canary-too-short")
        .env("SESSION_HASH_SECRET", "change-me")
        .env("ENCRYPTION_KEY", "canary-no-fernet-key")
        .env("JWT_SECRET", "canarycanarycanarycanarycanarycanary")
        .env("PORT", "80a")
        .env("WORKERS", "0")
        .env("CORS_ORIGINS", "*")
        .env("SQLALCHEMY_POOL_SIZE", "many")
        .env("LOG_LEVEL", "loud")
        .env("JWT_ALGORITHM", "none")
        .env("AUTH_SERVER_URL", "auth")
        .run(&["serve"]);
    assert!(!said.text().contains("canary"), "{}", said.text());
    assert_said("config_everything_wrong", &said);
}

#[test]
fn production_makes_nothing_up() {
    let cli = Cli::new().env("ENVIRONMENT", "production");
    assert_said("config_production_empty", &cli.run(&["serve"]));
    assert_eq!(std::fs::read_dir(cli.path()).unwrap().count(), 0);
}

#[test]
fn files_of_secrets() {
    let cli = Cli::new();
    cli.file("token", "canary\n");
    let file = cli.path().join("token").display().to_string();
    let cli = cli
        .env(
            "SERVICE_AUTH_TOKEN",
            "canary-canary-canary-canary-canary-0123",
        )
        .env("SERVICE_AUTH_TOKEN_FILE", &file)
        .env("ENCRYPTION_KEY_FILE", "/nonexistent/key");
    let said = cli.run(&["serve"]);
    assert!(!said.text().contains("canary"), "{}", said.text());
    assert_said("config_secret_files", &said);
}

#[test]
fn a_broken_env_file() {
    let cli = Cli::new();
    cli.file(".env", "PORT=8000\nJWT_SECRET='canary\n");
    let said = cli.run(&["migrate", "status"]);
    assert!(!said.text().contains("canary"));
    assert_said("config_broken_env_file", &said);
}

/// Docker makes a directory where a mounted file is missing.
#[test]
fn an_env_file_that_is_a_directory() {
    let cli = Cli::new();
    std::fs::create_dir(cli.path().join(".env")).unwrap();
    assert_said("config_env_directory", &cli.run(&["migrate", "status"]));
}

/// The committed example is what the command prints.
#[test]
fn example() {
    let cli = Cli::new();
    let said = cli.run(&["config", "example"]);
    assert_eq!(said.code, 0);
    assert_eq!(said.stdout, include_str!("../../.env.example"));
    assert_said(
        "help_config_example",
        &cli.run(&["config", "example", "--help"]),
    );
}
