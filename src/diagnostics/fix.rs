//! What `doctor --fix` can do by itself.
//!
//! A fix is data: a check names it in its verdict, and the command line shows it, asks and
//! carries it out. A fix never deletes or overwrites data, and doing it twice does no harm.

use std::path::{Path, PathBuf};

use crate::config::{Remedy, sed, shell_word};

/// One safe change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fix {
    /// Sets the permission bits of a file or directory of this user.
    Mode { path: PathBuf, mode: u32 },
    /// Runs statements on the database's direct connection, under the migration lock, each by
    /// itself. They contain no secret, and nothing of a task.
    Statements(Vec<String>),
    /// Applies the pending migrations.
    Migrate,
    /// Records migrations that the schema already has.
    Stamp,
    /// Spells variables of the `.env` file as todoctl needs it, or without a name its lines. Their
    /// values stay.
    Respell(Vec<String>),
    /// Removes a byte-order mark and the carriage returns of Windows from the `.env` file.
    LineEnds(PathBuf),
}

/// The command that removes a byte-order mark and carriage returns.
pub(super) fn plain_line_ends(path: &Path) -> Remedy {
    Remedy::command(sed(r"'1s/^\xEF\xBB\xBF//; s/\r$//'", path))
}

impl Fix {
    /// Takes the permissions in `bits` from others, if the file is this user's.
    pub(super) fn without_mode(path: &Path, bits: u32) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let found = std::fs::metadata(path).ok()?;
        // The mode of a device is its system's.
        let is_own = found.uid() == rustix::process::geteuid().as_raw()
            && (found.is_file() || found.is_dir());
        let mode = found.mode() & 0o7777;
        (is_own && mode & bits != 0).then(|| Self::Mode {
            path: path.to_owned(),
            mode: mode & !bits,
        })
    }

    /// What it runs in the database.
    pub(super) fn statements(&self) -> &[String] {
        match self {
            Self::Statements(statements) => statements,
            Self::Mode { .. }
            | Self::Migrate
            | Self::Stamp
            | Self::Respell(_)
            | Self::LineEnds(_) => &[],
        }
    }

    /// The command or the statements, as they are shown before they are run.
    pub(crate) fn action(&self) -> String {
        match self {
            Self::Mode { path, mode } => format!("chmod {mode:o} {}", shell_word(path)),
            Self::Statements(statements) => statements.join("; "),
            Self::Migrate => "todoctl migrate up".to_owned(),
            Self::Stamp => "todoctl migrate stamp".to_owned(),
            Self::Respell(names) => {
                let words = ["todoctl config respell"].into_iter();
                let words: Vec<&str> = words.chain(names.iter().map(String::as_str)).collect();
                words.join(" ")
            }
            Self::LineEnds(path) => plain_line_ends(path).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_own_files_with_these_bits() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a b");
        std::fs::write(&file, "").unwrap();
        let set = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode));
        set(0o644).unwrap();
        let fix = Fix::without_mode(&file, 0o077).unwrap();
        assert_eq!(fix.action(), format!("chmod 600 '{}'", file.display()));
        set(0o600).unwrap();
        assert_eq!(Fix::without_mode(&file, 0o077), None);
        assert_eq!(Fix::without_mode(Path::new("/dev/null"), 0o077), None);
        let foreign = Path::new("/proc/1/status");
        if !rustix::process::geteuid().is_root() {
            assert_eq!(Fix::without_mode(foreign, 0o777), None);
        }
    }
}
