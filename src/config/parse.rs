//! Parsers of values. A parser says what is wrong as a predicate, and repeats a value only
//! where it cannot be a secret.

use std::fmt::Display;
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

/// An `http` or `https` URL.
pub(super) fn http_url(text: &str) -> Result<Url, Fault> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| "is not an http or https URL".into())
}
