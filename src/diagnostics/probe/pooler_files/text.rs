//! The words of PgBouncer's files.

/// The words `name=value` of a line; a value in quotes has two for one.
pub(super) fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let (value, left) = match after.strip_prefix('\'') {
            Some(quoted) => until_quote(quoted, '\''),
            None => {
                let end = after.find(char::is_whitespace).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        found.push((name.trim().to_owned(), value));
        rest = left.trim_start();
    }
    found
}

/// What an `auth_file` has for a user; of several lines the last one counts.
pub(super) fn password_of(text: &str, user: &str) -> Option<String> {
    text.lines().rev().find_map(|line| {
        let (name, password) = quoted_pair(line)?;
        (name == user).then_some(password)
    })
}

/// A line of an `auth_file`: `"user" "password"`.
fn quoted_pair(line: &str) -> Option<(String, String)> {
    let (user, rest) = until_quote(line.trim_start().strip_prefix('"')?, '"');
    let (password, _) = until_quote(rest.trim_start().strip_prefix('"')?, '"');
    Some((user, password))
}

/// The text before the quote that ends it, and what follows it. Two quotes stand for one.
fn until_quote(text: &str, quote: char) -> (String, &str) {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let Some((part, after)) = rest.split_once(quote) else {
            value.push_str(rest);
            return (value, "");
        };
        value.push_str(part);
        match after.strip_prefix(quote) {
            Some(after) => {
                value.push(quote);
                rest = after;
            }
            None => return (value, after),
        }
    }
}

/// In the text of a log.
pub(super) fn last_reason(log: &str, database: &str) -> Option<String> {
    let of_database = format!(": {database}/");
    let mut lines = log.lines().rev().filter(|line| {
        line.split_once(" S-")
            .is_some_and(|(_, rest)| rest.contains(&of_database))
    });
    let line = lines.find(|line| !line.contains("closing because: failed to answer authreq"))?;
    let reason = match line.split_once("closing because: ") {
        Some((_, reason)) => reason
            .rsplit_once(" (age=")
            .map_or(reason, |(reason, _)| reason),
        None => &line[line.find("server login failed")?..],
    };
    let is_usual = USUAL_REASONS.iter().any(|usual| reason.starts_with(usual));
    (!is_usual).then(|| reason.to_owned())
}

/// Why server connections are closed while all is well.
const USUAL_REASONS: [&str; 10] = [
    "client disconnect",
    "client unexpected eof",
    "client close request",
    "server idle timeout",
    "server lifetime over",
    "server in use too long",
    "reconnect",
    "RECONNECT",
    "unclean server",
    "database configuration changed",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log() {
        let line = |text: &str| format!("2031-01-01 00:00:00.000 UTC [7] {text}\n");
        let new =
            line("LOG S-0x1: todo/todo@127.0.0.1:5432 new connection to server (from 127.0.0.1:1)");
        let failed = line(
            "LOG S-0x1: todo/todo@127.0.0.1:5432 closing because: server refused SSL (age=0s)",
        );
        let refused = line("WARNING S-0x1: todo/todo@127.0.0.1:5432 server login failed: FATAL no");
        let other =
            line("LOG S-0x2: other/todo@127.0.0.1:5432 closing because: connect failed (age=0s)");
        let client =
            line("LOG C-0x3: todo/todo@127.0.0.1:9 closing because: client close request (age=0s)");
        let of = |lines: &[&String]| {
            let text: String = lines.iter().map(|line| line.as_str()).collect();
            last_reason(&text, "todo")
        };
        let reason = Some("server refused SSL".to_owned());
        assert_eq!(of(&[&new, &failed, &other, &client]), reason);
        assert_eq!(of(&[&failed, &new]), None);
        let said = Some("server login failed: FATAL no".to_owned());
        assert_eq!(of(&[&new, &refused]), said);
        let usual = line(
            "LOG S-0x1: todo/todo@127.0.0.1:5432 closing because: server idle timeout (age=9s)",
        );
        assert_eq!(of(&[&failed, &usual]), None);
        assert_eq!(of(&[]), None);
    }
}
