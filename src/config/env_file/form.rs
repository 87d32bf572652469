//! What is in the place of a `.env` file, or of one of its lines, and is none.

use super::parse::assignments;

/// How encrypted files begin, and the command that decrypts them.
const ENCRYPTED: [(&[u8], &str); 5] = [
    (b"$ANSIBLE_VAULT;", "ansible-vault view"),
    (b"\0GITCRYPT", "git-crypt unlock"),
    (b"age-encryption.org/", "age --decrypt"),
    (b"-----BEGIN AGE ENCRYPTED FILE", "age --decrypt"),
    (b"-----BEGIN PGP MESSAGE", "gpg --decrypt"),
];

/// The command that decrypts the file, if it is encrypted.
pub(super) fn decrypting(bytes: &[u8]) -> Option<&'static str> {
    let mut forms = ENCRYPTED.iter();
    forms.find_map(|(begin, command)| bytes.starts_with(begin).then_some(*command))
}

/// Whether bytes that are not UTF-8 are a file of variables in an encoding of Windows.
pub(super) fn is_of_windows(bytes: &[u8]) -> bool {
    let text: String = bytes.iter().copied().map(char::from).collect();
    let is_text = |byte: &u8| *byte >= b' ' || matches!(byte, b'\t' | b'\r' | b'\n');
    bytes.iter().all(is_text) && assignments(&text).is_ok()
}

/// What a line is that is no assignment, as the end of a sentence, and what to do.
pub(super) fn of_line(line: &str) -> Option<(&'static str, &'static str)> {
    let line = line.trim();
    let is_marker = |sign: &str| line.starts_with(&sign.repeat(7));
    if is_marker("<") || is_marker("=") || is_marker(">") || is_marker("|") {
        return Some((
            "two versions of the file were merged, and the conflict is not resolved",
            "keep the right one of the parts between <<<<<<<, ======= and >>>>>>>, and delete these lines",
        ));
    }
    let is_template = line.contains("{{") || line.contains("{%") || line.contains("<%");
    is_template.then_some((
        "it is a line of a template that was not filled in",
        "let the deployment fill in the template, or write the value",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_and_lines() {
        assert_eq!(
            decrypting(b"$ANSIBLE_VAULT;1.1;AES256\n66"),
            Some("ansible-vault view")
        );
        assert_eq!(decrypting(b"A=1\n"), None);
        assert!(is_of_windows(b"A=1\r\n# f\xfcr\n"));
        for bytes in [
            &b"\0GITCRYPT\xff"[..],
            b"\x89PNG\r\n\x1a\n",
            b"words \xfc\n",
        ] {
            assert!(!is_of_windows(bytes));
        }
        for line in [
            "<<<<<<< HEAD",
            "=======",
            ">>>>>>> main",
            "A={{ secret }}",
            "{% if x %}",
        ] {
            assert!(of_line(line).is_some(), "{line}");
        }
        for line in ["A='open", "words", "A = b c"] {
            assert_eq!(of_line(line), None, "{line}");
        }
    }
}
