//! A daemon that serves a SQLite file while the one of this configuration does not exist.

use std::path::Path;

use futures_util::future::LocalBoxFuture;

use crate::config::{DatabaseTarget, Remedy, sqlite_url};
use crate::diagnostics::context::Context;
use crate::diagnostics::probe;
use crate::diagnostics::verdict::Verdict;

/// What checks of the database cannot say about a file that is not there yet: a start would create it,
/// empty, although the service has one.
pub(super) fn served_instead(context: &Context) -> LocalBoxFuture<'_, Option<Verdict>> {
    Box::pin(find(context))
}

async fn find(context: &Context) -> Option<Verdict> {
    let Some(DatabaseTarget::Sqlite(file)) = context.audit.target() else {
        return None;
    };
    if file.path.exists() {
        return None;
    }
    let port = context.audit.http.port;
    let daemon = probe::listener(port).await?;
    if !daemon.is_todoctl() || probe::has_own_mounts(daemon.pid) {
        return None;
    }
    let open = probe::open_database(daemon.pid)?;
    let has_env_file = context.request.source.file().is_some();
    Some(verdict(daemon.pid, port, &file.path, &open, has_env_file))
}

fn verdict(pid: i32, port: u16, path: &Path, open: &Path, has_env_file: bool) -> Verdict {
    let (path, open_name) = (path.display(), open.display());
    let started_in = std::fs::read_link(format!("/proc/{pid}/cwd"));
    let remedy = match started_in {
        Ok(directory) if !has_env_file && !is_here(&directory) => Remedy::note(
            "this directory has no .env file; the daemon was started in another one:",
        )
        .then(Remedy::command("cd").arg(directory)),
        _ => Remedy::note(
            "do not restart the daemon before this: it would begin an empty database. If it is another service, give this one another PORT; if it is this service, this names its database, and the secrets that were generated beside it are used too:",
        )
        .then(Remedy::set("DATABASE_URL", sqlite_url(open))),
    };
    Verdict::fail(
        format!(
            "the daemon (pid {pid}) at port {port} serves {open_name}; this configuration names {path}, which does not exist"
        ),
        remedy,
    )
}

fn is_here(directory: &Path) -> bool {
    std::env::current_dir().is_ok_and(|here| here == directory)
}
