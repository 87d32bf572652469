//! Texts as JSON.

/// Writes what `serde_json` writes for `text`, which looks at each byte by itself.
pub(crate) fn write_json_text(text: &str, out: &mut Vec<u8>) {
    // Counted, because without a branch for each byte many of them are compared at once.
    let must_be_escaped = |byte: &u8| matches!(byte, 0..b' ' | b'"' | b'\\');
    if text.bytes().filter(must_be_escaped).count() == 0 {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // A text can be written, and a Vec takes everything.
        let _ = serde_json::to_writer(out, text);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_text_is_that_of_serde_json(
            text in prop_oneof!["[ -~]{0,40}", "[ -~ü\u{2028}]{0,9}[\"\\\\\u{0}-\u{1f}\u{7f}]?é{0,30}", ".{0,40}"],
        ) {
            let mut out = b"{".to_vec();
            write_json_text(&text, &mut out);
            let expected = format!("{{{}", serde_json::to_string(&text).unwrap());
            prop_assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
