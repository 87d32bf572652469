//! Reads the files of secrets.

use std::io::ErrorKind;
use std::path::Path;

use super::mounts::MissingMount;
use super::ownership::readable;
use super::remedy::Remedy;
use super::text_file::{self, Unread};

/// Why there is no secret in a file.
#[derive(Debug)]
pub(super) struct NoSecret {
    /// A predicate of the file.
    pub fault: String,
    /// What to do, where the file has the secret.
    pub remedy: Option<Remedy>,
}

/// The secret in a file.
pub(super) fn read_secret_file(path: &Path) -> Result<String, NoSecret> {
    let text = text_file::read(path).map_err(|unread| match unread {
        Unread::Io(error) if error.kind() == ErrorKind::NotFound => {
            let mount = MissingMount::above(path);
            let why = mount.as_ref().map(|mount| format!("; {mount}"));
            NoSecret {
                fault: format!("cannot be read: {error}{}", why.unwrap_or_default()),
                remedy: mount.map(|mount| mount.remedy()),
            }
        }
        Unread::Io(error) => NoSecret {
            fault: format!("cannot be read: {error}"),
            remedy: (error.kind() == ErrorKind::PermissionDenied).then(|| readable(path)),
        },
        Unread::Utf16 => NoSecret {
            fault: text_file::UTF_16.to_owned(),
            remedy: Some(text_file::from_utf16(path)),
        },
        Unread::NotUtf8(line) => NoSecret {
            fault: text_file::not_utf8(line),
            remedy: None,
        },
        Unread::Unusable(fault) => NoSecret {
            fault,
            remedy: None,
        },
    })?;
    // As in a variable. Editors and `echo` end a file with a line break or two, which are not part
    // of the secret.
    let text = text.trim();
    if text.is_empty() {
        return Err(NoSecret {
            fault: "is empty".to_owned(),
            remedy: None,
        });
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_files_lose_white_space_and_byte_order_marks() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        for (text, expected) in [
            ("abc\n", "abc"),
            ("abc\r\n", "abc"),
            ("abc\n\n", "abc"),
            ("\u{feff}abc\r\n\r\n", "abc"),
            (" abc \n", "abc"),
            ("abc", "abc"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_secret_file(&path).unwrap(), expected);
        }
        std::fs::write(&path, "\u{feff}\n").unwrap();
        assert_eq!(read_secret_file(&path).unwrap_err().fault, "is empty");
        let endless = read_secret_file(Path::new("/dev/zero"));
        assert_eq!(endless.unwrap_err().fault, "is larger than 1 MiB");
        let missing = read_secret_file(Path::new("/no/such/file"));
        assert!(missing.unwrap_err().fault.starts_with("cannot be read"));
    }
}
