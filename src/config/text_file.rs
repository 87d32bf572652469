//! Reads small text files whose paths the operator names.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use super::ownership::unused_name;
use super::remedy::Remedy;
use super::shell::shell_word;

/// Larger than any `.env` file or secret. `/dev/zero` has no end.
const MAX_BYTES: u64 = 1024 * 1024;

/// How long a pipe or a device may take. A named pipe without a writer cannot even be opened.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a file has no text.
#[derive(Debug)]
pub(super) enum Unread {
    Io(io::Error),
    /// As PowerShell's `>` writes it.
    Utf16,
    /// In the line with this number.
    NotUtf8(usize),
    /// A predicate of the file.
    Unusable(String),
}

/// The fault of a file in UTF-16, as a predicate.
pub(super) const UTF_16: &str = "is UTF-16 text, not UTF-8";

/// The fault of a file in another encoding, as a predicate.
pub(super) fn not_utf8(line: usize) -> String {
    format!("is not UTF-8 text in line {line}")
}

/// Converts a file in UTF-16. It keeps its mode and its owner.
pub(super) fn from_utf16(path: &Path) -> Remedy {
    converted(path, "UTF-16")
}

/// The same for the encoding that editors of Windows use in Europe and America.
pub(super) fn from_windows(path: &Path) -> Remedy {
    converted(path, "WINDOWS-1252")
}

fn converted(path: &Path, encoding: &str) -> Remedy {
    let file = shell_word(path);
    let copy = shell_word(&unused_name(path, ".utf8"));
    Remedy::command(format!(
        "(umask 077; iconv -f {encoding} -t UTF-8 {file} > {copy}) && cat {copy} > {file} && rm {copy}"
    ))
}

/// The file's text without a byte-order mark.
pub(super) fn read(path: &Path) -> Result<String, Unread> {
    let bytes = bytes(path)?;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Unread::Utf16);
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.split(|byte| *byte == b'\n').count();
        Unread::NotUtf8(line)
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// The file's bytes. Neither a file without an end nor a pipe without a writer stops the program.
fn bytes(path: &Path) -> Result<Vec<u8>, Unread> {
    let is_regular = path.metadata().map_err(Unread::Io)?.is_file();
    let bytes = if is_regular {
        read_bytes(path)
    } else {
        let (sender, receiver) = mpsc::channel();
        let path = path.to_owned();
        // The thread cannot be stopped while it waits; the process ends soon.
        std::thread::spawn(move || sender.send(read_bytes(&path)));
        receiver
            .recv_timeout(READ_TIMEOUT)
            .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    };
    match bytes {
        Ok(bytes) if bytes.len() as u64 > MAX_BYTES => {
            Err(Unread::Unusable("is larger than 1 MiB".to_owned()))
        }
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::TimedOut && !is_regular => Err(Unread::Unusable(
            "is not a file, and did not end within 5 s".to_owned(),
        )),
        Err(error) => Err(Unread::Io(error)),
    }
}

/// The bytes of a file of at most 1 MiB.
pub(crate) fn read_small_file(path: &Path) -> io::Result<Vec<u8>> {
    bytes(path).map_err(|unread| match unread {
        Unread::Io(error) => error,
        Unread::Utf16 => io::Error::other(UTF_16),
        Unread::NotUtf8(line) => io::Error::other(not_utf8(line)),
        Unread::Unusable(why) => io::Error::other(why),
    })
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unusable(path: &Path) -> String {
        match read(path).unwrap_err() {
            Unread::Unusable(why) => why,
            Unread::Utf16 => UTF_16.to_owned(),
            Unread::NotUtf8(line) => not_utf8(line),
            Unread::Io(error) => panic!("{error}"),
        }
    }

    #[test]
    fn endless_and_foreign_files_are_refused() {
        assert_eq!(unusable(Path::new("/dev/zero")), "is larger than 1 MiB");
        assert_eq!(read(Path::new("/dev/null")).unwrap(), "");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f");
        std::fs::write(&file, vec![b'x'; 1024 * 1024 + 1]).unwrap();
        assert_eq!(unusable(&file), "is larger than 1 MiB");
        std::fs::write(&file, [0xff, 0xfe, b'A', 0]).unwrap();
        assert_eq!(unusable(&file), "is UTF-16 text, not UTF-8");
        std::fs::write(&file, [b'A', 0xff]).unwrap();
        assert_eq!(unusable(&file), "is not UTF-8 text in line 1");
        std::fs::write(&file, "\u{feff}A=1\n").unwrap();
        assert_eq!(read(&file).unwrap(), "A=1\n");
    }

    #[test]
    fn a_pipe_without_a_writer_does_not_hang() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        assert!(unusable(&pipe).contains("did not end"));
    }
}
