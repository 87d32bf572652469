//! A link on the way to a file that leads to nothing.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::ownership::here;

/// The first component of `path` that is such a link, as the path names it, and what it leads to.
pub(super) fn dangling_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut components: Vec<&Path> = path.ancestors().collect();
    components.reverse();
    components.into_iter().map(here).find_map(|one| {
        let target = fs::read_link(one).ok()?;
        let error = fs::metadata(one).err()?;
        let leads_to_itself = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
        let is_dangling = error.kind() == ErrorKind::NotFound || leads_to_itself;
        is_dangling.then(|| (one.to_owned(), target))
    })
}
