//! Parsers of values. A parser says what is wrong as a predicate, and repeats a value only
//! where it cannot be a secret.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use url::Url;

use super::variable::Fault;

/// A whole number from `min` to `max`.
pub(super) fn number<T>(text: &str, min: T, max: T) -> Result<T, Fault>
where
    T: FromStr + PartialOrd + Copy + Display,
{
    match text.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!("is not a whole number from {min} to {max}").into()),
    }
}

/// A number of seconds from `min` to `max`, also with a fraction (`0.5`).
pub(super) fn seconds(text: &str, min: f64, max: f64) -> Result<Duration, Fault> {
    text.parse::<f64>()
        .ok()
        .filter(|seconds| (min..=max).contains(seconds))
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("is not a number of seconds from {min} to {max}").into())
}

/// A truth value in any of the usual spellings.
pub(super) fn switch(text: &str) -> Result<bool, Fault> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("is not true or false".into()),
    }
}

/// Entries separated by commas; empty ones do not count.
pub(super) fn list<T, C>(text: &str, entry: impl Fn(&str) -> Result<T, Fault>) -> Result<C, Fault>
where
    C: FromIterator<T>,
{
    let entries = text.split(',').map(str::trim);
    entries.filter(|text| !text.is_empty()).map(entry).collect()
}

/// An entry of a list, for a message. What may be a password, or the query of a URL, is left out.
pub(super) fn shown(text: &str) -> String {
    let parts = (text.contains('@'), text.find(['?', '#']));
    match parts {
        (false, None) => format!("{text:?}"),
        (false, Some(end)) => format!("{:?} and more", &text[..end]),
        (true, _) => "an entry with a user name or password".to_owned(),
    }
}

/// An `http` or `https` URL.
pub(super) fn http_url(text: &str) -> Result<Url, Fault> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .filter(|url| !has_second_scheme(url))
        .ok_or_else(|| "is not an http or https URL".into())
}

/// Whether the URL has another one behind its scheme, whose own scheme is taken for the host.
pub(super) fn has_second_scheme(url: &Url) -> bool {
    url.port().is_none() && url.path().starts_with("//") && url.host_str() == Some(url.scheme())
}

/// Whether the host is neither this machine nor a neighbour in a container network, which has a
/// name without dots.
pub(super) fn is_remote_host(host: &str) -> bool {
    // Only the parser of http URLs takes the brackets off.
    let host = host.trim_matches(['[', ']']);
    match host.parse::<IpAddr>() {
        Ok(address) => !address.to_canonical().is_loopback(),
        Err(_) => host.trim_end_matches('.').contains('.') && !host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_shown_without_what_may_be_secret() {
        for (text, expected) in [
            ("app.example.com", "\"app.example.com\""),
            ("https://a/?token=canary", "\"https://a/\" and more"),
            ("https://a/#canary", "\"https://a/\" and more"),
            (
                "https://u:canary@a",
                "an entry with a user name or password",
            ),
            (
                "https://u:can?ary@a",
                "an entry with a user name or password",
            ),
        ] {
            assert_eq!(shown(text), expected);
        }
    }
}
