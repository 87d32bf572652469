//! Help texts and mistakes on the command line.

use crate::cli::{Cli, assert_said};

#[test]
fn help() {
    let cli = Cli::new();
    for (name, arguments) in [
        ("help", &["--help"][..]),
        ("help_serve", &["serve", "--help"]),
        ("help_gen_secrets", &["gen-secrets", "--help"]),
        ("help_db", &["db", "--help"]),
        ("help_db_check", &["db", "check", "--help"]),
        ("help_db_psql", &["db", "psql", "--help"]),
        ("help_config_set", &["config", "set", "--help"]),
        ("help_config_unset", &["config", "unset", "--help"]),
        ("help_config_respell", &["config", "respell", "--help"]),
        ("help_migrate", &["migrate", "--help"]),
        ("help_migrate_up", &["migrate", "up", "--help"]),
        ("help_migrate_down", &["migrate", "down", "--help"]),
        ("help_migrate_status", &["migrate", "status", "--help"]),
        ("help_migrate_check", &["migrate", "check", "--help"]),
        ("help_migrate_new", &["migrate", "new", "--help"]),
        ("help_health", &["health", "--help"]),
        ("help_doctor", &["doctor", "--help"]),
        ("help_explain", &["explain", "--help"]),
        ("help_config", &["config", "--help"]),
        ("help_config_show", &["config", "show", "--help"]),
        ("help_config_check", &["config", "check", "--help"]),
        ("help_session", &["session", "--help"]),
        ("help_session_create", &["session", "create", "--help"]),
        ("help_session_list", &["session", "list", "--help"]),
        ("help_session_revoke", &["session", "revoke", "--help"]),
        ("help_openapi", &["openapi", "--help"]),
    ] {
        let said = cli.run(arguments);
        let widest = said.stdout.lines().map(str::len).max();
        assert!(widest <= Some(80), "{name} is {widest:?} wide");
        assert_said(name, &said);
    }
}

#[test]
fn mistakes() {
    let cli = Cli::new();
    for (name, arguments) in [
        ("usage_nothing", &[][..]),
        ("usage_unknown_command", &["serv"]),
        ("usage_unknown_option", &["migrate", "up", "--force"]),
        (
            "usage_two_ways_down",
            &["migrate", "down", "--all", "--to", "1"],
        ),
        ("usage_zero_steps", &["migrate", "down", "--steps", "0"]),
        (
            "usage_dry_run_and_yes",
            &["migrate", "down", "--dry-run", "--yes"],
        ),
        ("usage_no_name", &["migrate", "new"]),
        ("usage_bad_format", &["db", "check", "--format", "yaml"]),
        ("usage_bad_id", &["doctor", "--only", "databas"]),
        ("usage_no_replicas", &["db", "check", "--replicas", "0"]),
        ("usage_no_message", &["explain"]),
        ("usage_no_url", &["db", "check", "--url", "-"]),
        ("usage_no_user", &["session", "create"]),
        ("usage_blank_user", &["session", "create", "--user", " "]),
        (
            "usage_bad_ttl",
            &["session", "create", "--user", "a", "--ttl", "soon"],
        ),
        ("usage_bad_secret", &["gen-secrets", "--only", "PASSWORD"]),
        (
            "usage_no_env_file",
            &["--env-file", "none.env", "migrate", "status"],
        ),
    ] {
        let said = cli.run(arguments);
        assert_eq!(said.code, 2, "{name}: {}", said.text());
        assert!(said.stdout.is_empty(), "{name}");
        assert_said(name, &said);
    }
    assert_eq!(std::fs::read_dir(cli.path()).unwrap().count(), 0);
}
