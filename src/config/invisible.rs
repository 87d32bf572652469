//! Characters that nobody sees, and that come along when text is copied from a web page, a chat or a
//! word processor. They are a part of the value that they are in.

/// Whether the sign has no width, or is a blank or a control character that no keyboard types.
pub(crate) fn is_invisible(sign: char) -> bool {
    let is_format = matches!(
        sign,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
    );
    let is_foreign_blank = sign.is_whitespace() && !sign.is_ascii();
    is_format || is_foreign_blank || sign.is_control() && !sign.is_ascii_whitespace()
}

/// The text without such characters and white space at its ends.
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_matches(|sign: char| is_invisible(sign) || sign.is_whitespace())
}

/// The text without any of them.
pub(crate) fn removed(text: &str) -> String {
    text.chars().filter(|sign| !is_invisible(*sign)).collect()
}

/// The code point of the first of them, such as `U+200B`.
pub(crate) fn first(text: &str) -> Option<String> {
    let sign = text.chars().find(|sign| is_invisible(*sign))?;
    Some(code_point(sign))
}

/// As in `U+200B`.
pub(crate) fn code_point(sign: char) -> String {
    format!("U+{:04X}", u32::from(sign))
}

/// The same for what is at an end of the text alone: within a name such as that of a sender, some of
/// them join letters.
pub(crate) fn first_at_end(text: &str) -> Option<String> {
    let inner = trimmed(text);
    let begin = text.find(inner).unwrap_or_default();
    first(&text[..begin]).or_else(|| first(&text[begin + inner.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees() {
        for sign in [
            '\u{200b}', '\u{feff}', '\u{a0}', '\u{ad}', '\u{200f}', '\u{202e}', '\u{2069}',
            '\u{7f}',
        ] {
            let text = format!("{sign}a b{sign}");
            assert_eq!(trimmed(&text), "a b");
            let named = format!("U+{:04X}", u32::from(sign));
            assert_eq!(first_at_end(&text), Some(named));
            assert_eq!(removed(&text), "a b");
        }
        for text in [" a b ", "a\tb\n", "äöü €", "\u{1f469}\u{200d}\u{1f4bb} x"] {
            assert_eq!(first_at_end(text), None, "{text}");
        }
    }
}
