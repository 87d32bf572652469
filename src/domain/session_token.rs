//! The form of session tokens.

/// How session tokens of todoctl begin. Secret scanners recognize a leaked token by it.
pub const SESSION_PREFIX: &str = "todo_";

/// The random bytes of a session token.
pub const SESSION_BYTES: usize = 32;

/// A session token. It has no dots, which would make it look like a JWT.
#[must_use]
pub fn session_token(bytes: [u8; SESSION_BYTES]) -> String {
    format!("{SESSION_PREFIX}{}", hex::encode(bytes))
}

/// Whether a session token begins so, and goes on.
#[must_use]
pub fn is_cut_session_token(token: &str) -> bool {
    let digits = token.strip_prefix(SESSION_PREFIX);
    digits.is_some_and(|digits| {
        digits.len() < 2 * SESSION_BYTES
            && digits
                .bytes()
                .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_were_cut_off() {
        let token = session_token([0xA7; SESSION_BYTES]);
        for (token, expected) in [
            (&*token, false),
            (&token[..32], true),
            (&token[..68], true),
            ("todo_", true),
            ("todo_ABCDEF", false),
            ("a7a7", false),
        ] {
            assert_eq!(is_cut_session_token(token), expected, "{token}");
        }
    }
}
