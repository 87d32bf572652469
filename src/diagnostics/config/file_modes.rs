//! Whether files with secrets are open to others than the daemon's user, who may be neither their
//! owner nor the user of this command.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::config::{Account, Barrier, DatabaseTarget, Remedy, as_owner, as_root, has_acl, here};
use crate::diagnostics::context::Context;
use crate::diagnostics::daemon_user::DaemonUser;
use crate::diagnostics::directory::of_file;
use crate::diagnostics::fix::Fix;
use crate::services::last_database;

/// A file that others may use.
pub(super) struct OpenFile {
    pub(super) mode: u32,
    pub(super) remedy: Remedy,
    pub(super) fix: Option<Fix>,
}

const READ: u32 = 0o4;
const WRITE: u32 = 0o2;

/// What a file that its readers have by their group grants to others at most.
const GROUP_READS: u32 = 0o040;

/// The daemon that runs; otherwise the owner of the database or of its directory.
pub(super) fn daemon(context: &Context) -> Option<Account> {
    let database = match context.audit.target() {
        Some(DatabaseTarget::Sqlite(file)) if context.stuck().is_none() => Some(&file.path),
        _ => None,
    };
    let running = DaemonUser::running(database.map(AsRef::as_ref), context.request.source.file());
    let owner = || {
        let file = database?;
        let found = file.metadata().or_else(|_| of_file(file).metadata());
        Some(DaemonUser::owner(&found.ok()?))
    };
    running.or_else(owner).map(|daemon| daemon.account)
}

/// How the user of the daemon that reads `env_file`, or of the last one that did, gets to read `file`
/// again; `None` where it may, and where a unit or a container reads `env_file` for it.
pub(super) fn taken_from_daemon(env_file: &Path, file: &Path) -> Option<(u32, Remedy)> {
    let found = file.metadata().ok().filter(Metadata::is_file)?;
    let running = DaemonUser::running(None, Some(env_file));
    let daemon = running.or_else(|| DaemonUser::last(env_file))?.account;
    let is_closed = !daemon.may(READ, &found) && !has_acl(file);
    is_closed.then(|| {
        let chown = Remedy::command(format!("chown {}", daemon.user)).arg(file);
        (daemon.user, as_root().then(chown))
    })
}

/// How the running daemon gets to keep what it has served, where it may write neither the file for that
/// nor the directory. A read-only mount is meant to have nothing written there.
pub(super) fn without_memory(env_file: &Path) -> Option<(String, Remedy)> {
    let daemon = DaemonUser::running(None, Some(env_file))?.account;
    let file = last_database::path(env_file);
    let folder = here(env_file.parent()?);
    if matches!(Barrier::of(folder), Some(Barrier::Mount(_))) {
        return None;
    }
    let (user, place) = (daemon.user, file.display());
    let (may, command) = match file.metadata() {
        Ok(found) => (
            daemon.may(WRITE, &found),
            Remedy::command(format!("chown {user}")).arg(&file),
        ),
        Err(_) => (
            daemon.may(WRITE, &folder.metadata().ok()?),
            Remedy::command(format!("install -o {user} -m 600 /dev/null")).arg(&file),
        ),
    };
    (!may && !has_acl(folder)).then(|| {
        (
            format!(
                "user {user}, as whom the daemon runs, cannot write {place}: nothing notices an empty database in the place of the service's"
            ),
            as_root().then(command),
        )
    })
}

/// What is wrong with the mode of a file, if it grants something in `others`, the bits of a mode.
pub(super) fn open_to_others(
    path: &Path,
    others: u32,
    daemon: Option<&Account>,
) -> Option<OpenFile> {
    // The mode of a device or a pipe is not todoctl's affair.
    let found = path.metadata().ok().filter(Metadata::is_file)?;
    let of_file_or_directory = || match here(path.parent()?).metadata() {
        Ok(directory) if found.uid() == 0 => Some(DaemonUser::owner(&directory).account),
        _ => Some(DaemonUser::owner(&found).account),
    };
    let daemon = daemon.cloned().or_else(of_file_or_directory)?;
    let mode = found.mode() & 0o777;
    let has_group = has_by_group(&daemon, &found);
    // Nobody but root is in root's own group.
    let is_of_root = found.uid() == 0 && found.gid() == 0;
    let but_group = others & !GROUP_READS;
    let harmful = if has_group || is_of_root {
        but_group
    } else {
        others
    };
    if mode & harmful == 0 {
        return None;
    }
    let without = || Fix::without_mode(path, if has_group { but_group } else { others });
    let (remedy, fix) = if has_group {
        let chmod = Remedy::command("chmod 640").arg(path);
        let is_readable = mode & GROUP_READS != 0;
        let fix = is_readable.then(without).flatten();
        (as_owner(path).then(chmod), fix)
    } else if daemon.user == 0 || daemon.user == found.uid() {
        let chmod = Remedy::command("chmod 600").arg(path);
        (as_owner(path).then(chmod), without())
    } else {
        // Of its owner alone, the daemon could not read it at its next start.
        (as_root().then(given_to(&daemon, path)), None)
    };
    Some(OpenFile { mode, remedy, fix })
}

/// Whether the daemon reads the file as a member of its group; where its groups are not known,
/// whether the file has been given to a group for that.
fn has_by_group(daemon: &Account, file: &Metadata) -> bool {
    let is_others = daemon.user != 0 && daemon.user != file.uid();
    match &daemon.groups {
        Some(groups) => is_others && groups.contains(&file.gid()),
        None => file.gid() != 0 && (is_others || file.uid() == 0),
    }
}

fn given_to(daemon: &Account, path: &Path) -> Remedy {
    let groups = daemon.groups.iter().flatten();
    let (owner, mode) = match groups.last() {
        Some(group) if *group != 0 => (format!("chgrp {group}"), "640"),
        _ => (format!("chown {}", daemon.user), "600"),
    };
    Remedy::command(owner)
        .arg(path)
        .joined(&format!(" && chmod {mode}"))
        .arg(path)
}
