//! Writing files whose paths the operator names: only regular files of the user who runs the
//! command, so that neither a device nor, through a link, a file of somebody else is replaced. Root
//! may change the service's files, which stay those of their owner.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::path::{Path, PathBuf};

/// Where a file of this user is, or will be.
#[derive(Debug)]
pub(crate) struct OwnFile {
    path: PathBuf,
    /// The file that is replaced.
    replaced: Option<fs::Metadata>,
    /// Whether the daemon reads it.
    is_of_service: bool,
}

impl OwnFile {
    /// Follows a symbolic link. Fails if there is something that must not be replaced.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        Self::regular(path, false)
    }

    /// As [`OwnFile::at`], for `.env` and files of secrets: root changes those of the service's
    /// user too.
    pub(crate) fn of_service(path: &Path) -> io::Result<Self> {
        Self::regular(path, true)
    }

    fn regular(path: &Path, is_of_service: bool) -> io::Result<Self> {
        let refuse = |why: String| Err(io::Error::other(why));
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if path.is_symlink() {
                    return refuse(
                        "it is a symbolic link to a file that does not exist".to_owned(),
                    );
                }
                return Ok(Self {
                    path: path.to_owned(),
                    replaced: None,
                    is_of_service,
                });
            }
            Err(error) => return Err(error),
        };
        if !found.is_file() {
            return refuse(format!("it is {}, not a file", kind(&found)));
        }
        let user = rustix::process::geteuid().as_raw();
        let may_be_others = is_of_service && user == 0;
        // Others may place links in directories that they can write to.
        let link = fs::symlink_metadata(path)?;
        let is_of_owner = may_be_others && link.uid() == found.uid();
        if link.is_symlink() && link.uid() != user && link.uid() != 0 && !is_of_owner {
            return refuse(format!("it is a symbolic link of user {}", link.uid()));
        }
        if found.uid() != user && !may_be_others {
            return refuse(format!(
                "it belongs to user {}, and this command runs as user {user}",
                found.uid()
            ));
        }
        Ok(Self {
            path: fs::canonicalize(path)?,
            replaced: Some(found),
            is_of_service,
        })
    }

    /// As [`OwnFile::at`], for a file whose name the program chose: nobody means a link there.
    pub(crate) fn without_link(path: &Path) -> io::Result<Self> {
        if path.is_symlink() {
            return Err(io::Error::other("it is a symbolic link"));
        }
        Self::at(path)
    }

    /// The file itself, behind any link.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file in one step: a reader sees the old one or the new one. The new one
    /// has `mode`, or, where the service reads it, the rights of the old one: see [`keep_rights`].
    pub(crate) fn write(&self, bytes: &[u8], mode: u32) -> io::Result<()> {
        let directory = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut file = tempfile::Builder::new()
            .prefix(".todoctl-")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(directory)
            // The library's message names the temporary file, which means nothing to the user.
            .map_err(|error| io::Error::from(error.kind()))?;
        if let Some(replaced) = &self.replaced {
            if self.is_of_service {
                keep_rights(file.as_file(), replaced, &directory.metadata()?)?;
            } else {
                // Users who are not in the group may not set it, and need not.
                let _ = fchown(file.as_file(), None, Some(replaced.gid()));
            }
        }
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        File::open(directory)?.sync_all()
    }

    /// Adds to the end of the file, and creates it with `mode` if it does not exist.
    pub(crate) fn append(&self, text: &str, mode: u32) -> io::Result<()> {
        let mut file = File::options()
            .append(true)
            .create(true)
            .mode(mode)
            .open(&self.path)?;
        file.write_all(text.as_bytes())
    }
}

/// Gives the new file the owner, the group and the mode of the old one, so that the daemon can still
/// read it. A file that others may read, and that belongs to the owner of its directory, is closed.
fn keep_rights(file: &File, old: &fs::Metadata, directory: &fs::Metadata) -> io::Result<()> {
    let new = file.metadata()?;
    let owner = (new.uid() != old.uid()).then_some(old.uid());
    let group = (new.gid() != old.gid()).then_some(old.gid());
    fchown(file, owner, group).or_else(|error| {
        // Users who are not in the group may not set it, and need not where it has no rights.
        let is_needed = owner.is_some() || old.mode() & 0o070 != 0;
        if is_needed { Err(error) } else { Ok(()) }
    })?;
    // The owner of the directory is the daemon's user, who needs no rights of others.
    let is_own = directory.uid() == old.uid() && directory.gid() == old.gid();
    let is_open = old.mode() & 0o007 != 0;
    let kept = if is_own && is_open { 0o700 } else { 0o777 };
    file.set_permissions(Permissions::from_mode(old.mode() & kept))
}

fn kind(found: &fs::Metadata) -> &'static str {
    let kind = found.file_type();
    if kind.is_dir() {
        "a directory"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "something else"
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[track_caller]
    fn refused(path: &Path) -> String {
        OwnFile::at(path).unwrap_err().to_string()
    }

    #[test]
    fn only_regular_files_are_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert!(refused(Path::new("/dev/null")).contains("a device"));
        assert!(refused(directory.path()).contains("a directory"));
        symlink("/dev/null", at("null")).unwrap();
        assert!(refused(&at("null")).contains("a device"));
        symlink(at("missing"), at("dangling")).unwrap();
        assert!(refused(&at("dangling")).contains("does not exist"));
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        assert!(refused(&at("socket")).contains("a socket"));
    }

    #[test]
    fn files_of_others_are_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        // Tests run as some user; one of the two files is another's.
        let file = directory.path().join("file");
        fs::write(&file, "theirs").unwrap();
        let foreign = if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
            file
        } else {
            "/etc/passwd".into()
        };
        symlink(&foreign, &link).unwrap();
        for path in [&foreign, &link] {
            assert!(refused(path).contains("belongs to user"));
        }
    }

    #[test]
    fn links_to_own_files_stay() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "old").unwrap();
        symlink(&file, &link).unwrap();
        let own = OwnFile::at(&link).unwrap();
        own.write(b"new", 0o600).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(link.is_symlink());
        let error = OwnFile::without_link(&link).unwrap_err();
        assert!(error.to_string().contains("symbolic link"));
        assert!(OwnFile::without_link(&file).is_ok());
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn files_of_the_service_keep_their_rights() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "old").unwrap();
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            std::os::unix::fs::chown(&file, Some(65534), Some(65533)).unwrap();
        }
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let rights = || {
            let found = fs::metadata(&file).unwrap();
            (found.uid(), found.gid(), found.mode())
        };
        let before = rights();
        let own = OwnFile::of_service(&file).unwrap();
        own.write(b"new", 0o600).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(rights(), before);
        if is_root {
            // Who may place links here is not the owner of what they lead to.
            let link = directory.path().join("link");
            symlink(&file, &link).unwrap();
            std::os::unix::fs::lchown(&link, Some(65532), None).unwrap();
            let error = OwnFile::of_service(&link).unwrap_err().to_string();
            assert!(error.contains("a symbolic link of user 65532"), "{error}");
        }
    }
}
