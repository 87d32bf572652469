//! Every remedy that this program can produce, as far as it is known without a fault.

use std::path::Path;

use clap::CommandFactory as _;
use regex::Regex;

use super::{Cli, can_be_parsed, sources, suggestions};
use crate::config::PostgresTarget;
use crate::store::messages::{Place, all};

#[path = "../../../tests/support/remedies.rs"]
mod rules;

use rules::remedy_faults;

/// What is wrong with a remedy; its commands of todoctl have to be whole.
fn faults(remedy: &str) -> Vec<String> {
    let command = Cli::command();
    let mut faults = remedy_faults(remedy);
    for line in remedy.lines().filter(|line| line.starts_with("todoctl ")) {
        let words = shlex::split(line).unwrap_or_default();
        if let Err(error) = command.clone().try_get_matches_from(words) {
            faults.push(format!("{line}: {error}"));
        }
    }
    for suggestion in suggestions(&command, remedy) {
        if !can_be_parsed(&command, &suggestion) {
            faults.push(suggestion.join(" "));
        }
    }
    faults
}

#[test]
fn remedies_of_known_messages() {
    let mut server = PostgresTarget::fixture("db.example.com", 5433);
    server.database = "to do".to_owned();
    let places = [
        Place::Unknown,
        Place::Server(&server),
        Place::File(Path::new("/no such directory/todo.db")),
    ];
    for known in all() {
        for place in places {
            let remedy = (known.remedy)(place).to_string();
            let found = faults(&remedy);
            assert!(found.is_empty(), "{}: {found:?}\n{remedy}", known.id);
        }
    }
}

/// The texts in the calls that make a remedy, with what is filled in later.
#[test]
fn remedies_in_the_source() {
    let call =
        Regex::new(r#"Remedy::(command|note)\(\s*(?:format!\(\s*)?"((?:[^"\\]|\\.)*)""#).unwrap();
    let filled_in = Regex::new(r"\{[A-Za-z_]*\}").unwrap();
    let mut count = 0;
    for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        for found in call.captures_iter(text) {
            count += 1;
            let line = found[2].replace("\\\"", "\"");
            let line = filled_in.replace_all(&line, "1");
            let remedy = match &found[1] {
                "note" => format!("# {line}"),
                _ => line.into_owned(),
            };
            // A check alone is the remedy of errors outside of checks.
            let wrong: Vec<String> = remedy_faults(&remedy)
                .into_iter()
                .filter(|fault| fault != "it only checks again")
                .collect();
            assert!(wrong.is_empty(), "{}: {wrong:?}: {remedy}", file.display());
        }
    }
    assert!(count > 100, "only {count} remedies were found");
}

/// What the tests of the command line have seen.
#[test]
fn remedies_in_snapshots() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/snapshots");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines().map(str::trim_start) {
            let Some(remedy) = ["fix: ", "remedy: "]
                .iter()
                .find_map(|label| line.strip_prefix(label))
            else {
                continue;
            };
            count += 1;
            // Filters put placeholders of their own in brackets.
            let found = remedy_faults(&remedy.replace(['[', ']'], ""));
            let found: Vec<&String> = found
                .iter()
                .filter(|fault| *fault != "it only checks again")
                .collect();
            assert!(found.is_empty(), "{}: {found:?}: {remedy}", path.display());
        }
    }
    assert!(count > 50, "only {count} remedies were found");
}

#[test]
fn what_is_wrong_with_remedies() {
    for (remedy, is_right) in [
        ("chmod 600 .env", true),
        ("# allow this address\ntodoctl config set PORT=1", true),
        ("psql -c 'ALTER ROLE \"todo\" CONNECTION LIMIT -1'", true),
        ("psql -h HOST -c 'SELECT 1'", false),
        ("DATABASE_URL=postgresql://USER:PASSWORD@HOST/NAME", false),
        ("sudo chmod 600 .env", false),
        ("chmod 600 'x", false),
        ("todoctl config set PORT=\u{2026}", false),
        ("todoctl config put PORT=1", false),
        ("todoctl db check", false),
        ("# restart it, then: todoctl db check", false),
        (r#"psql -c 'DROP INDEX IF EXISTS "public"."mine"'"#, true),
        (
            r#"psql -c 'ALTER TABLE "tasks" DROP CONSTRAINT "tasks_pkey", ADD CONSTRAINT "tasks_pkey" PRIMARY KEY (id)'"#,
            true,
        ),
        (
            r#"psql -c 'ALTER TABLE "notifications" DROP CONSTRAINT IF EXISTS "notifications_task_id_fkey"'"#,
            false,
        ),
        (
            "psql -c 'DROP INDEX CONCURRENTLY public.tasks_user_newest_idx'",
            false,
        ),
        (
            r#"psql -c 'DROP TRIGGER "todoctl_unread_added" ON notifications'"#,
            false,
        ),
        ("sqlite3 todo.db 'DROP TABLE IF EXISTS tasks'", false),
    ] {
        let found = faults(remedy);
        assert_eq!(found.is_empty(), is_right, "{remedy}: {found:?}");
    }
}
