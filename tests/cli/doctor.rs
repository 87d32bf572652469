//! `todoctl doctor`, `config` and `explain`: how they look.
//!
//! What they find is tested in `tests/faults`.

use crate::cli::{Cli, assert_said};

/// With nothing that differs from machine to machine: no daemon, no way out.
fn cli() -> Cli {
    Cli::new()
        .env("PORT", "1")
        .env("HOST", "0.0.0.0")
        .env("GEMINI_API_URL", "http://127.0.0.1:1")
}

#[test]
fn doctor() {
    let cli = cli();
    assert_said("doctor_fresh", &cli.run(&["doctor"]));
    cli.run(&["migrate", "up"]);
    assert_said("doctor", &cli.run(&["doctor"]));
    assert_said("doctor_verbose", &cli.run(&["doctor", "--verbose"]));
    assert_said(
        "doctor_json",
        &cli.run(&[
            "doctor",
            "--only",
            "config.cors",
            "--only",
            "database.tls",
            "--format",
            "json",
        ]),
    );
    let strict = cli.run(&["doctor", "--only", "config.secrets", "--strict"]);
    assert_eq!(strict.code, 1);
    assert_said("doctor_strict", &strict);
}

#[test]
fn config() {
    let secret = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
    let cli = cli()
        .env("JWT_SECRET", secret)
        .env("SERVICE_AUTH_TOKEN", "canary")
        .env("DATABASE_URL_UNPOOLED", "postgresql://todo:canary@db/todo")
        .env("DB_POOL_SIZE", "7");
    cli.file(".env", "HOST=127.0.0.1\nLOG_FORMAT=json\n");
    for (name, arguments) in [
        ("config_show", &["config", "show"][..]),
        ("config_show_env", &["config", "show", "--format", "env"]),
        ("config_show_json", &["config", "show", "--format", "json"]),
        ("config_check", &["config", "check"]),
    ] {
        let said = cli.run(arguments);
        assert!(!said.text().contains("canary"), "{}", said.text());
        assert!(!said.text().contains(secret), "{}", said.text());
        assert_said(name, &said);
    }
}

#[test]
fn explain() {
    let cli = Cli::new();
    for (name, arguments, input) in [
        (
            "explain",
            &[
                "explain",
                "FATAL: remaining connection slots are reserved for roles",
            ][..],
            "",
        ),
        (
            "explain_stdin",
            &["explain", "-"],
            "ERROR:  endpoint is disabled\n",
        ),
        ("explain_unknown", &["explain", "the moon is full"], ""),
        (
            "explain_json_log",
            &["explain"],
            r#"todo-1  | {"level":"WARN","message":"request failed","error":"prepared statement \"sqlx_s_1\" already exists"}"#,
        ),
        (
            "explain_json",
            &["explain", "SQLSTATE 53300", "--format", "json"],
            "",
        ),
        ("explain_check", &["explain", "database.tls"], ""),
    ] {
        assert_said(name, &cli.run_with(arguments, input));
    }
}

/// A URL from standard input: no environment, no process list.
#[test]
fn a_url_from_standard_input() {
    let said = Cli::new().run_with(
        &["db", "check", "--url", "-"],
        "postgresql://u:canary@127.0.0.1:1/db\n",
    );
    assert!(!said.text().contains("canary"));
    assert_said("db_check_url_stdin", &said);
}
