//! `todoctl config set`, `unset` and `respell`.

use std::os::unix::fs::PermissionsExt as _;

use crate::cli::{Cli, Said};

fn env_file(cli: &Cli) -> String {
    std::fs::read_to_string(cli.path().join(".env")).unwrap()
}

#[track_caller]
fn succeeds(said: &Said, stderr: &str) {
    assert_eq!(said.text(), format!("exit 0\n--- stderr\n{stderr}"));
}

/// The command fails, says so, and leaves the file as it was.
#[track_caller]
fn is_refused(cli: &Cli, arguments: &[&str], says: &str) {
    let before = env_file(cli);
    let said = cli.run(arguments);
    assert_eq!(said.code, 2, "{}", said.text());
    assert!(said.stderr.contains(says), "{}", said.stderr);
    assert!(!said.text().contains("canary"), "{}", said.text());
    assert_eq!(env_file(cli), before);
}

#[test]
fn several_variables_at_once() {
    let cli = Cli::new();
    cli.file(".env", "# mine\nPORT=9000 # why\n\nHOST=127.0.0.1\n");
    let said = cli.run(&[
        "config",
        "set",
        "PORT=8001",
        "EMAIL_FROM=Todo <a@b.example>",
    ]);
    succeeds(
        &said,
        "PORT: written to .env\nEMAIL_FROM: written to .env\n",
    );
    assert_eq!(
        env_file(&cli),
        "# mine\nPORT=8001 # why\n\nHOST=127.0.0.1\nEMAIL_FROM='Todo <a@b.example>'\n"
    );
    let mode = std::fs::metadata(cli.path().join(".env"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    succeeds(
        &cli.run(&["config", "unset", "PORT", "EMAIL_FROM"]),
        "PORT: removed from .env\nEMAIL_FROM: removed from .env\n",
    );
    assert_eq!(env_file(&cli), "# mine\n\nHOST=127.0.0.1\n");
}

#[test]
fn a_file_that_does_not_exist_yet() {
    let cli = Cli::new();
    let said = cli.run(&["config", "set", "PORT=8001", "--env-file", "other.env"]);
    succeeds(&said, "PORT: written to other.env\n");
    assert!(!cli.path().join(".env").exists());
}

#[test]
fn what_is_not_written() {
    let cli = Cli::new();
    cli.file(".env", "PORT=9000\n");
    is_refused(
        &cli,
        &["config", "set", "PORT=80a"],
        "PORT is not a whole number",
    );
    is_refused(&cli, &["config", "set", "PROT=1"], "did you mean PORT?");
    is_refused(
        &cli,
        &["config", "set", "NOSUCH=canary"],
        "is not a variable of todoctl",
    );
    is_refused(
        &cli,
        &["config", "set", "ENCRYPTION_KEY=canary"],
        "is not a Fernet key",
    );
    is_refused(&cli, &["config", "set", "HOST=::1", "PORT=x"], "PORT");
    is_refused(&cli, &["config", "set", "canary"], "is not NAME=VALUE");
    is_refused(
        &cli,
        &["config", "set", "DATABASE_URL.port=1"],
        "DATABASE_URL is not set",
    );
    let cli = cli.env("HOST", "::1");
    is_refused(
        &cli,
        &["config", "set", "HOST=127.0.0.1"],
        "has precedence over .env",
    );
    is_refused(
        &cli,
        &["config", "unset", "HOST"],
        "has precedence over .env",
    );
}

#[test]
fn foreign_files_and_links_that_lead_nowhere() {
    let cli = Cli::new();
    std::os::unix::fs::symlink("/dev/null", cli.path().join(".env")).unwrap();
    let said = cli.run(&["config", "set", "PORT=1"]);
    assert_eq!(said.code, 2);
    assert!(
        said.stderr.contains("it is a device, not a file"),
        "{}",
        said.stderr
    );
}

#[test]
fn secrets_from_standard_input_keep_their_old_value() {
    let old = "canary-old-0123456789abcdefghijklmnop";
    let new = "canary-new-0123456789abcdefghijklmnop";
    let cli = Cli::new();
    cli.file(".env", &format!("JWT_SECRET={old}\n"));
    let said = cli.run_with(&["config", "set", "JWT_SECRET=-"], &format!("{new}\n"));
    succeeds(&said, "JWT_SECRET: written to .env\n");
    assert_eq!(
        env_file(&cli),
        format!("JWT_SECRET={new}\nJWT_SECRET_PREVIOUS={old}\n")
    );
}

/// Secrets of the service are in use somewhere, also those that todoctl does not accept.
#[test]
fn no_secret_is_destroyed() {
    let cli = Cli::new();
    cli.file(
        ".env",
        "ENCRYPTION_KEY=canary-key\nENVIRONMENT=production\nJWT_SECRET=canary\n",
    );
    let replace = ["gen-secrets", "--write", ".env", "--replace", "--only"];
    let said = cli.run(&[&replace[..], &["ENCRYPTION_KEY"]].concat());
    succeeds(
        &said,
        "ENCRYPTION_KEY: new value written to .env; the old value, which cannot be used, is kept there in a comment\n",
    );
    let new = "new-0123456789abcdefghijklmnopqrstuv";
    let said = cli.run_with(&["config", "set", "JWT_SECRET=-"], new);
    succeeds(
        &said,
        "JWT_SECRET: written to .env; .env keeps the old value in a comment\n",
    );
    let said = cli.run(&["config", "unset", "JWT_SECRET", "NOPE"]);
    succeeds(
        &said,
        "JWT_SECRET: removed; .env keeps the old value in a comment\nNOPE: not set in .env\n",
    );
    let text = env_file(&cli);
    assert!(
        text.starts_with("#ENCRYPTION_KEY=canary-key\nENCRYPTION_KEY="),
        "{text}"
    );
    assert!(
        text.ends_with(&format!("\n#JWT_SECRET=canary\n#JWT_SECRET={new}\n")),
        "{text}"
    );

    let file = cli.path().join("key").display().to_string();
    cli.file("key", "canary-key\n");
    cli.file(".env", &format!("ENCRYPTION_KEY_FILE={file}\n"));
    let key = "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s=";
    let said = cli.run(&["config", "set", &format!("ENCRYPTION_KEY={key}")]);
    assert_eq!(said.code, 0, "{}", said.text());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{key}\n"));
    assert_eq!(
        env_file(&cli),
        format!("ENCRYPTION_KEY_FILE={file}\n#ENCRYPTION_KEY=canary-key\n")
    );
}

#[test]
fn values_of_several_lines() {
    let cli = Cli::new();
    cli.file(".env", "PORT=9000\n");
    for name in ["JWT_SECRET", "LOG_LEVEL"] {
        let said = cli.run_with(&["config", "set", &format!("{name}=-")], "canary\nx\n");
        assert_eq!(said.code, 2);
        let what = format!("the new value of {name} has several lines");
        assert!(said.stderr.contains(&what), "{}", said.stderr);
        assert!(!said.stderr.contains("canary"));
    }
    is_refused(
        &cli,
        &["config", "set", "LOG_LEVEL=a\tb"],
        "control character",
    );
}

#[test]
fn a_file_of_a_secret() {
    let cli = Cli::new();
    let file = cli.path().join("token").display().to_string();
    cli.file("token", "old-canary-0123456789abcdefghijklmnop\n");
    cli.file(".env", &format!("SERVICE_AUTH_TOKEN_FILE={file}\n"));
    let new = "new-canary-0123456789abcdefghijklmnop";
    let said = cli.run(&["config", "set", &format!("SERVICE_AUTH_TOKEN={new}")]);
    assert_eq!(said.code, 0, "{}", said.text());
    assert!(
        said.stderr.contains("which SERVICE_AUTH_TOKEN_FILE names"),
        "{}",
        said.stderr
    );
    assert!(!said.text().contains("canary"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{new}\n"));
    assert_eq!(
        env_file(&cli),
        format!(
            "SERVICE_AUTH_TOKEN_FILE={file}\nSERVICE_AUTH_TOKEN_PREVIOUS=old-canary-0123456789abcdefghijklmnop\n"
        )
    );
}

#[test]
fn parts_of_a_url() {
    let cli = Cli::new();
    cli.file(
        ".env",
        "DATABASE_URL=postgresql://todo:canary@db/todo?sslmode=require\n",
    );
    let said = cli.run_with(
        &[
            "config",
            "set",
            "DATABASE_URL.sslmode=verify-full",
            "DATABASE_URL.password=-",
        ],
        "p@ss\n",
    );
    assert_eq!(said.code, 0, "{}", said.text());
    assert_eq!(
        env_file(&cli),
        "DATABASE_URL=postgresql://todo:p%40ss@db/todo?sslmode=verify-full\n"
    );
    let said = cli.run(&["config", "unset", "DATABASE_URL.sslmode"]);
    assert_eq!(said.code, 0, "{}", said.text());
    assert_eq!(
        env_file(&cli),
        "DATABASE_URL=postgresql://todo:p%40ss@db/todo\n"
    );
    is_refused(
        &cli,
        &["config", "set", "DATABASE_URL.sslmode=maybe"],
        "unknown sslmode",
    );
}

#[test]
fn other_spellings() {
    let cli = Cli::new();
    let hex = "fb".repeat(32);
    cli.file(
        ".env",
        &format!("DATABASE_URL=postgresql://todo:pa@ss@db/todo\nENCRYPTION_KEY={hex}\nDATABSE_URI=x\nPROT=1\n"),
    );
    let said = cli.run(&[
        "config",
        "respell",
        "DATABASE_URL",
        "ENCRYPTION_KEY",
        "PROT",
    ]);
    succeeds(
        &said,
        "DATABASE_URL: written to .env\nENCRYPTION_KEY: written to .env\nPROT: renamed to PORT in .env\n",
    );
    assert_eq!(
        env_file(&cli),
        "DATABASE_URL=postgresql://todo:pa%40ss@db/todo\nENCRYPTION_KEY=-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s=\nDATABSE_URI=x\nPORT=1\n"
    );
    // A remedy that is typed twice.
    let said = cli.run(&["config", "respell", "DATABASE_URL", "PORT", "PROT"]);
    succeeds(
        &said,
        "DATABASE_URL: already right\nPORT: already right\nPROT: already renamed to PORT\n",
    );
    let cli = Cli::new();
    cli.file(".env", "DATABASE_URL=mysql://u:canary@h/d\nHOST=canary\n");
    for name in ["DATABASE_URL", "HOST"] {
        is_refused(&cli, &["config", "respell", name], "has no other spelling");
    }
    is_refused(&cli, &["config", "respell", "JWT_SECRET"], "is not set");
}

/// What is written is not what readers make of it, so a change would lose it.
#[test]
fn values_that_readers_expand() {
    let cli = Cli::new();
    let written = "DATABASE_URL=postgresql://todo:pa$x7/$HOME@db/todo\n";
    cli.file(".env", written);
    for change in [
        ["respell", "DATABASE_URL"],
        ["set", "DATABASE_URL.sslmode=require"],
    ] {
        is_refused(&cli, &["config", change[0], change[1]], "has $ in line 1");
    }
    assert_eq!(env_file(&cli), written);
    let quoted = "DATABASE_URL='postgresql://todo:pa$x7/y@db/todo'\n";
    cli.file(".env", quoted);
    succeeds(
        &cli.run(&["config", "respell", "DATABASE_URL"]),
        "DATABASE_URL: written to .env\n",
    );
    assert!(env_file(&cli).contains("pa$x7%2Fy@db") || env_file(&cli).contains("pa%24x7%2Fy@db"));
}
