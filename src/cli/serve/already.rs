//! A start beside a daemon that serves this database already.

use std::io;

use crate::api::ServeError;
use crate::cli::hint::Hint;
use crate::config::{DatabaseTarget, Remedy};
use crate::services::run_record::{LastRun, last_run};

/// Names the daemon of the same database that has the address. With another `PORT` there would be two
/// of them, and clients would still ask the first one.
pub(super) fn explained(error: ServeError, target: &DatabaseTarget) -> anyhow::Error {
    let ServeError::Listen {
        address, source, ..
    } = &error
    else {
        return error.into();
    };
    let Some(LastRun::Running(run)) = last_run(target) else {
        return error.into();
    };
    if source.kind() != io::ErrorKind::AddrInUse || run.address.port() != address.port() {
        return error.into();
    }
    let (pid, at) = (run.pid, run.address);
    let user = run
        .user
        .map_or_else(String::new, |user| format!(", user {user}"));
    Hint::new(
        format!("the daemon of this database runs already (pid {pid}{user}), and listens on {at}"),
        Remedy::note(format!(
            "nothing has to be started; to replace it, end it first as it was started: its unit (systemctl stop), its container, or else: kill {pid}"
        )),
    )
    .into()
}
