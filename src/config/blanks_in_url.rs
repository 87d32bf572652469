//! Blanks and signs that nobody sees, which get into a URL that is pasted or wrapped.

use super::invisible::is_invisible;

/// What a sign is called that is not seen.
fn name(sign: char) -> Option<&'static str> {
    Some(match sign {
        ' ' => "a space",
        '\t' => "a tab",
        '\n' | '\r' => "a line break",
        '\u{a0}' | '\u{2007}' | '\u{202f}' => "a no-break space",
        '\u{feff}' => "a byte-order mark",
        _ if sign.is_whitespace() => "white space",
        _ if sign.is_control() => "a control character",
        _ if is_invisible(sign) => "a character without width",
        _ => return None,
    })
}

/// Whether the sign is a blank of any kind, or one that is not seen.
pub(super) fn is_blank(sign: char) -> bool {
    name(sign).is_some()
}

/// The parts of a URL as somebody meant it who has not encoded user and password: each with what
/// follows it.
fn parts(url: &str) -> Vec<(&'static str, &str, &'static str)> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return vec![("value", url, "")];
    };
    let mut parts = vec![("scheme", scheme, "://")];
    let address = match rest.rsplit_once('@') {
        Some((credentials, address)) => {
            match credentials.split_once(':') {
                Some((user, password)) => {
                    parts.extend([("user", user, ":"), ("password", password, "@")]);
                }
                None => parts.push(("user", credentials, "@")),
            }
            address
        }
        None => rest,
    };
    parts.push(("address", address, ""));
    parts
}

/// The first such sign of a URL and where it is, without a part of the URL.
pub(super) fn blank_in(url: &str) -> Option<String> {
    parts(url).into_iter().find_map(|(part, text, _)| {
        let at = text.find(is_blank)?;
        let sign = name(text[at..].chars().next()?)?;
        let place = if at == 0 {
            "at the beginning of"
        } else if text[at..].chars().all(is_blank) {
            "at the end of"
        } else {
            "in"
        };
        Some(format!("{sign} {place} the {part}"))
    })
}

/// The URL without them, but for spaces that may belong to it: those inside of a user, a password or
/// a name.
pub(super) fn without_blanks(url: &str) -> String {
    let seen = |text: &str| -> String {
        let kept = text.chars().filter(|sign| *sign == ' ' || !is_blank(*sign));
        kept.collect()
    };
    parts(url)
        .into_iter()
        .map(|(part, text, end)| {
            let text = seen(text);
            let text = if part == "address" {
                beside_no_separator(&text)
            } else {
                text.trim().to_owned()
            };
            text + end
        })
        .collect()
}

/// Without the spaces around the signs that separate the parts of an address.
fn beside_no_separator(address: &str) -> String {
    let mut kept = String::with_capacity(address.len());
    for part in address.split_inclusive(SEPARATORS) {
        let text = part.trim_end_matches(SEPARATORS);
        kept.push_str(text.trim());
        kept.push_str(&part[text.len()..]);
    }
    kept
}

const SEPARATORS: [char; 5] = ['/', '?', '&', '=', ':'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_they_are_and_the_url_without_them() {
        let right = "postgresql://u:p@h:5432/d?sslmode=require";
        for (url, place) in [
            (right, None),
            (
                "postgresql://u:p @h:5432/d?sslmode=require",
                Some("a space at the end of the password"),
            ),
            (
                "postgresql://u: p@h:5432/d?sslmode=require",
                Some("a space at the beginning of the password"),
            ),
            (
                "\u{feff}postgresql://u:p@h:5432/d?sslmode=require",
                Some("a byte-order mark at the beginning of the scheme"),
            ),
            (
                "postgresql://u\u{a0}:p@h:5432/d?sslmode=require",
                Some("a no-break space at the end of the user"),
            ),
            (
                "postgresql://u:p@h:5432\n/d?sslmode=require",
                Some("a line break in the address"),
            ),
            (
                "postgresql://u:p@h:5432/d ?sslmode = require\u{200b}",
                Some("a space in the address"),
            ),
        ] {
            assert_eq!(blank_in(url).as_deref(), place, "{url:?}");
            assert_eq!(without_blanks(url), right, "{url:?}");
        }
        // These may belong to it.
        let inside = "postgresql://u:correct horse@h/my tasks";
        assert_eq!(blank_in(inside).as_deref(), Some("a space in the password"));
        assert_eq!(without_blanks(inside), inside);
        let wrapped = "postgresql://u:correct\r\nhorse@h/d";
        assert_eq!(without_blanks(wrapped), "postgresql://u:correcthorse@h/d");
    }
}
