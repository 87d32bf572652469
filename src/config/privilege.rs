//! Who has to type a command.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::remedy::Remedy;

/// Says who has to type what follows, unless this process is root's.
pub(crate) fn as_root() -> Remedy {
    if rustix::process::geteuid().is_root() {
        Remedy::default()
    } else if Path::new("/.dockerenv").exists() {
        Remedy::note("as root, on the host if the directory is mounted from there:")
    } else {
        Remedy::note("as root:")
    }
}

/// Says who has to type what follows, unless the file or directory is this user's own.
pub(crate) fn as_owner(path: &Path) -> Remedy {
    let user = rustix::process::geteuid().as_raw();
    match path.metadata() {
        Ok(found) if found.uid() == user => Remedy::default(),
        _ => as_root(),
    }
}
