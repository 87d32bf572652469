//! How the sender is spelt.

/// A sender as the provider reads it, `Name <address>` or the address alone, if it is written in
/// another way.
pub(super) fn respelt_sender(from: &str) -> Option<String> {
    let is_address = |text: &str| {
        !text.contains(|one: char| one.is_whitespace() || "<>\"',;:".contains(one))
            && text.matches('@').count() == 1
    };
    let is_right = match from.split_once('<') {
        None => is_address(from),
        Some((_, rest)) => rest.strip_suffix('>').is_some_and(is_address),
    };
    if is_right {
        return None;
    }
    let around: &[char] = &['<', '>', '"', '\'', ',', ';', '(', ')'];
    let words = from
        .split([' ', '\t', '<', '>'])
        .map(|word| word.trim_matches(around));
    let (addresses, names): (Vec<&str>, Vec<&str>) = words
        .filter(|word| !word.is_empty())
        .partition(|word| is_address(word));
    let [address] = addresses[..] else {
        return None;
    };
    Some(if names.is_empty() {
        address.to_owned()
    } else {
        format!("{} <{address}>", names.join(" "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders() {
        for right in [
            "todo@example.com",
            "Todo <todo@example.com>",
            "\"Todo, Inc.\" <todo@example.com>",
            // What was meant is not known.
            "a@example.com b@example.com",
        ] {
            assert_eq!(respelt_sender(right), None, "{right}");
        }
        for (wrong, meant) in [
            ("Todo <todo@example.com", "Todo <todo@example.com>"),
            ("My Todo todo@example.com", "My Todo <todo@example.com>"),
            ("todo@example.com>", "todo@example.com"),
            ("Todo (todo@example.com)", "Todo <todo@example.com>"),
        ] {
            assert_eq!(respelt_sender(wrong).as_deref(), Some(meant), "{wrong}");
        }
    }
}
