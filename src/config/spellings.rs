//! What programs that pass a secret on make of it: another service has the same secret, and signs with
//! another one.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{percent_decode_str, utf8_percent_encode};

use super::url_part::ENCODED;

/// A shorter text is no secret any more.
const SHORTEST: usize = 8;

/// How a value is spelt, which follows "the value".
pub(crate) const AS_BASE64: &str = "as base64";
pub(crate) const AS_HEX: &str = "as hex";
pub(crate) const CUT_AT_COMMENT: &str = "cut off at #";
pub(crate) const CUT_AT_DOLLAR: &str = "cut off at $";
pub(crate) const CUT_OR_MORE: &str = "cut off, or with more around it";
pub(crate) const FROM_BASE64: &str = "decoded from base64";
pub(crate) const FROM_HEX: &str = "decoded from hex";
pub(crate) const IN_QUOTES: &str = "in quotes";
pub(crate) const OTHER_LETTERS: &str = "in capitals or small letters";
pub(crate) const PERCENT: &str = "percent-encoded or decoded";
pub(crate) const WITHOUT_BACKSLASHES: &str = "without its backslashes";
pub(crate) const WITHOUT_REFERENCES: &str = "without what begins with $";
pub(crate) const WITH_LINE_BREAK: &str = "with a line break";

/// All of them.
pub(crate) const SPELLINGS: &[&str] = &[
    AS_BASE64,
    AS_HEX,
    CUT_AT_COMMENT,
    CUT_AT_DOLLAR,
    CUT_OR_MORE,
    FROM_BASE64,
    FROM_HEX,
    IN_QUOTES,
    OTHER_LETTERS,
    PERCENT,
    WITHOUT_BACKSLASHES,
    WITHOUT_REFERENCES,
    WITH_LINE_BREAK,
];

/// Other spellings of a secret, and the bytes of each.
pub(crate) fn spellings(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = secret.as_bytes();
    let with_line = format!("{secret}\n");
    let before = |sign| {
        secret
            .split_once(sign)
            .map(|(before, _)| before.trim_end().to_owned())
    };
    let texts = [
        (IN_QUOTES, Some(format!("\"{secret}\""))),
        (IN_QUOTES, Some(format!("'{secret}'"))),
        (WITH_LINE_BREAK, Some(with_line.clone())),
        (WITH_LINE_BREAK, Some(format!("{secret}\r\n"))),
        (AS_BASE64, Some(STANDARD.encode(bytes))),
        (AS_BASE64, Some(STANDARD_NO_PAD.encode(bytes))),
        (AS_BASE64, Some(URL_SAFE.encode(bytes))),
        (AS_BASE64, Some(STANDARD.encode(&with_line))),
        (AS_HEX, Some(hex::encode(bytes))),
        (OTHER_LETTERS, Some(secret.to_ascii_uppercase())),
        (OTHER_LETTERS, Some(secret.to_ascii_lowercase())),
        (
            PERCENT,
            Some(utf8_percent_encode(secret, ENCODED).to_string()),
        ),
        (
            PERCENT,
            Some(percent_decode_str(secret).decode_utf8_lossy().into_owned()),
        ),
        (WITHOUT_REFERENCES, Some(without_references(secret))),
        (WITHOUT_BACKSLASHES, Some(secret.replace('\\', ""))),
        (CUT_AT_COMMENT, before('#')),
        (CUT_AT_DOLLAR, before('$')),
    ];
    let texts = texts
        .into_iter()
        .filter_map(|(how, text)| Some((how, text?.into_bytes())));
    let decoded = [
        (FROM_HEX, hex::decode(secret).ok()),
        (FROM_BASE64, STANDARD.decode(secret).ok()),
        (FROM_BASE64, URL_SAFE.decode(secret).ok()),
        (FROM_BASE64, STANDARD_NO_PAD.decode(secret).ok()),
        (FROM_BASE64, URL_SAFE_NO_PAD.decode(secret).ok()),
    ];
    let decoded = decoded
        .into_iter()
        .filter_map(|(how, bytes)| Some((how, bytes?)));
    let mut all: Vec<(&'static str, Vec<u8>)> = Vec::new();
    for (how, other) in texts.chain(decoded) {
        let is_known = all.iter().any(|(_, known)| *known == other);
        if other.len() >= SHORTEST && other != bytes && !is_known {
            all.push((how, other));
        }
    }
    all
}

/// How `value` is spelt, if it is another spelling of `secret`.
pub(crate) fn spelt(value: &str, secret: &str) -> Option<&'static str> {
    let mut all = spellings(secret).into_iter();
    let found = all.find(|(_, other)| other == value.as_bytes());
    let is_long = value.len().min(secret.len()) >= SHORTEST;
    let is_part =
        || is_long && value != secret && (value.contains(secret) || secret.contains(value));
    found
        .map(|(how, _)| how)
        .or_else(|| is_part().then_some(CUT_OR_MORE))
}

/// As a shell and Compose read it, where none of the variables is set.
fn without_references(secret: &str) -> String {
    let mut rest = secret;
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once('$') {
        text += before;
        let is_part = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
        rest = match after.chars().next() {
            Some('$') => {
                text.push('$');
                &after[1..]
            }
            Some('{') => after.split_once('}').map_or("", |(_, behind)| behind),
            Some(first) if first.is_ascii_alphabetic() || first == '_' => {
                after.trim_start_matches(is_part)
            }
            _ => {
                text.push('$');
                after
            }
        };
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_make_of_a_secret() {
        let secret = "fedc$ba98765432#fedcba\\98765432%41";
        for (value, expected) in [
            ("'fedc$ba98765432#fedcba\\98765432%41'", Some(IN_QUOTES)),
            (
                "fedc$ba98765432#fedcba\\98765432%41\n",
                Some(WITH_LINE_BREAK),
            ),
            ("fedc$ba98765432", Some(CUT_AT_COMMENT)),
            ("fedc#fedcba\\98765432%41", Some(WITHOUT_REFERENCES)),
            ("FEDC$BA98765432#FEDCBA\\98765432%41", Some(OTHER_LETTERS)),
            (
                "fedc$ba98765432#fedcba98765432%41",
                Some(WITHOUT_BACKSLASHES),
            ),
            ("fedc$ba98765432#fedcba\\98765432A", Some(PERCENT)),
            ("fedc", None),
            ("fedc$ba98765", Some(CUT_OR_MORE)),
            ("fedc$ba98765432#fedcba\\98765432%41 # x", Some(CUT_OR_MORE)),
            (secret, None),
            ("other", None),
        ] {
            assert_eq!(spelt(value, secret), expected, "{value}");
        }
        let encoded = STANDARD.encode(secret);
        assert_eq!(spelt(&encoded, secret), Some(AS_BASE64));
        assert_eq!(spelt(secret, &encoded), Some(FROM_BASE64));
        assert_eq!(spelt(&hex::encode(secret), secret), Some(AS_HEX));
        assert_eq!(
            spelt("a1b2c3$d4e5f6", "a1b2c3$$d4e5f6"),
            Some(WITHOUT_REFERENCES)
        );
        assert_eq!(without_references("a${B:-c}d$1e$"), "ad$1e$");
        assert!(
            spellings(secret)
                .iter()
                .all(|(how, _)| SPELLINGS.contains(how))
        );
    }
}
