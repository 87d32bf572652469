//! Sizes for people.

/// Bytes in words.
pub(super) fn in_bytes(bytes: i64) -> String {
    match bytes {
        bytes if bytes >= 10 << 30 => format!("{} GiB", bytes >> 30),
        bytes if bytes >= 10 << 20 => format!("{} MiB", bytes >> 20),
        bytes => format!("{} KiB", bytes >> 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_words() {
        assert_eq!(in_bytes(8192), "8 KiB");
        assert_eq!(in_bytes(64 << 20), "64 MiB");
        assert_eq!(in_bytes(64 << 30), "64 GiB");
    }
}
