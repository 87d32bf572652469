//! The spellings that a search does not tell apart, as far as titles here have them.

/// The text as a search compares it.
pub fn fold(text: &str) -> String {
    text.to_lowercase().replace('ß', "ss")
}

/// The text in another spelling.
pub fn respell(text: &str) -> String {
    if text.contains('ß') {
        text.replace('ß', "ss").to_uppercase()
    } else {
        text.to_uppercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_spelling_is_the_same_text() {
        for text in ["t1.2.3", "t1.2.3 Straße"] {
            assert_ne!(respell(text), text);
            assert_eq!(fold(&respell(text)), fold(text));
        }
    }
}
