//! As whom the daemon runs: the one that is running, the last one, or the owner of what it uses.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::config::Account;
use crate::services::last_database;

use super::probe::{account_of, daemon_with, daemons_of};

/// A user of the daemon, and how that is known.
pub(super) struct DaemonUser {
    pub(super) account: Account,
    /// As a clause.
    pub(super) known_by: String,
    pub(super) is_running: bool,
}

impl DaemonUser {
    /// The user of the daemon that has the database open, or reads the `.env` file.
    pub(super) fn running(database: Option<&Path>, env_file: Option<&Path>) -> Option<Self> {
        let serving = database.and_then(|file| Some(daemons_of(file).first()?.pid));
        let pid = serving.or_else(|| daemon_with(env_file?))?;
        Some(Self {
            account: account_of(pid)?,
            known_by: format!("the daemon (pid {pid}) runs as that user"),
            is_running: true,
        })
    }

    /// The user of the last daemon, unless that was root.
    pub(super) fn last(env_file: &Path) -> Option<Self> {
        let record = last_database::path(env_file);
        Some(Self {
            account: without_groups(last_database::user(env_file)?),
            known_by: format!(
                "the last daemon ran as that user, who owns {}",
                record.display()
            ),
            is_running: false,
        })
    }

    /// The owner of the database, as whom the daemon probably runs.
    pub(super) fn owner(database: &Metadata) -> Self {
        Self {
            account: without_groups(database.uid()),
            known_by: "the database belongs to that user".to_owned(),
            is_running: false,
        }
    }
}

fn without_groups(user: u32) -> Account {
    Account { user, groups: None }
}
