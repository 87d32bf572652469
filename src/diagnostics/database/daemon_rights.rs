//! Whether the daemon's user may use a SQLite file. Root looks at the modes: it may use all itself.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::config::{
    Closed, Remedy, closed_to_owner, files_beside, has_acl, opened_to_owner, resolved, writable_for,
};
use crate::diagnostics::daemon_user::DaemonUser;
use crate::diagnostics::directory::of_file;
use crate::diagnostics::probe::daemons_of;
use crate::diagnostics::verdict::Verdict;

/// What SQLite needs of its file, and of the directory for its log, as the last three bits of a mode.
const READ_AND_WRITE: u32 = 0o6;
const CREATE: u32 = 0o3;

/// After files have become writable.
pub(super) const RESTART: &str = "then restart the daemon: it may have opened them only to read";

/// What is in the way of the daemon's user; `None` also where that is root or not known.
pub(super) fn missing(file: &Path, env_file: Option<&Path>) -> Option<Verdict> {
    let own = rustix::process::geteuid();
    if !own.is_root() {
        let is_running = !daemons_of(file).is_empty();
        let who = "this command runs as that user";
        return closed_files(own.as_raw(), file, who, is_running);
    }
    // SQLite has its log beside the file that a link leads to.
    let place = resolved(file);
    let directory = of_file(&place);
    let (of_directory, of_database) = (directory.metadata().ok()?, file.metadata().ok()?);
    let owner = || (of_database.uid() != 0).then(|| DaemonUser::owner(&of_database));
    let DaemonUser {
        account,
        known_by: who,
        is_running,
    } = DaemonUser::running(Some(file), None)
        .or_else(|| DaemonUser::last(env_file?))
        .or_else(owner)?;
    let user = account.user;
    if let Some(closed) = Closed::to(&account, directory) {
        return Some(Verdict::fail(format!("{closed}; {who}"), closed.remedy()));
    }
    if !account.may(CREATE, &of_directory) && !has_acl(directory) {
        let is_own = of_directory.uid() == user;
        let detail = format!(
            "{} is not writable for user {user}, and SQLite creates its log there; {who}",
            directory.display()
        );
        let remedy = if is_own {
            let closed = closed_to_owner(user, file);
            let others = (!closed.is_empty()).then(|| opened_to_owner(&closed));
            Remedy::command("chmod u+rwx").arg(directory).then(others)
        } else {
            writable_for(user, directory)
        };
        return Some(if is_own || is_running {
            Verdict::fail(detail, remedy)
        } else {
            // It may be root's after all.
            Verdict::warn(detail, remedy)
        });
    }
    let is_of_other = of_database.uid() != user;
    if is_of_other && !account.may(READ_AND_WRITE, &of_database) && !has_acl(file) {
        let files = std::iter::once(file.to_owned()).chain(files_beside(file));
        let chown = files.fold(Remedy::command(format!("chown {user}")), Remedy::arg);
        let detail = format!(
            "{} belongs to user {} and is not writable for user {user}; {who}",
            file.display(),
            of_database.uid()
        );
        return Some(if is_running {
            Verdict::fail(detail, chown.then(Remedy::note(RESTART)))
        } else {
            Verdict::warn(detail, chown)
        });
    }
    closed_files(user, file, &who, is_running)
}

fn closed_files(user: u32, file: &Path, who: &str, is_running: bool) -> Option<Verdict> {
    let closed = closed_to_owner(user, file);
    let first = closed.first()?.display();
    let restart = is_running.then(|| Remedy::note(RESTART));
    Some(Verdict::fail(
        format!("{first} is not writable for its owner, user {user}; {who}"),
        opened_to_owner(&closed).then(restart),
    ))
}
