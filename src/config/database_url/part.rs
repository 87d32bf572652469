//! The encoded parts of a URL, and what is wrong with them.

use percent_encoding::percent_decode_str;

use super::target::DatabaseTarget;

/// What is wrong with a URL. Repeats nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadUrl {
    /// A predicate such as `names no host`.
    pub message: String,
    /// How to write it, in words.
    pub advice: String,
}

/// A URL that was understood.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// What it names.
    pub value: DatabaseTarget,
    /// Predicates about parts that have no effect.
    pub remarks: Vec<String>,
}

pub(super) fn bad<T>(message: &str, advice: &str) -> Result<T, BadUrl> {
    Err(BadUrl {
        message: message.to_owned(),
        advice: advice.to_owned(),
    })
}

pub(super) fn parameters(query: &str) -> Result<Vec<(String, String)>, BadUrl> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?.to_ascii_lowercase(), decoded(value)?))
        })
        .collect()
}

/// Names the parameter only if it looks like a name: it may be a part of a password.
pub(super) fn ignored(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-[]".contains(&byte);
    if name.len() <= 40 && name.bytes().all(plain) {
        format!("has the unknown parameter {name}, which has no effect")
    } else {
        "has an unknown parameter, which has no effect".to_owned()
    }
}

/// Whether every % begins an encoded byte.
pub(super) fn is_encoded(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        rest.get(..2)
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
}

pub(super) fn decoded(text: &str) -> Result<String, BadUrl> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) if !text.contains('\0') => Ok(text.into_owned()),
        _ => bad(
            "contains percent-encoded bytes that are not UTF-8 text",
            "write a literal % as %25",
        ),
    }
}
