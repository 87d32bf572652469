//! What a remedy must not have. The unit tests of `src/cli` use this file too.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

/// The names of what the migrations of both engines make.
static OWN: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let history = include_str!("../../src/store/migrate/history.json");
    let history: serde_json::Value = serde_json::from_str(history).unwrap();
    let versions = history.as_object().unwrap().values();
    let objects = versions.flat_map(|objects| objects.as_object().unwrap());
    let mut own: BTreeSet<String> = objects
        .flat_map(|(object, parts)| {
            let parts = parts.as_object().unwrap().keys();
            parts
                .filter(|part| !part.starts_with("column "))
                .chain([object])
        })
        .filter_map(|named| Some(named.split_once(' ')?.1.to_owned()))
        .collect();
    let create = Regex::new(r"CREATE (?:UNIQUE |VIRTUAL )?(?:TABLE|INDEX|TRIGGER) (\w+)").unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        own.extend(create.captures_iter(&text).map(|found| found[1].to_owned()));
    }
    own
});

/// What commands drop of todoctl's own and do not make again: where somebody else's fault is
/// corrected, it has to stay.
fn dropped(commands: &[&str]) -> Vec<String> {
    let commands = commands.join("\n");
    let drop = Regex::new(
        r#"(?:DROP (?:TABLE|INDEX|TRIGGER|FUNCTION|CONSTRAINT|TYPE|SEQUENCE)|DISABLE TRIGGER) (?:CONCURRENTLY )?(?:IF EXISTS )?((?:"[^"]+"|\w+)(?:\.(?:"[^"]+"|\w+))?)"#,
    )
    .unwrap();
    let names = drop.captures_iter(&commands).map(|found| {
        let name = found[1].rsplit('.').next().unwrap_or_default();
        name.trim_matches('"').to_owned()
    });
    names
        .filter(|name| OWN.contains(name))
        .filter(|name| {
            let again = format!(
                r#"(?:ADD CONSTRAINT|RENAME TO|CREATE [^;]*?) (?:IF NOT EXISTS )?(?:"?\w+"?\.)?"?{name}\b"#
            );
            !Regex::new(&again).unwrap().is_match(&commands)
        })
        .collect()
}

/// What is wrong with the text of a remedy: something left to replace, a line that is neither a
/// command nor a comment, `sudo`, or nothing but another check.
#[must_use]
pub fn remedy_faults(remedy: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let (comments, commands): (Vec<&str>, Vec<&str>) =
        remedy.lines().partition(|line| line.starts_with("# "));
    for name in dropped(&commands) {
        faults.push(format!("it drops {name} of todoctl"));
    }
    for line in &commands {
        let Some(words) = shlex::split(line) else {
            faults.push(format!("no shell command: {line}"));
            continue;
        };
        // HOST is a variable too.
        let names_variables = ["unset ", "config unset ", "config respell "];
        if names_variables.iter().any(|command| line.contains(command)) {
            continue;
        }
        for word in &words {
            let value = word
                .split_once('=')
                .map_or(word.as_str(), |(_, value)| value);
            // A statement of SQL is one word, in which these are its own words.
            let mut parts = value.split(['=', ':', '/', '@', ',']);
            if parts.any(|part| PLACEHOLDERS.contains(&part)) {
                faults.push(format!("{word} is left to replace: {line}"));
            }
        }
    }
    // Who reads it may be neither root nor the user who is meant.
    let without_user = remedy.replace("sudo -u '#", "");
    if without_user.contains("sudo ") {
        faults.push("it has sudo".to_owned());
    }
    for sign in ["\u{2026}", "{", "<your", "$DATABASE_URL"] {
        if remedy.contains(sign) {
            faults.push(format!("it has {sign:?}"));
        }
    }
    let is_check =
        |line: &str| CHECKS.iter().any(|check| line.starts_with(check)) && !line.contains(" --fix");
    if comments.is_empty() && !commands.is_empty() && commands.iter().all(|line| is_check(line)) {
        faults.push("it only checks again".to_owned());
    }
    if comments
        .iter()
        .any(|line| CIRCULAR.iter().any(|text| line.contains(text)))
    {
        faults.push("it only says to check again".to_owned());
    }
    faults
}

const PLACEHOLDERS: &[&str] = &[
    "ROLE",
    "FILE",
    "PID",
    "HOST",
    "HOST:PORT",
    "USER",
    "PASSWORD",
    "NAME",
    "ADMIN",
    "TABLE",
    "DATABASE",
    "OLD_OWNER",
    "VALUE",
];

const CHECKS: [&str; 3] = ["todoctl doctor", "todoctl db check", "todoctl config check"];

const CIRCULAR: [&str; 4] = [
    "run doctor",
    "run todoctl doctor",
    "then: todoctl db check",
    "todoctl db check again",
];
