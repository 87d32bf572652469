//! Copies of the `.env` file beside it, which have its secrets too.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::config::{Audit, here, read_small_file};

/// Those that other users of this machine may read, such as `.env.bak`.
pub(super) fn open_copies(env_file: &Path, audit: &Audit) -> Vec<PathBuf> {
    let (Some(name), Some(directory)) = (env_file.file_name(), env_file.parent()) else {
        return Vec::new();
    };
    let entries = here(directory).read_dir().into_iter().flatten();
    let is_copy = |path: &PathBuf| {
        let other = path.file_name().unwrap_or_default().as_encoded_bytes();
        let is_longer = other.len() > name.len() && other.starts_with(name.as_encoded_bytes());
        is_longer && is_open(path) && has_secret(path, audit)
    };
    let paths = entries
        .flatten()
        .map(|entry| directory.join(entry.file_name()));
    let mut copies: Vec<PathBuf> = paths.filter(is_copy).collect();
    copies.sort();
    copies
}

fn is_open(path: &Path) -> bool {
    std::fs::symlink_metadata(path)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o077 != 0)
}

fn has_secret(path: &Path, audit: &Audit) -> bool {
    let bytes = read_small_file(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut secrets = audit.secrets.iter().map(|(_, secret)| secret.expose());
    // Shorter ones are in other words.
    secrets.any(|secret| secret.len() >= 16 && text.contains(secret))
}
