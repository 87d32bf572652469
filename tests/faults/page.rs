//! `docs/checks.md`: generated from the definitions of the checks.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::faults::harness::{After, Fault};
use crate::faults::{Broken, all};

const UPDATE: &str = "TODOCTL_UPDATE_DOCS";

const INTRODUCTION: &str = "\
<!-- Generated: TODOCTL_UPDATE_DOCS=1 cargo nextest run the_page_of_checks -->
# Checks

`todoctl doctor` runs all checks, `todoctl db check` those of the database, and
`todoctl config check` those of the configuration. `todoctl doctor --only ID` runs one check or
one group, and `todoctl explain ID` prints its section of this page.

| outcome | meaning |
|---|---|
| ok | nothing to do |
| WARN | it works, but needs attention; exit code 1 with `--strict` |
| FAIL | it does not work; exit code 1 |
| skip | not checked: not configured, or a check that it needs failed |

Each check can also be skipped because one that it needs failed, and fails if it has no answer
within its time limit.

`todoctl doctor` tries remedies that change the schema, rows or rights of the database, in a
transaction that is rolled back. Commands that would fail or would not help are comments that say
why, and `--fix` does not run them. In a report as JSON, `remedy_tried` is `\"works\"`, `\"fails\"`, or
null if a command of the remedy was not tried: because an administrator has to run it, because a
table is in use, or because it takes too long. Requests may wait for such a transaction for a
second. `--watch` and `--format prometheus` try nothing.
";

const FAULTS: &str = "
## Tested faults

Each of these faults is made for real, and the remedy is typed literally into a shell: the check
ends as in the last column, the symptom is gone, and no data has changed.

| fault | what clients notice | check | outcome | remedy | afterwards |
|---|---|---|---|---|---|
";

#[test]
fn the_page_of_checks() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/checks.md");
    let page = page();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let file = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        file == page,
        "docs/checks.md is out of date; to write it: {UPDATE}=1 cargo nextest run the_page_of_checks"
    );
}

/// Ids in the documentation and in alerts exist, and each runbook says which checks it is about.
#[test]
fn ids_in_the_documentation() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/checks.md")).unwrap();
    let mut files = vec![root.join("README.md"), root.join("docs/migrating.md")];
    for folder in ["docs/runbooks", "docs/deploy"] {
        let entries = std::fs::read_dir(root.join(folder)).unwrap();
        files.extend(entries.map(|entry| entry.unwrap().path()));
    }
    let id = regex::Regex::new(r"\b(?:config|database|services|daemon)\.[a-z_]+\b").unwrap();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for id in id.find_iter(&text) {
            let anchor = format!("<a id=\"{}\"></a>", id.as_str());
            assert!(
                page.contains(&anchor),
                "{}: {}",
                file.display(),
                id.as_str()
            );
        }
        let is_runbook = file
            .parent()
            .is_some_and(|folder| folder.ends_with("runbooks"));
        let is_linked = text.contains("](../checks.md#");
        assert!(
            !is_runbook || is_linked || file.ends_with("README.md"),
            "{}",
            file.display()
        );
    }
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut rows = Vec::new();
    for group in ["config", "database", "services", "daemon"] {
        let output = Broken::new().output(&["explain", group, "--format", "json"]);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = said["checks"].as_array().unwrap();
        let _ = writeln!(page, "\n## {}", text(&checks[0]["group"]));
        for check in checks {
            page += &section(check);
            rows.extend(faults_of(text(&check["id"])));
        }
    }
    page + FAULTS + &rows.concat()
}

/// The rows of the faults that this check finds.
fn faults_of(id: &str) -> Vec<String> {
    let mut faults: Vec<&Fault> = all().filter(|fault| fault.check == id).collect();
    faults.sort_by_key(|fault| fault.title);
    let row = |fault: &&Fault| {
        let (remedy, after) = match fault.after {
            After::Typed(outcome) => ("typed as printed".to_owned(), word(outcome)),
            After::Person(why) => (format!("for a person: {why}"), word("pass")),
        };
        let cells = [
            fault.title.to_owned(),
            fault.symptom.to_string(),
            format!("[`{id}`](#{id})"),
            word(fault.outcome),
            remedy,
            after,
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        format!("| {} |\n", cells.join(" | "))
    };
    faults.iter().map(row).collect()
}

/// GitHub removes the dots from the anchors that it makes of headings, so each id has its own.
fn section(check: &Value) -> String {
    let id = text(&check["id"]);
    let mut section = format!(
        "\n<a id=\"{id}\"></a>\n### {}: `{id}`\n",
        text(&check["title"])
    );
    let _ = writeln!(section, "\n{}", text(&check["about"]));
    let _ = writeln!(section, "\n* Outcomes: {}", list(&check["outcomes"], word));
    if let Some(fix) = check["fix"].as_str() {
        let _ = writeln!(section, "* `doctor --fix`: {fix}");
    }
    let link = |id: &str| format!("[`{id}`](#{id})");
    if check["needs"]
        .as_array()
        .is_some_and(|needs| !needs.is_empty())
    {
        let _ = writeln!(section, "* Needs: {}", list(&check["needs"], link));
    }
    section
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn list(values: &Value, form: impl Fn(&str) -> String) -> String {
    let values = values.as_array().unwrap().iter();
    let texts: Vec<String> = values.map(|one| form(text(one))).collect();
    texts.join(", ")
}

/// As `doctor` prints an outcome.
fn word(outcome: &str) -> String {
    match outcome {
        "pass" => "ok".to_owned(),
        "skip" => "skip".to_owned(),
        other => other.to_uppercase(),
    }
}
