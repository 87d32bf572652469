//! The option `--wait`.

use std::time::Duration;

use crate::cli::output;
use crate::store::migrate::LockWait;

/// How long a command waits for the migration lock.
#[derive(Debug, clap::Args)]
pub struct Wait {
    /// How long to wait while another process migrates.
    #[arg(long = "wait", value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    limit: Duration,
}

impl Wait {
    /// Reports on stderr which process holds the lock.
    pub(super) fn lock_wait(&self) -> LockWait<'static> {
        LockWait::new(self.limit, &output::note)
    }
}
