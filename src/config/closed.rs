//! Directories on the way to a file that a user may not enter.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::privilege::as_owner;
use super::remedy::Remedy;
use super::user_namespace::mapped;

/// A user whose rights are judged by modes, because this process runs as another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) user: u32,
    /// `None` where they are not known: whatever is open to a group counts as open.
    pub(crate) groups: Option<Vec<u32>>,
}

impl Account {
    /// Whether it has these rights, the last three bits of a mode. Root has all.
    pub(crate) fn may(&self, rights: u32, file: &Metadata) -> bool {
        let granted = |shift: u32| (file.mode() >> shift) & rights == rights;
        if self.user == 0 || self.user == file.uid() {
            return self.user == 0 || granted(6);
        }
        match &self.groups {
            Some(groups) if groups.contains(&file.gid()) => granted(3),
            Some(_) => granted(0),
            None => granted(3) || granted(0),
        }
    }
}

/// A directory that exists and cannot be entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    directory: PathBuf,
    owner: u32,
    mode: u32,
    user: u32,
}

const ENTER: u32 = 0o1;

impl Closed {
    /// The first directory above `path` that this process may not enter.
    pub(crate) fn to_this_process(path: &Path) -> Option<Self> {
        let is_closed = |directory: &Path| {
            accessat(CWD, directory, Access::EXEC_OK, AtFlags::EACCESS) == Err(Errno::ACCESS)
        };
        Self::first(path, rustix::process::geteuid().as_raw(), |directory, _| {
            is_closed(directory)
        })
    }

    /// The first that `account` may not enter, by its mode.
    pub(crate) fn to(account: &Account, path: &Path) -> Option<Self> {
        Self::first(path, account.user, |directory, found| {
            !account.may(ENTER, found) && !has_acl(directory)
        })
    }

    fn first(path: &Path, user: u32, is_closed: impl Fn(&Path, &Metadata) -> bool) -> Option<Self> {
        let whole = std::path::absolute(path).ok()?;
        let mut above: Vec<&Path> = whole.ancestors().skip(1).collect();
        above.reverse();
        above.into_iter().find_map(|directory| {
            let found = directory.metadata().ok()?;
            let is_closed = found.is_dir() && is_closed(directory, &found);
            is_closed.then(|| Self {
                directory: directory.to_owned(),
                owner: found.uid(),
                mode: found.mode() & 0o7777,
                user,
            })
        })
    }

    pub(crate) fn remedy(&self) -> Remedy {
        if let Some(remedy) = mapped(&self.directory, self.owner, self.user) {
            return remedy;
        }
        let who = if self.owner == self.user { 'u' } else { 'o' };
        as_owner(&self.directory)
            .then(Remedy::note(
                "lets others pass through the directory, and not list what is in it:",
            ))
            .then(Remedy::command(format!("chmod {who}+x")).arg(&self.directory))
    }
}

/// Whether an access control list (acl(5)) says more than the mode.
pub(crate) fn has_acl(path: &Path) -> bool {
    let mut value = [0; 64];
    match rustix::fs::getxattr(path, "system.posix_acl_access", &mut value) {
        Ok(_) | Err(Errno::RANGE) => true,
        Err(_) => false,
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "user {} may not enter {} (owner {}, mode {:04o}), and so reaches nothing below it",
            self.user,
            self.directory.display(),
            self.owner,
            self.mode
        )
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    #[test]
    fn rights_by_modes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("todo.db");
        std::fs::write(&file, "").unwrap();
        let may = |user, groups: Option<&[u32]>, mode| {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let groups = groups.map(<[u32]>::to_vec);
            Account { user, groups }.may(0o6, &file.metadata().unwrap())
        };
        let own = rustix::process::geteuid().as_raw();
        let group = file.metadata().unwrap().gid();
        assert_eq!(may(own, None, 0o066), own == 0);
        assert!(may(0, None, 0));
        for (groups, mode, expected) in [
            (Some(&[group][..]), 0o660, true),
            (Some(&[group]), 0o606, false),
            (Some(&[]), 0o660, false),
            (Some(&[]), 0o606, true),
            (None, 0o660, true),
            (None, 0o606, true),
            (None, 0o600, false),
        ] {
            assert_eq!(may(own + 1, groups, mode), expected, "{groups:?} {mode:o}");
        }
    }

    #[test]
    fn the_first_that_is_closed() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let top = tempfile::tempdir().unwrap();
        let home = top.path().join("home");
        let file = home.join("data/todo.db");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set(top.path(), 0o755);
        set(&home, 0o700);
        let account = Account {
            user: 65_534,
            groups: Some(vec![65_534]),
        };
        let closed = Closed::to(&account, &file).unwrap();
        assert_eq!(closed.directory, home);
        assert!(
            closed
                .remedy()
                .to_string()
                .ends_with(&format!("chmod o+x {}", home.display()))
        );
        set(&home, 0o711);
        assert_eq!(Closed::to(&account, &file), None);
        assert_eq!(Closed::to_this_process(&file), None);
        chown(&home, Some(65_534), None).unwrap();
        set(&home, 0o611);
        let closed = Closed::to(&account, &file).unwrap();
        assert!(closed.remedy().to_string().contains("chmod u+x"));
    }
}
