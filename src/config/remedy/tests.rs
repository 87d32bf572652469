//! Texts of remedies.

use super::*;
use crate::config::database_url::PostgresTarget;

#[test]
fn each_line_is_a_command_or_a_comment() {
    let remedy = Remedy::note("one\ntwo")
        .then(Remedy::command("chmod 600").arg("a b"))
        .then(Remedy::sql("SELECT 'x'\n  FROM t"))
        .then(Remedy::note("one"));
    assert_eq!(
        remedy.to_string(),
        "# one\n# two\nchmod 600 'a b'\ntodoctl db psql -c \"SELECT 'x' FROM t\""
    );
    let commands: Vec<&str> = remedy.commands().collect();
    assert_eq!(commands.len(), 2);
}

#[test]
fn an_administrator_gets_the_whole_address() {
    let server = PostgresTarget::fixture("db.example.com", 5433);
    assert_eq!(
        Remedy::admin_sql(&server, Some("owner"), "SELECT 1").to_string(),
        "psql -h db.example.com -p 5433 -U owner -d todo -c 'SELECT 1'"
    );
    assert_eq!(
        Remedy::admin_command("createdb", &server, None)
            .arg("todo")
            .to_string(),
        "createdb -h db.example.com -p 5433 -U postgres todo"
    );
}

#[test]
fn variables_change_where_they_are_set() {
    let remedy = Remedy::set("PORT", 8001)
        .then(Remedy::set("EMAIL_FROM", "Todo <a@b.c>"))
        .then(Remedy::unset("HOST"));
    assert_eq!(
        remedy.to_string(),
        "todoctl config set PORT=8001 EMAIL_FROM='Todo <a@b.c>'\ntodoctl config unset HOST"
    );
    let is_exported = |name: &str| name != "PORT";
    assert_eq!(
        remedy.resolved(&is_exported, None).to_string(),
        format!(
            "export EMAIL_FROM='Todo <a@b.c>'\nunset HOST\ntodoctl config set PORT=8001\n# {ALSO_WHERE_IT_IS_SET}"
        )
    );
}

#[test]
fn parts_of_a_url_and_another_file() {
    let remedy = Remedy::set("DATABASE_URL.sslmode", "require").then(Remedy::sql("SELECT 1"));
    assert_eq!(
        remedy
            .resolved(&|_| false, Some(Path::new("a b")))
            .to_string(),
        "todoctl --env-file 'a b' config set DATABASE_URL.sslmode=require\ntodoctl --env-file 'a b' db psql -c 'SELECT 1'"
    );
    let exported = remedy.resolved(&|name| name == "DATABASE_URL", None);
    assert!(
        exported
            .to_string()
            .starts_with("# give DATABASE_URL the sslmode require\n")
    );
}

#[test]
fn an_alternative_is_not_typed() {
    let other = Remedy::set("PORT", 1).then(Remedy::note("then restart"));
    let remedy = Remedy::command("one")
        .or(other.clone())
        .or(Remedy::command("three"));
    let text = "one\n# or: todoctl config set PORT=1\n# then restart\n# or: three";
    assert_eq!(remedy.to_string(), text);
    assert_eq!(remedy.commands().count(), 1);
    let exported = remedy.resolved(&|name| name == "PORT", None);
    assert!(exported.to_string().contains("# or: export PORT=1"));
}

#[test]
fn statements_that_fail_become_comments() {
    let remedy = Remedy::note("first")
        .then(Remedy::sql("SELECT 1"))
        .then(Remedy::command("ls"))
        .then(Remedy::sql_in_file(Path::new("a.db"), "SELECT 2"));
    let statements: Vec<Option<&str>> = remedy.statements().collect();
    assert_eq!(statements, [Some("SELECT 1"), None, Some("SELECT 2")]);
    let failing =
        remedy.without_failing(|one| (one == "SELECT 1").then_some("would fail: no\nway"));
    assert_eq!(
        failing.to_string(),
        "# first\n# would fail: no way\n# to adapt: todoctl db psql -c 'SELECT 1'\nls\nsqlite3 a.db 'SELECT 2'"
    );
}
