//! Who has to type a command.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use procfs::process::Process;

use super::container::{AS_ROOT, in_container};
use super::remedy::Remedy;

/// What root may do, unless it was taken from it, as in a container (`capabilities(7)`).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Capability {
    /// To use files whatever their owners and modes.
    Files = 1,
    /// To raise the limits of other processes.
    Limits = 24,
}

impl Capability {
    /// Whether this process has it.
    pub(crate) fn is_held(self) -> bool {
        let status = Process::myself().and_then(|process| process.status());
        status.is_ok_and(|status| status.capeff & (1 << self as u32) != 0)
    }
}

/// Says who has to type what follows, unless this process is root's.
pub(crate) fn as_root() -> Remedy {
    if rustix::process::geteuid().is_root() {
        Remedy::default()
    } else if in_container() {
        Remedy::note(AS_ROOT)
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
