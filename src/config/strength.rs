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

/// Words in secrets of tutorials, of examples and of people who mean to change them later.
const WORDS_OF_EXAMPLES: [&str; 18] = [
    "changeme",
    "changethis",
    "changeinproduction",
    "changebeforeproduction",
    "replaceme",
    "replacethis",
    "placeholder",
    "yoursecret",
    "yourjwt",
    "yourkey",
    "supersecret",
    "secretkey",
    "secrethere",
    "jwtsecret",
    "mysecret",
    "testsecret",
    "devsecret",
    "insecure",
];

/// Begins of values that are counted up, not drawn at random.
const COUNTED: [&str; 3] = ["0123456789abcdef0123", "1234567890", "abcdefghijklmnop"];

/// Why a value that is long enough was probably not drawn at random, as a predicate.
pub(super) fn guessable(value: &str) -> Option<&'static str> {
    let letters = value.chars().filter(char::is_ascii_alphanumeric);
    let plain: String = letters.map(|sign| sign.to_ascii_lowercase()).collect();
    if COUNTED.iter().any(|begin| plain.starts_with(begin)) {
        return Some("is counted up, and can be guessed");
    }
    let has_word = WORDS_OF_EXAMPLES.iter().any(|word| plain.contains(word))
        || ["secret", "test", "example"]
            .iter()
            .any(|word| plain.starts_with(word));
    has_word.then_some("reads like the value of an example, and can be guessed")
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

    #[test]
    fn values_of_examples() {
        for value in [
            "your-super-secret-jwt-key-change-in-production",
            "super-secret-key-please-change-me-in-production-1234",
            "0123456789abcdef0123456789abcdef",
            "test_only_do_not_use_this_anywhere_else",
            "this is my secret, please change before production",
        ] {
            assert!(guessable(value).is_some(), "{value}");
        }
        for value in [
            "5f0c1d2e3b4a59687786958493a2b1c0d1e2f3a4b5c6d7e8f90a1b2c3d4e5f60",
            "tEsA9-q0RkzJx3Vd7mPw2YbNcHfLuGiSoDyTeWvKaQ4",
            "correct horse battery staple, and 9 more words",
        ] {
            assert_eq!(guessable(value), None, "{value}");
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
