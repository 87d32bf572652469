//! What clients send in place of a value that they do not have.

/// The texts of nothing in programming languages, and of a user who is not signed in.
pub const PLACEHOLDERS: [&str; 8] = [
    "(null)",
    "NULL",
    "NaN",
    "None",
    "anonymousUser",
    "nil",
    "null",
    "undefined",
];

/// How the texts of objects, and of templates that nobody has filled in, begin and end.
pub const UNFILLED: [(&str, &str); 7] = [
    ("#{", "}"),
    ("${", "}"),
    ("%{", "}"),
    ("<", ">"),
    ("Promise {", "}"),
    ("[object ", "]"),
    ("{{", "}}"),
];

/// Whether a text stands for a value that a client does not have.
#[must_use]
pub fn is_placeholder(text: &str) -> bool {
    let is_unfilled = |(start, end): &(&str, &str)| text.starts_with(start) && text.ends_with(end);
    PLACEHOLDERS.contains(&text) || UNFILLED.iter().any(is_unfilled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders() {
        for text in [
            "undefined",
            "[object Object]",
            "{{user_id}}",
            "${USER_ID}",
            "<user-id>",
        ] {
            assert!(is_placeholder(text), "{text}");
        }
        for text in [
            "",
            "0",
            "user_2NNEqL2nrIRdJ194ndJqAHwEfxC",
            "{6F9619FF-8B86-D011-B42D-00CF4FC964FF}",
            "Undefined Behaviour",
            "nullmann",
            "auth0|5f7c8ec7c33c6c004bbafe82",
            "müller@example.com",
        ] {
            assert!(!is_placeholder(text), "{text}");
        }
    }
}
