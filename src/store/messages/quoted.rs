//! Names in messages.

/// The first name in a message, in the quotes of its language.
pub(crate) fn quoted_name(message: &str) -> Option<&str> {
    message
        .split(['"', '»', '«', '„', '“', '”'])
        .nth(1)
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_of_several_languages() {
        for message in [
            "database \"todo\" does not exist",
            "Datenbank »todo« existiert nicht",
            "la base de données « todo » n'existe pas",
        ] {
            assert_eq!(quoted_name(message), Some("todo"), "{message}");
        }
        assert_eq!(quoted_name("no name"), None);
    }
}
