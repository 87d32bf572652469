//! Lines as they are written in other files (of compose, Docker, systemd, JSON, Windows), or with
//! characters that only look like those of a name.

use crate::config::bare_secret::TYPOGRAPHIC_QUOTES;
use crate::config::env_file::assignments;
use crate::config::env_file::line::{is_name, name};
use crate::config::variable::Variable;

/// What stands before an assignment there.
const BEFORE: [&str; 11] = [
    "- ",
    "-e ",
    "--env ",
    "declare -x ",
    "setenv ",
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
    let is_known = |name: &str| Variable::of(name).is_some();
    let is_read = assignments(line).is_ok();
    if body.starts_with('#') || is_read && name(line).is_none_or(is_known) {
        return None;
    }
    // At the end of the file a blank without a line break is an error.
    let end = line[line.trim_end().len()..].trim_matches([' ', '\t']);
    if AROUND.contains(&body) {
        return Some(String::new());
    }
    let mut prefixes = BEFORE.iter();
    let inner = prefixes.find_map(|before| body.strip_prefix(before));
    let (own_name, value) = parts(without_quotes(inner.unwrap_or(body)))?;
    let written = format!("{own_name}={}", with_plain_quotes(value));
    // Of another program's only the signs around it are known.
    let is_mended = is_known(&own_name) || !is_read && body.contains(&own_name);
    let is_right = assignments(&written).is_ok_and(|values| values.len() == 1);
    (is_mended && is_right).then(|| written + end)
}

/// A name and its value, with one of the signs between them that are used in such files.
fn parts(text: &str) -> Option<(String, &str)> {
    let at = text.find([':', '=', ' ', '\t', '\u{ff1d}'])?;
    let (left, rest) = text.split_at(at);
    // In JSON a comma follows, and in YAML a blank is between both.
    let is_json = left.ends_with('"');
    let own_name: String = without_quotes(left).chars().map(plain).collect();
    let right = rest.trim_start();
    let (value, is_apart) = if let Some(value) = right.strip_prefix(['=', '\u{ff1d}']) {
        (value, true)
    } else if let Some(value) = right.strip_prefix(':') {
        (value, is_json || value.starts_with(' '))
    } else {
        // As in a Dockerfile, or where the sign was lost.
        let is_word = !right.contains([' ', '=', ':']);
        (right, is_word && Variable::of(&own_name).is_some())
    };
    let value = value.trim();
    let value = if is_json {
        value.trim_end_matches(',')
    } else {
        value
    };
    (is_apart && is_name(&own_name)).then_some((own_name, value))
}

/// Without a pair of double quotes around all of it.
fn without_quotes(text: &str) -> &str {
    let inner = text.strip_prefix('"').and_then(|one| one.strip_suffix('"'));
    inner.filter(|one| !one.contains('"')).unwrap_or(text)
}

/// With single quotes in place of those that a word processor has put around the value.
fn with_plain_quotes(value: &str) -> String {
    let inner = value.trim_matches(TYPOGRAPHIC_QUOTES);
    if inner.len() == value.len() || inner.contains('\'') {
        value.to_owned()
    } else {
        format!("'{inner}'")
    }
}

/// The sign of a name that another one looks like: Cyrillic and wide letters, and dashes.
fn plain(sign: char) -> char {
    const CYRILLIC: (&str, &str) = ("АВСЕНІЈКМОРЅТХУ", "ABCEHIJKMOPSTXY");
    let mut pairs = CYRILLIC.0.chars().zip(CYRILLIC.1.chars());
    match sign {
        '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' => '_',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(sign) - 0xfee0).unwrap_or(sign),
        _ => pairs
            .find(|(other, _)| *other == sign)
            .map_or(sign, |(_, plain)| plain),
    }
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
            "PORT 8000",
            "ENV PORT 8000",
            "-e PORT=8000",
            "declare -x PORT=8000",
            "setenv PORT 8000",
            "P\u{41e}RT=8000",
            "PORT\u{ff1d}8000",
        ] {
            let found = as_assignment(&format!("{line}\n"));
            assert_eq!(found.as_deref(), Some("PORT=8000\n"), "{line}");
        }
        for (line, expected) in [
            ("$env:HOST = \"::1\"\r\n", "HOST=\"::1\"\r\n"),
            ("  \"OTHER\": \"a b\",\n", "OTHER=\"a b\"\n"),
            ("LOG-LEVEL=info\n", "LOG_LEVEL=info\n"),
            (
                "EMAIL_FROM=\u{201c}A <a@b>\u{201d}\n",
                "EMAIL_FROM='A <a@b>'\n",
            ),
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
            "OTHER words",
            "PORT is this",
        ] {
            assert_eq!(as_assignment(line), None, "{line}");
        }
    }
}
