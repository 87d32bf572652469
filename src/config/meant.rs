//! What was meant by a value that its parser refuses.

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
            _ => None,
        }
    })
    .or_else(|| found(without_unit(name, text)?, "it has a unit"))
}

/// The value without what is written around it by mistake: a comment without a space before its
/// sign, a quote on one side, a semicolon.
fn bare(text: &str) -> &str {
    let (value, _) = text.split_once('#').unwrap_or((text, ""));
    let around = |sign: char| sign.is_whitespace() || matches!(sign, '"' | '\'' | ';' | ',');
    value.trim_matches(around)
}

/// The number without the unit in which the variable is counted anyway.
fn without_unit<'a>(name: &str, text: &'a str) -> Option<&'a str> {
    let number = text.trim_end_matches(|sign: char| sign.is_alphabetic() || sign == '/');
    let unit = text[number.len()..].to_ascii_lowercase();
    let units: &[&str] = if name.ends_with("_PER_MINUTE") {
        &["/m", "/min", "/minute", "rpm"]
    } else if name.ends_with("_SECONDS") {
        &["s", "sec", "secs", "second", "seconds"]
    } else if name.ends_with("_MINUTES") {
        &["m", "min", "mins", "minute", "minutes"]
    } else if name.ends_with("_BYTES") {
        &["b", "byte", "bytes"]
    } else {
        &[]
    };
    units.contains(&unit.as_str()).then(|| number.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn numbers_and_addresses_in_values() {
        let is_number = |text: &str| text.parse::<u16>().is_ok();
        let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
        let of = |name: &str, text: &str| {
            let found = if name == "HOST" {
                meant(name, text, is_address)
            } else {
                meant(name, text, is_number)
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
            ("PORT", "'127.0.0.1:8472'", "8472"),
            ("HOST", "127.0.0.1:8472", "127.0.0.1"),
            ("HOST", "http://10.0.0.7/", "10.0.0.7"),
            ("REQUEST_TIMEOUT_SECONDS", "12s", "12"),
            ("KEEPALIVE_SECONDS", "60 seconds", "60"),
            ("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "45min", "45"),
            ("MAX_BODY_BYTES", "4096 B", "4096"),
            ("RATE_LIMIT_PER_MINUTE", "600/min", "600"),
        ] {
            assert_eq!(of(name, text).as_deref(), Some(expected), "{name}={text}");
        }
        for (name, text) in [
            ("PORT", "many"),
            ("PORT", "127.0.0.1"),
            ("HOST", "db:8472"),
            // Of another unit the number alone would be something else.
            ("REQUEST_TIMEOUT_SECONDS", "2m"),
            ("REQUEST_TIMEOUT_SECONDS", "500ms"),
            ("RATE_LIMIT_PER_MINUTE", "10/s"),
            ("MAX_BODY_BYTES", "1MB"),
            ("WORKERS", "2s"),
        ] {
            assert_eq!(of(name, text), None, "{name}={text}");
        }
    }
}
