//! What a token that is neither a JWT nor a session token of todoctl looks like.

use crate::domain::is_placeholder;

/// A shorter one is no token of a sign-in service: 128 random bits have as many characters.
const SHORTEST: usize = 20;

/// In words, which are constants.
pub(super) fn form_of(token: &str) -> &'static str {
    if is_placeholder(token) {
        "no token"
    } else if token.len() < SHORTEST {
        "too short"
    } else {
        "token"
    }
}

/// Whether it is a JWE (RFC 7516): five parts, the first of which is a JSON object.
pub(super) fn is_encrypted(token: &str) -> bool {
    token.starts_with("eyJ") && token.split('.').count() == 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (token, expected) in [
            ("undefined", "no token"),
            ("{{access_token}}", "no token"),
            ("canary", "too short"),
            ("Hk3Lq9Jx8dK2mZ0pQvR4tYw7uA1s.Lf=", "token"),
        ] {
            assert_eq!(form_of(token), expected, "{token}");
        }
        assert!(is_encrypted("eyJhbGciOiJkaXIifQ..a.b.c"));
        assert!(!is_encrypted("eyJhbGciOiJkaXIifQ.a.b"));
    }
}
