//! Changing one part of a URL without touching the rest, which may be a secret.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays as it is in a part of a URL (RFC 3986, "unreserved").
pub(super) const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// In a path or a parameter, where slashes may stay too.
const ENCODED_PATH: &AsciiSet = &ENCODED.remove(b'/');

/// The URL with another `part`: `scheme`, `user`, `password`, `host`, `port`, `database`, or a parameter
/// such as `sslmode`, or the `fragment`. `None` removes the part. Fails if that is no URL of a server.
pub(crate) fn with_part(url: &str, part: &str, value: Option<&str>) -> Option<String> {
    let (url, fragment) = match url.rsplit_once('#') {
        // Otherwise it is in a password that is not encoded.
        Some((url, fragment)) if !fragment.contains(['@', '/']) => (url, Some(fragment)),
        _ => (url, None),
    };
    let fragment = if part == "fragment" { value } else { fragment };
    let (mut scheme, rest) = url.split_once("://")?;
    if scheme.starts_with("sqlite") {
        return None;
    }
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, query),
        None => (rest, ""),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (credentials, address) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = match credentials.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (credentials, None),
    };
    let at = match address.rfind(']') {
        Some(end) => address[end..].find(':').map(|at| end + at),
        None => address.find(':'),
    };
    let (host, port) = match at {
        Some(at) => (&address[..at], Some(&address[at + 1..])),
        None => (address, None),
    };
    let new = |set| value.map(|value| utf8_percent_encode(value, set).to_string());
    let mut user = Cow::from(user);
    let mut password = password.map(Cow::from);
    let mut host = Cow::from(host);
    let mut port = port.map(Cow::from);
    let mut path = Cow::from(path);
    let mut query = Cow::from(query);
    match part {
        "scheme" => scheme = value?,
        "user" => user = new(ENCODED).unwrap_or_default().into(),
        "password" => password = new(ENCODED).map(Cow::from),
        "host" => host = value.unwrap_or_default().into(),
        "port" => port = value.map(Cow::from),
        "fragment" => {}
        "database" => path = format!("/{}", new(ENCODED).unwrap_or_default()).into(),
        name => query = with_parameter(&query, name, new(ENCODED_PATH)).into(),
    }
    // libpq's parameters of these names come before the parts.
    if matches!(part, "user" | "password" | "host" | "port" | "database") {
        let name = if part == "database" { "dbname" } else { part };
        query = with_parameter(&query, name, None).into();
    }
    // The directory of a socket can only be a parameter, and the port then has to be one.
    if part == "host" && value.is_some_and(|value| value.starts_with('/')) {
        host = "".into();
        query = with_parameter(&query, "host", new(ENCODED_PATH)).into();
        if let Some(port) = port.take() {
            query = with_parameter(&query, "port", Some(port.into_owned())).into();
        }
    }
    let mut credentials = user.into_owned();
    if let Some(password) = password {
        credentials = format!("{credentials}:{password}");
    }
    if !credentials.is_empty() {
        credentials.push('@');
    }
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    let query = if query.is_empty() {
        String::new()
    } else {
        format!("?{query}")
    };
    let fragment = fragment.map_or_else(String::new, |fragment| format!("#{fragment}"));
    Some(format!(
        "{scheme}://{credentials}{host}{port}{path}{query}{fragment}"
    ))
}

/// The value takes the place of the first one of that name; others of it go.
fn with_parameter(query: &str, name: &str, value: Option<String>) -> String {
    let mut new = value.map(|value| format!("{name}={value}"));
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        if pair.split('=').next() == Some(name) {
            pairs.extend(new.take());
        } else {
            pairs.push(pair.to_owned());
        }
    }
    pairs.extend(new);
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_changes() {
        let url = "postgresql://u:p%40@h:5433/d?sslmode=require&x=1&sslmode=disable";
        for (part, value, expected) in [
            (
                "user",
                Some("a b"),
                "postgresql://a%20b:p%40@h:5433/d?sslmode=require&x=1&sslmode=disable",
            ),
            (
                "password",
                Some("q/"),
                "postgresql://u:q%2F@h:5433/d?sslmode=require&x=1&sslmode=disable",
            ),
            (
                "password",
                None,
                "postgresql://u@h:5433/d?sslmode=require&x=1&sslmode=disable",
            ),
            (
                "host",
                Some("[::1]"),
                "postgresql://u:p%40@[::1]:5433/d?sslmode=require&x=1&sslmode=disable",
            ),
            (
                "host",
                Some("/var/run"),
                "postgresql://u:p%40@/d?sslmode=require&x=1&sslmode=disable&host=/var/run&port=5433",
            ),
            (
                "port",
                None,
                "postgresql://u:p%40@h/d?sslmode=require&x=1&sslmode=disable",
            ),
            (
                "database",
                Some("e"),
                "postgresql://u:p%40@h:5433/e?sslmode=require&x=1&sslmode=disable",
            ),
            (
                "sslmode",
                Some("verify-full"),
                "postgresql://u:p%40@h:5433/d?sslmode=verify-full&x=1",
            ),
            ("sslmode", None, "postgresql://u:p%40@h:5433/d?x=1"),
            (
                "options",
                Some("endpoint=e"),
                "postgresql://u:p%40@h:5433/d?sslmode=require&x=1&sslmode=disable&options=endpoint%3De",
            ),
        ] {
            assert_eq!(
                with_part(url, part, value).as_deref(),
                Some(expected),
                "{part}"
            );
        }
    }

    #[test]
    fn urls_with_less() {
        for (url, part, expected) in [
            ("postgres://h/d", "sslmode", "postgres://h/d?sslmode=v"),
            (
                "postgres://u@/d?host=/run/postgresql&port=5433",
                "host",
                "postgres://u@v/d?port=5433",
            ),
            ("postgres://h?dbname=d", "database", "postgres://h/v"),
            ("redis://h", "password", "redis://:v@h"),
            ("redis://:p@h:6379/9", "database", "redis://:p@h:6379/v"),
            (
                "postgresql://u@[::1]:5/d",
                "port",
                "postgresql://u@[::1]:v/d",
            ),
        ] {
            assert_eq!(with_part(url, part, Some("v")).as_deref(), Some(expected));
        }
        assert_eq!(with_part("sqlite://data/todo.db", "host", Some("v")), None);
        assert_eq!(with_part("canary", "host", Some("v")), None);
    }
}
