//! Which secrets are too weak.

/// Shorter secrets are weak (in bytes; RFC 7518, section 3.2 requires as much for HS256).
const MIN_BYTES: usize = 32;

/// Secrets with fewer different characters are weak.
const MIN_DIFFERENT: usize = 10;

/// Why a secret can be guessed, as a predicate; `None` if it is strong enough.
pub(super) fn weakness(value: &str) -> Option<String> {
    if is_placeholder(value) {
        return Some("is a placeholder".to_owned());
    }
    if value.len() < MIN_BYTES {
        return Some(format!("is shorter than {MIN_BYTES} bytes"));
    }
    let mut characters: Vec<char> = value.chars().collect();
    characters.sort_unstable();
    characters.dedup();
    (characters.len() < MIN_DIFFERENT)
        .then(|| format!("has fewer than {MIN_DIFFERENT} different characters"))
}

/// Whether a value only marks where a real one belongs, as in `.env.example`.
pub(crate) fn is_placeholder(value: &str) -> bool {
    let value = value.trim().to_ascii_lowercase();
    let begins = |words: &[&str]| words.iter().any(|word| value.starts_with(word));
    let ends = |words: &[&str]| words.iter().any(|word| value.ends_with(word));
    begins(&[
        "change-me",
        "changeme",
        "change_me",
        "replace-me",
        "replace_me",
    ]) || (value.starts_with('<') && value.ends_with('>'))
        || (begins(&["your-", "your_"]) && ends(&["-here", "_here", "secret", "key", "token"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders() {
        for value in [
            "change-me-x",
            "<your token>",
            "your-secret-key",
            "YOUR_TOKEN_HERE",
            "changeme",
        ] {
            assert!(is_placeholder(value), "{value}");
        }
        for value in ["yourself-and-i-have-9-lives-ok", "5f0c1d2e", "x-change-me"] {
            assert!(!is_placeholder(value), "{value}");
        }
    }

    /// Contract 10.8: known and weak secrets.
    #[test]
    fn weak_secrets() {
        assert!(weakness("short").is_some());
        assert!(weakness(&"ab".repeat(40)).is_some());
        assert!(weakness("0123456789abcdef0123456789abcde").is_some());
        assert_eq!(weakness("0123456789abcdef0123456789abcdef"), None);
    }
}
