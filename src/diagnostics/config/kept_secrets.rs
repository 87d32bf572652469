//! Files of generated secrets that were deleted while the daemon that uses them runs.

use std::path::{Path, PathBuf};

use crate::config::{DatabaseTarget, Remedy, generated_secret_path, here};
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{KeptSecret, kept_secret};
use crate::diagnostics::verdict::Verdict;

/// The daemon still has them. The next start would generate others.
pub(super) fn deleted(context: &Context) -> Option<Verdict> {
    let Some(DatabaseTarget::Sqlite(database)) = context.audit.target() else {
        return None;
    };
    let missing = context.audit.missing_secrets().iter();
    let kept: Vec<(PathBuf, KeptSecret)> = missing
        .filter_map(|name| {
            let path = generated_secret_path(database, name.as_str());
            let kept = kept_secret(&database.path, &path)?;
            Some((path, kept))
        })
        .collect();
    let (first, one) = kept.first()?;
    let paths: Vec<String> = kept
        .iter()
        .map(|(path, _)| path.display().to_string())
        .collect();
    let pid = one.pid;
    let directory = first.parent().unwrap_or(Path::new("."));
    // Its parent is missing where the database is gone as well.
    let mut missing: Vec<&Path> = directory
        .ancestors()
        .map(here)
        .take_while(|directory| !directory.exists())
        .collect();
    missing.reverse();
    let make = missing.first().map(|_| {
        let install = install("-d -m 700", one);
        missing.iter().fold(install, Remedy::arg)
    });
    let copies = kept.iter().map(|(path, kept)| {
        let copy = install("-m 600", kept);
        copy.arg(&kept.file).arg(path)
    });
    let remedy = copies.fold(Remedy::default().then(make), Remedy::then);
    Some(Verdict::fail(
        format!(
            "{}: deleted while the daemon (pid {pid}) runs, which still has what was in there; after its end they are lost, and services, sessions and provider keys of these secrets are refused",
            paths.join(", ")
        ),
        Remedy::note("before the daemon is restarted; this copies them from it:").then(remedy),
    ))
}

/// With the owner that the daemon's files have.
fn install(options: &str, kept: &KeptSecret) -> Remedy {
    let (user, group) = kept.owner;
    let owner = if user == rustix::process::geteuid().as_raw() {
        String::new()
    } else {
        format!(" -o {user} -g {group}")
    };
    Remedy::command(format!("install {options}{owner}"))
}
