//! Files that are where a database should be, and are something that cannot be unpacked into one.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// What files of these kinds begin with. What can be decrypted or fetched says how.
const BEGINS: [(&str, &str); 7] = [
    ("age-encryption.org/", "encrypted by age (age --decrypt)"),
    ("-----BEGIN PGP", "encrypted by GnuPG (gpg --decrypt)"),
    (
        "Salted__",
        "encrypted by openssl (openssl enc -d, with the cipher that was used)",
    ),
    (
        "version https://git-lfs",
        "a pointer of Git LFS, and not the file that it stands for (git lfs pull)",
    ),
    ("<", ANSWER),
    ("{", ANSWER),
    ("[", ANSWER),
];

const ANSWER: &str = "a page or a message, such as the error with which a server has answered instead of sending the backup";

/// What the file is, if it is not a text that somebody has written.
pub(super) fn kind_of(file: &Path) -> Option<&'static str> {
    let mut begin = Vec::new();
    let opened = file.is_file().then(|| File::open(file).ok()).flatten()?;
    opened.take(512).read_to_end(&mut begin).ok()?;
    if begin.is_empty() {
        return None;
    }
    if begin.iter().all(|byte| *byte == 0) {
        return Some(
            "zeros at least at its begin, as a copy or a disk leaves it that was interrupted",
        );
    }
    let is_text = begin
        .iter()
        .all(|byte| *byte >= 0x20 || byte.is_ascii_whitespace());
    let text = String::from_utf8_lossy(&begin);
    let known = BEGINS
        .iter()
        .find(|(word, _)| text.trim_start().starts_with(word));
    known.map(|(_, kind)| *kind).or_else(|| {
        (!is_text).then_some("neither a database nor a text, as a backup is that is encrypted")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("todo.db");
        let kind = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            kind_of(&file)
        };
        for text in ["", "a shopping list\n", "Einkäufe\n"] {
            assert_eq!(kind(text.as_bytes()), None, "{text}");
        }
        assert!(
            kind(b"age-encryption.org/v1\n\x01")
                .unwrap()
                .contains("age")
        );
        assert_eq!(kind(b"\n<!DOCTYPE html>"), Some(ANSWER));
        assert!(kind(&[0; 600]).unwrap().starts_with("zeros"));
        assert!(kind(&[0x8c, 0x0d, 4, 9]).unwrap().contains("encrypted"));
    }
}
