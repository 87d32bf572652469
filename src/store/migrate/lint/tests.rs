use super::*;
use crate::config::{PostgresTarget, SqliteTarget, TlsMode};

fn sqlite() -> DatabaseTarget {
    DatabaseTarget::Sqlite(SqliteTarget { path: "x".into() })
}

fn postgres() -> DatabaseTarget {
    DatabaseTarget::Postgres(PostgresTarget {
        host: "db".to_owned(),
        port: 5432,
        user: "todo".to_owned(),
        password: None,
        database: "todo".to_owned(),
        tls: TlsMode::Disable,
        root_cert: None,
        options: None,
        application_name: "todoctl".to_owned(),
        pooled: false,
    })
}

fn existing() -> Existing {
    Existing {
        tables: ["tasks", "notifications"].map(str::to_owned).into(),
        indexes: ["tasks_built_idx".to_owned()].into(),
    }
}

/// The rules that a migration breaks, in order.
fn broken_by(target: &DatabaseTarget, sql: &str) -> Vec<&'static str> {
    let file = UpFile {
        version: 9,
        name: "test".to_owned(),
        sql: sql.to_owned(),
    };
    read(target, &[file], existing())
        .iter()
        .map(|finding| finding.rule)
        .collect()
}

#[test]
fn what_hurts_on_postgres() {
    for (sql, rules) in [
        ("CREATE INDEX i ON tasks (title)", &["create-index"][..]),
        (
            "CREATE INDEX IF NOT EXISTS tasks_built_idx ON tasks (title)",
            &[],
        ),
        (
            "CREATE INDEX CONCURRENTLY i ON tasks (title)",
            &["concurrently"],
        ),
        ("DROP INDEX CONCURRENTLY i", &["concurrently"]),
        (
            "ALTER TABLE tasks ALTER COLUMN title TYPE text",
            &["change-type"],
        ),
        (
            "ALTER TABLE tasks ALTER COLUMN title SET NOT NULL",
            &["set-not-null"],
        ),
        ("ALTER TABLE tasks ADD COLUMN c text", &[]),
        (
            "ALTER TABLE tasks ADD COLUMN c text NOT NULL DEFAULT 'x'",
            &[],
        ),
        (
            "ALTER TABLE tasks ADD COLUMN c timestamptz NOT NULL DEFAULT now()",
            &[],
        ),
        ("ALTER TABLE tasks ADD COLUMN c boolean DEFAULT false", &[]),
        (
            "ALTER TABLE tasks ADD COLUMN c jsonb DEFAULT '{}'::jsonb",
            &[],
        ),
        (
            "ALTER TABLE tasks ADD COLUMN c uuid DEFAULT gen_random_uuid()",
            &["volatile-default"],
        ),
        (
            "ALTER TABLE tasks ADD COLUMN c bigserial",
            &["volatile-default"],
        ),
        (
            "ALTER TABLE tasks ADD COLUMN c text NOT NULL",
            &["not-null-without-default"],
        ),
        (
            "ALTER TABLE tasks ADD COLUMN c bigint REFERENCES notifications (id)",
            &[],
        ),
        (
            "ALTER TABLE tasks ADD COLUMN c bigint UNIQUE",
            &["checked-column"],
        ),
        (
            "ALTER TABLE tasks ADD CONSTRAINT k CHECK (id > 0)",
            &["add-constraint"],
        ),
        (
            "ALTER TABLE tasks ADD CONSTRAINT k CHECK (id > 0) NOT VALID",
            &[],
        ),
        ("ALTER TABLE tasks VALIDATE CONSTRAINT k", &[]),
        (
            "ALTER TABLE notifications ADD CONSTRAINT k FOREIGN KEY (task_id) REFERENCES tasks (id)",
            &["add-constraint"],
        ),
        (
            "ALTER TABLE tasks ADD CONSTRAINT k UNIQUE (title)",
            &["add-unique"],
        ),
        (
            "ALTER TABLE tasks ADD CONSTRAINT k UNIQUE USING INDEX i",
            &[],
        ),
        ("ALTER TABLE tasks DROP COLUMN title", &["drop-column"]),
        ("ALTER TABLE tasks RENAME COLUMN title TO name", &["rename"]),
        ("ALTER TABLE public.\"tasks\" RENAME TO todos", &["rename"]),
        ("DROP TABLE tasks, elsewhere", &["drop-table"]),
        ("TRUNCATE tasks", &["truncate"]),
        ("DELETE FROM tasks", &["truncate"]),
        ("DELETE FROM tasks WHERE completed", &["delete"]),
        ("UPDATE tasks SET title = ''", &["update-all"]),
        ("UPDATE tasks SET title = '' WHERE title IS NULL", &[]),
        (
            "DO $$ BEGIN EXECUTE 'DROP TABLE tasks'; END $$",
            &["unread"],
        ),
        ("SET LOCAL lock_timeout = '1s'", &[]),
        ("SELECT 1;", &[]),
    ] {
        assert_eq!(broken_by(&postgres(), sql), rules, "{sql}");
    }
}

/// Nobody waits for a table that was not there before, and nobody misses it.
#[test]
fn new_tables_hurt_nobody() {
    let sql = "CREATE TABLE colours (id bigserial PRIMARY KEY, name text);\n\n\
               CREATE INDEX i ON colours (name);\n\nALTER TABLE colours ADD COLUMN c text NOT NULL;\n\n\
               DROP TABLE colours;";
    assert!(broken_by(&postgres(), sql).is_empty());
    assert!(broken_by(&sqlite(), sql).is_empty());
}

#[test]
fn what_hurts_on_sqlite() {
    for (sql, rules) in [
        // One writer at a time anyway, and no table is large.
        ("CREATE INDEX i ON tasks (title)", &[][..]),
        ("ALTER TABLE tasks DROP COLUMN title", &["drop-column"]),
        (
            "ALTER TABLE tasks ADD COLUMN c TEXT NOT NULL",
            &["not-null-without-default"],
        ),
        ("DROP TABLE tasks", &["drop-table"]),
        (
            "CREATE TABLE tasks_new (id INTEGER PRIMARY KEY);\n\nINSERT INTO tasks_new SELECT id FROM tasks;\n\n\
             DROP TABLE tasks;\n\nALTER TABLE tasks_new RENAME TO tasks;\n\nCREATE INDEX i ON tasks (id);",
            &["rebuild-table"],
        ),
    ] {
        assert_eq!(broken_by(&sqlite(), sql), rules, "{sql}");
    }
}

#[test]
fn a_comment_allows_what_is_meant() {
    let allowed = "-- Nobody reads it since 2.0.\n-- lint: allow drop-column\nALTER TABLE tasks DROP COLUMN title;";
    assert!(broken_by(&postgres(), allowed).is_empty());
    let another = allowed.replace("drop-column", "drop-table");
    assert_eq!(broken_by(&postgres(), &another), ["drop-column"]);
}

#[test]
fn every_rule_has_its_own_id() {
    let ids: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(ids.len(), RULES.len());
}

#[test]
fn a_finding_names_the_statement_without_its_comments() {
    let file = UpFile {
        version: 9,
        name: "test".to_owned(),
        sql: format!("-- Why.\nDROP TABLE\n  tasks, {}", "x".repeat(200)),
    };
    let findings = read(&postgres(), &[file], existing());
    assert!(findings[0].statement.starts_with("DROP TABLE tasks, xxx"));
    assert!(findings[0].statement.ends_with('…'));
    assert_eq!(findings[0].table.as_deref(), Some("tasks"));
}
