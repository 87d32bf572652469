//! What was meant by a value that its parser refuses.

use super::parse::is_remote_host;
use super::respell::is_quote;

/// A value that was probably meant, and what surrounds it, as a clause.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meant {
    pub value: String,
    pub why: &'static str,
}

/// The value of the variable `name` that is contained in `text`; `is_right` tells whether the
/// variable's parser accepts a text.
pub(super) fn meant(name: &str, text: &str, is_right: impl Fn(&str) -> bool) -> Option<Meant> {
    let found = |value: &str, why| {
        let is_meant = !value.is_empty() && value != text && is_right(value);
        is_meant.then(|| Meant {
            value: value.to_owned(),
            why,
        })
    };
    found(
        bare(text),
        "a comment, a quote or a semicolon is part of the value",
    )
    .or_else(|| {
        let address = bare(text);
        let address = address.split_once("://").map_or(address, |(_, rest)| rest);
        let address = address
            .split_once('/')
            .map_or(address, |(before, _)| before);
        let (host, port) = address.rsplit_once(':').unwrap_or((address, address));
        match name {
            "PORT" => found(port, "it has more than the number of a port"),
            "HOST" => {
                let why = "it has more than an address";
                found(host, why).or_else(|| found(address, why))
            }
            "METRICS_ADDR" if host == "localhost" => found(
                &format!("127.0.0.1:{port}"),
                "it has a name, and no address",
            ),
            "METRICS_ADDR" => found(&with_host(text)?, "it has no address before the port"),
            _ if name.ends_with("_URL") => match text.split_once("://") {
                Some((_, rest)) if rest.contains("://") => found(rest, "it has a scheme twice"),
                _ => found(&with_scheme(text)?, "it has no scheme"),
            },
            _ => None,
        }
    })
    .or_else(|| found(&without_unit(name, text)?, "it has a unit"))
    .or_else(|| {
        found(
            &plain_digits(bare(text))?,
            "it has signs between its digits",
        )
    })
    .or_else(|| found(&list_of_json(text)?, "it is a list of JSON"))
    .or_else(|| found(truth(bare(text))?, "it is another word for it"))
}

/// The entries of a list of texts in JSON, separated by commas.
fn list_of_json(text: &str) -> Option<String> {
    // The reader of a file takes the quotes off.
    let entries = text.strip_prefix('[')?.strip_suffix(']')?.split(',');
    let entries: Vec<&str> = entries
        .map(|one| one.trim().trim_matches(['"', '\'']))
        .collect();
    Some(entries.join(","))
}

/// A whole number without the signs that make it readable, or without a fraction that is nothing.
fn plain_digits(text: &str) -> Option<String> {
    let whole = text.strip_suffix(".0").unwrap_or(text);
    let groups: Vec<&str> = whole.split([',', '\'', '_', ' ']).collect();
    let is_group = |(index, group): (usize, &&str)| {
        let digits = group.len();
        let is_grouped =
            whole.contains('_') || digits == 3 || index == 0 && (1..=3).contains(&digits);
        group.bytes().all(|byte| byte.is_ascii_digit()) && is_grouped
    };
    let is_number = groups.len() == 1 || groups.iter().enumerate().all(is_group);
    let digits = groups.concat();
    (is_number && digits.parse::<u64>().is_ok()).then_some(digits)
}

/// Words for yes and no.
fn truth(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "t" | "enable" | "enabled" | "active" => Some("true"),
        "n" | "f" | "disable" | "disabled" | "inactive" | "never" => Some("false"),
        _ => None,
    }
}

/// A port alone is one of this machine. With a colon before it, other programs mean all addresses.
fn with_host(port: &str) -> Option<String> {
    let is_number = |text: &str| text.parse::<u16>().is_ok();
    match port.strip_prefix(':') {
        Some(port) if is_number(port) => Some(format!("0.0.0.0:{port}")),
        None if is_number(port) => Some(format!("127.0.0.1:{port}")),
        _ => None,
    }
}

/// The address with `https`, or with `http` in the network of this machine. It is shown, and a value
/// may be a secret that was written to the wrong variable: what has neither dot nor port, or has
/// capital letters, is no address.
fn with_scheme(text: &str) -> Option<String> {
    let is_part =
        |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '.' | '-' | ':' | '/');
    let (address, _) = text.split_once('/').unwrap_or((text, ""));
    let (host, port) = match address.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (address, None),
    };
    let is_host = !host.is_empty()
        && !host.contains(|sign: char| sign.is_ascii_uppercase())
        && (port.is_some_and(|port| port.parse::<u16>().is_ok())
            || port.is_none() && (host == "localhost" || host.contains('.')));
    let scheme = if is_remote_host(host) {
        "https"
    } else {
        "http"
    };
    (is_host && text.chars().all(is_part)).then(|| format!("{scheme}://{text}"))
}

/// The value without what is written around it by mistake: a comment without a space before its
/// sign, a quote on one side, a semicolon, a second equals sign.
fn bare(text: &str) -> &str {
    let (value, _) = text.split_once('#').unwrap_or((text, ""));
    let around = |sign: char| sign.is_whitespace() || matches!(sign, ';' | ',') || is_quote(sign);
    value.trim_matches(around).trim_start_matches('=')
}

/// The number in the unit in which the variable is counted.
fn without_unit(name: &str, text: &str) -> Option<String> {
    let number = text.trim_end_matches(|sign: char| sign.is_alphabetic() || sign == '/');
    let unit = text[number.len()..].to_ascii_lowercase();
    let units: &[(&[&str], f64)] = if name.ends_with("_PER_MINUTE") {
        &[(&["/m", "/min", "/minute", "rpm"], 1.0)]
    } else if name.ends_with("_SECONDS") {
        &[
            (&["s", "sec", "secs", "second", "seconds"], 1.0),
            (&["ms"], 0.001),
            (&["m", "min", "minutes"], 60.0),
        ]
    } else if name.ends_with("_MINUTES") {
        &[
            (&["m", "min", "mins", "minute", "minutes"], 1.0),
            (&["h", "hour", "hours"], 60.0),
            (&["d", "day", "days"], 1440.0),
        ]
    } else if name.ends_with("_BYTES") {
        &[
            (&["b", "byte", "bytes"], 1.0),
            (&["k", "kb", "kib"], 1024.0),
            (&["m", "mb", "mib"], 1_048_576.0),
        ]
    } else {
        &[]
    };
    let (_, factor) = units
        .iter()
        .find(|(names, _)| names.contains(&unit.as_str()))?;
    let number: f64 = number.trim_end().parse().ok()?;
    Some((number * factor).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse::http_url;
    use std::net::{IpAddr, SocketAddr};

    #[test]
    fn numbers_and_addresses_in_values() {
        let is_number = |text: &str| text.parse::<u16>().is_ok();
        let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
        let of = |name: &str, text: &str| {
            let found = match name {
                "HOST" => meant(name, text, is_address),
                "METRICS_ADDR" => meant(name, text, |text| text.parse::<SocketAddr>().is_ok()),
                "AUTH_SERVER_URL" => meant(name, text, |text| http_url(text).is_ok()),
                "AUTO_MIGRATE" => meant(name, text, |text| ["true", "false"].contains(&text)),
                _ => meant(name, text, is_number),
            };
            found.map(|one| one.value)
        };
        for (name, text, expected) in [
            ("PORT", "127.0.0.1:8472", "8472"),
            ("PORT", ":8472", "8472"),
            ("PORT", "8472/tcp", "8472"),
            ("PORT", "tcp://10.0.0.7:8472", "8472"),
            ("PORT", "http://localhost:8472/health", "8472"),
            ("PORT", "80:8472", "8472"),
            ("PORT", "[::1]:8472", "8472"),
            ("PORT", "8472#main", "8472"),
            ("PORT", "\u{201c}8472\u{201d}", "8472"),
            ("PORT", "'127.0.0.1:8472'", "8472"),
            ("HOST", "127.0.0.1:8472", "127.0.0.1"),
            ("HOST", "http://10.0.0.7/", "10.0.0.7"),
            ("REQUEST_TIMEOUT_SECONDS", "12s", "12"),
            ("KEEPALIVE_SECONDS", "60 seconds", "60"),
            ("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "45min", "45"),
            ("MAX_BODY_BYTES", "4096 B", "4096"),
            ("RATE_LIMIT_PER_MINUTE", "600/min", "600"),
            ("REQUEST_TIMEOUT_SECONDS", "2m", "120"),
            ("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "1h", "60"),
            ("MAX_BODY_BYTES", "10kB", "10240"),
            ("SQLALCHEMY_POOL_SIZE", "1_0", "10"),
            ("SQLALCHEMY_POOL_RECYCLE", "1,800", "1800"),
            ("SQLALCHEMY_POOL_RECYCLE", "1 800", "1800"),
            ("WORKERS", "4.0", "4"),
            ("AUTO_MIGRATE", "n", "false"),
            ("AUTO_MIGRATE", "Disabled;", "false"),
            ("AUTO_MIGRATE", "Enabled", "true"),
            ("SQLALCHEMY_POOL_SIZE", "=10", "10"),
            ("METRICS_ADDR", "localhost:9090", "127.0.0.1:9090"),
            ("METRICS_ADDR", "9090", "127.0.0.1:9090"),
            ("METRICS_ADDR", ":9090", "0.0.0.0:9090"),
            ("AUTH_SERVER_URL", "localhost:3001", "http://localhost:3001"),
            (
                "AUTH_SERVER_URL",
                "https://https://auth.example.com",
                "https://auth.example.com",
            ),
            (
                "AUTH_SERVER_URL",
                "auth.example.com/login",
                "https://auth.example.com/login",
            ),
        ] {
            assert_eq!(of(name, text).as_deref(), Some(expected), "{name}={text}");
        }
        for (name, text) in [
            ("PORT", "many"),
            ("PORT", "127.0.0.1"),
            ("HOST", "db:8472"),
            // No whole number of the variable's own unit.
            ("REQUEST_TIMEOUT_SECONDS", "500ms"),
            ("RATE_LIMIT_PER_MINUTE", "10/s"),
            ("MAX_BODY_BYTES", "1TB"),
            ("AUTH_SERVER_URL", "auth.example.com/?token=canary"),
            ("AUTH_SERVER_URL", "u:canary@auth.example.com"),
            ("AUTH_SERVER_URL", "ftp://auth.example.com"),
            ("AUTH_SERVER_URL", "5f0c1d2e3b4a59687786958493a2b1c0"),
            ("AUTH_SERVER_URL", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"),
            ("WORKERS", "2s"),
            ("WORKERS", "1,5"),
            ("WORKERS", "4.5"),
        ] {
            assert_eq!(of(name, text), None, "{name}={text}");
        }
    }
}
