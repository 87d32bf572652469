//! The passwords that PostgreSQL's clients find by themselves (libpq, "The Password File").

use std::path::PathBuf;

use crate::config::PostgresTarget;

/// Whether a client finds a password for `role` on this server.
pub(super) fn has_password(server: &PostgresTarget, role: &str) -> bool {
    if std::env::var_os("PGPASSWORD").is_some() {
        return true;
    }
    let named = std::env::var_os("PGPASSFILE").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".pgpass"));
    let file = named.or_else(home);
    let text = file.and_then(|file| std::fs::read_to_string(file).ok());
    text.is_some_and(|text| names(&text, server, role))
}

/// Whether a line is for the role on the server.
fn names(text: &str, server: &PostgresTarget, role: &str) -> bool {
    let host = server.host.trim_matches(['[', ']']);
    let host = if host.starts_with('/') {
        "localhost"
    } else {
        host
    };
    let port = server.port.to_string();
    text.lines().any(|line| {
        let line = line.replace("\\:", "\u{1}").replace("\\\\", "\\");
        let fields: Vec<String> = line
            .split(':')
            .map(|field| field.replace('\u{1}', ":"))
            .collect();
        let is_for = |index: usize, value: &str| {
            let field = fields.get(index);
            field.is_some_and(|field| field == "*" || field == value)
        };
        !line.starts_with('#') && is_for(0, host) && is_for(1, &port) && is_for(3, role)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_password_file() {
        let server = PostgresTarget::fixture("[::1]", 5432);
        for (text, expected) in [
            ("\\:\\:1:5432:*:postgres:x", true),
            ("*:*:*:*:x", true),
            ("#*:*:*:*:x", false),
            ("db:5432:*:postgres:x\nlocalhost:*:*:postgres:x", false),
            ("*:5433:*:postgres:x", false),
            ("*:*:*:todo:x", false),
            ("", false),
        ] {
            assert_eq!(names(text, &server, "postgres"), expected, "{text}");
        }
        let socket = PostgresTarget::fixture("/tmp", 5432);
        assert!(names("localhost:*:*:postgres:x", &socket, "postgres"));
    }
}
