//! Lines as they are written in other files: of compose, Docker, systemd, JSON, Windows.

use crate::config::env_file::assignments;
use crate::config::env_file::line::{is_name, name};
use crate::config::variable::Variable;

/// What stands before an assignment there.
const BEFORE: [&str; 7] = [
    "- ",
    "set ",
    "SET ",
    "ENV ",
    "env ",
    "$env:",
    "Environment=",
];

/// Lines around assignments.
const AROUND: [&str; 3] = ["{", "}", "---"];

/// The line as one of a `.env` file.
pub(super) fn as_assignment(line: &str) -> Option<String> {
    let body = line.trim();
    let is_read = assignments(line).is_ok();
    let is_known = |name: &str| Variable::of(name).is_some();
    if body.starts_with('#') || name(line).is_some_and(is_known) {
        return None;
    }
    let end = &line[line.trim_end().len()..];
    if AROUND.contains(&body) {
        return Some(String::new());
    }
    let mut prefixes = BEFORE.iter();
    let inner = prefixes.find_map(|before| body.strip_prefix(before));
    let inner = without_quotes(inner.unwrap_or(body));
    let at = inner.find([':', '='])?;
    let own_name = without_quotes(inner[..at].trim());
    let value = inner[at + 1..].trim();
    // In JSON a comma follows, and in YAML a blank is between both.
    let is_json = inner[..at].trim().ends_with('"');
    let value = if is_json {
        value.trim_end_matches(',')
    } else {
        value
    };
    let is_of_yaml = inner[at..].starts_with(": ") || is_json;
    if inner[at..].starts_with(':') && !is_of_yaml || !is_name(own_name) {
        return None;
    }
    let written = format!("{own_name}={value}");
    let is_mended = is_known(own_name) || !is_read;
    let is_right = assignments(&written).is_ok_and(|values| values.len() == 1);
    (is_mended && is_right).then(|| written + end)
}

/// Without a pair of double quotes around all of it.
fn without_quotes(text: &str) -> &str {
    let inner = text.strip_prefix('"').and_then(|one| one.strip_suffix('"'));
    inner.filter(|one| !one.contains('"')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_other_files() {
        for line in [
            "PORT: 8000",
            "- PORT=8000",
            "  - PORT: 8000",
            "set PORT=8000",
            "ENV PORT=8000",
            "Environment=PORT=8000",
            "Environment=\"PORT=8000\"",
            "\"PORT\": 8000,",
        ] {
            let found = as_assignment(&format!("{line}\n"));
            assert_eq!(found.as_deref(), Some("PORT=8000\n"), "{line}");
        }
        for (line, expected) in [
            ("$env:HOST = \"::1\"\r\n", "HOST=\"::1\"\r\n"),
            ("  \"OTHER\": \"a b\",\n", "OTHER=\"a b\"\n"),
            ("{\n", ""),
        ] {
            assert_eq!(as_assignment(line).as_deref(), Some(expected), "{line}");
        }
        for line in [
            "PORT=8000",
            "# PORT: 8000",
            "Environment=OTHER=1",
            "OTHER=PORT: 8000",
            "-----BEGIN X-----",
            "https://example.com",
            "some words: a b",
        ] {
            assert_eq!(as_assignment(line), None, "{line}");
        }
    }
}
