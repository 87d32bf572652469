//! `todoctl gen-secrets`.

use std::os::unix::fs::PermissionsExt;

use crate::cli::{Cli, assert_said};

#[test]
fn formats() {
    let cli = Cli::new();
    for (name, arguments) in [
        ("gen_secrets_env", &["gen-secrets"][..]),
        ("gen_secrets_json", &["gen-secrets", "--format", "json"]),
        ("gen_secrets_table", &["gen-secrets", "--format", "table"]),
        ("gen_secrets_only", &["gen-secrets", "--only", "JWT_SECRET"]),
    ] {
        assert_said(name, &cli.run(arguments));
    }
}

/// What it prints is what the daemon accepts, and differs each time.
#[test]
fn values() {
    let cli = Cli::new();
    let said = cli.run(&["gen-secrets", "--format", "json"]).json();
    let object = said.as_object().unwrap();
    let names: Vec<&str> = object.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "ENCRYPTION_KEY",
            "JWT_SECRET",
            "SERVICE_AUTH_TOKEN",
            "SESSION_HASH_SECRET"
        ]
    );
    for (name, value) in object {
        let value = value.as_str().unwrap();
        if name == "ENCRYPTION_KEY" {
            assert!(fernet::Fernet::new(value).is_some());
        } else {
            assert_eq!(value.len(), 64);
            assert!(value.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
    }
    let again = cli.run(&["gen-secrets", "--format", "json"]).json();
    assert!(object.iter().all(|(name, value)| again[name] != *value));
}

/// Missing and placeholder values are filled in place; what is real stays.
#[test]
fn write() {
    let cli = Cli::new();
    cli.file(
        ".env",
        "# mine\nPORT=9000\nJWT_SECRET=change-me # soon\nSERVICE_AUTH_TOKEN=0123456789abcdef0123456789abcdef-real\n\n# end\n",
    );
    assert_said(
        "gen_secrets_write",
        &cli.run(&["gen-secrets", "--write", ".env"]),
    );
    let path = cli.path().join(".env");
    let first = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = first.lines().collect();
    assert_eq!(lines[..2], ["# mine", "PORT=9000"]);
    assert!(lines[2].starts_with("JWT_SECRET=") && lines[2].ends_with(" # soon"));
    assert_eq!(
        lines[3],
        "SERVICE_AUTH_TOKEN=0123456789abcdef0123456789abcdef-real"
    );
    assert_eq!(lines[4..6], ["", "# end"]);
    assert!(first.contains("\nSESSION_HASH_SECRET=") && first.contains("\nENCRYPTION_KEY="));
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let said = cli.run(&["gen-secrets", "--write", ".env"]);
    assert_said("gen_secrets_write_again", &said);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), first);
}

#[test]
fn a_file_that_cannot_be_written() {
    let cli = Cli::new();
    assert_said(
        "gen_secrets_no_directory",
        &cli.run(&["gen-secrets", "--write", "missing/.env"]),
    );
}

/// The example's own placeholders are recognised, all of them.
#[test]
fn the_example_can_be_filled() {
    let cli = Cli::new();
    let example = include_str!("../../.env.example");
    cli.file(".env", example);
    assert_eq!(cli.run(&["gen-secrets", "--write", ".env"]).code, 0);
    let filled = std::fs::read_to_string(cli.path().join(".env")).unwrap();
    assert!(!filled.contains("change-me"));
    assert_eq!(filled.lines().count(), example.lines().count());
    let said = cli.run(&["migrate", "up"]);
    assert_eq!(said.code, 0, "{}", said.text());
    assert!(!said.stderr.contains("warning"), "{}", said.stderr);
}
