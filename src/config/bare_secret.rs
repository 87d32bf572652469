//! A secret, and what editors, shells, secret managers and word processors put around it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::Value;

/// What word processors make of quotes.
pub(super) const TYPOGRAPHIC_QUOTES: [char; 8] = [
    '\u{2018}', '\u{2019}', '\u{201a}', '\u{201c}', '\u{201d}', '\u{201e}', '\u{ab}', '\u{bb}',
];

/// A secret without what is pasted together with it, and without the typographic quotes and the line
/// end, as the two characters `\n`, that editors, `echo` and secret managers make a part of it.
pub(super) fn bare_secret<'v>(name: &str, value: &'v str) -> &'v str {
    let mut bare = value.trim_start_matches('=');
    let own_name = format!("{name}=");
    for begin in ["export ", own_name.as_str(), "Bearer ", "bearer "] {
        bare = bare.strip_prefix(begin).unwrap_or(bare);
    }
    for end in ["\\n", "\\r"] {
        bare = bare.trim_end_matches(end);
    }
    bare.trim_matches(TYPOGRAPHIC_QUOTES)
}

/// The secret in an object of JSON, as secret managers keep it, or behind a name and a colon.
pub(super) fn entry(name: &str, value: &str) -> Option<String> {
    if let Ok(Value::Object(object)) = serde_json::from_str(value) {
        let named = object
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        let only = object.iter().next().filter(|_| object.len() == 1);
        let (_, found) = named.or(only)?;
        return found.as_str().map(str::to_owned);
    }
    let (key, rest) = value.split_once(": ")?;
    let is_key = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '_' | '-');
    let rest = rest.trim().trim_matches(['"', '\'']);
    let is_entry = key.chars().all(is_key) && is_of_generator(rest);
    is_entry.then(|| rest.to_owned())
}

/// The text of which a value is the base64, as in the data of a Kubernetes Secret, where a value that
/// was encoded by hand is encoded twice. Random bytes are no text.
pub(super) fn decoded(value: &str) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    let text = text.trim();
    let is_text = text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_text.then(|| text.to_owned())
}

/// What a program has made, without the end of a statement or list, a comment that has no blank before
/// it, and the blanks of a wrapped line.
pub(super) fn cut(text: &str) -> Option<String> {
    // Which of several lines is the secret, a person has to say.
    if text.contains('\n') {
        return None;
    }
    let (bare, _) = text.split_once('#').unwrap_or((text, ""));
    let bare = bare.trim().trim_end_matches(ENDS);
    let joined: String = bare.split_whitespace().collect();
    let is_hex = joined.bytes().all(|byte| byte.is_ascii_hexdigit());
    // Words without their blanks may be base64.
    let cut = if is_hex { &joined } else { bare };
    is_of_generator(cut).then(|| cut.to_owned())
}

/// What ends a statement or a list elsewhere, and belongs to no value here.
pub(super) const ENDS: [char; 2] = [';', ','];

/// Whether a program has made the text: hexadecimal digits, or base64.
pub(super) fn is_of_generator(text: &str) -> bool {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text));
    is_hex || bytes.is_ok_and(|bytes| bytes.len() >= 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_entries() {
        let secret = "0f1e2d3c4b5a69780f1e2d3c4b5a6978";
        for text in [
            format!(r#"{{"JWT_SECRET": "{secret}", "other": "x"}}"#),
            format!(r#"{{"value":"{secret}"}}"#),
            format!("jwt: {secret}"),
            format!("jwt-secret: \"{secret}\""),
        ] {
            assert_eq!(
                entry("JWT_SECRET", &text).as_deref(),
                Some(secret),
                "{text}"
            );
        }
        for text in [
            r#"{"one": "a", "two": "b"}"#.to_owned(),
            "note: correct horse battery staple".to_owned(),
            format!("two words: {secret}"),
            secret.to_owned(),
        ] {
            assert_eq!(entry("JWT_SECRET", &text), None, "{text}");
        }
    }
}
