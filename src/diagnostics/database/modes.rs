//! Which other users may open a SQLite file, or replace it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Remedy, SqliteTarget, as_owner};
use crate::diagnostics::context::Context;
use crate::diagnostics::fix::Fix;
use crate::diagnostics::probe::{FileFacts, account_of, daemons_of};
use crate::diagnostics::verdict::Verdict;

use super::file::of_facts;

/// The mode of a directory in which only the owner of a file may replace it.
const STICKY: u32 = 0o1000;

pub(super) async fn modes(context: &Context, file: &SqliteTarget, _limit: Duration) -> Verdict {
    of_facts(context, file, |facts| check(facts, &file.path))
}

fn check(facts: &FileFacts, file: &Path) -> Verdict {
    let shown = format!("mode {:04o}, owner {}", facts.mode, facts.owner);
    let is_for_group = is_used_by_group(file, &facts.directory);
    let (others, taken) = if is_for_group {
        (0o007, "o-rwx")
    } else {
        (0o077, "go-rwx")
    };
    let is_wider = |path: &&PathBuf| {
        path.metadata()
            .is_ok_and(|found| found.mode() & others != 0)
    };
    let wider: Vec<&PathBuf> = facts.wider.iter().filter(is_wider).collect();
    if !wider.is_empty() {
        return Verdict::warn(
            format!(
                "{shown}: other users of this machine may read or lock {}",
                named(&wider)
            ),
            as_owner(file).then(
                wider
                    .iter()
                    .fold(Remedy::command(format!("chmod {taken}")), Remedy::arg),
            ),
        )
        .with_fixes(
            wider
                .iter()
                .filter_map(|path| Fix::without_mode(path, others)),
        );
    }
    let writers = others & 0o022;
    if facts.directory_mode & writers != 0 && facts.directory_mode & STICKY == 0 {
        let directory = facts.directory.display();
        let taken = if is_for_group { "o-w" } else { "go-w" };
        return Verdict::warn(
            format!(
                "{shown}; other users of this machine may replace it, because {directory} has mode {:04o}",
                facts.directory_mode
            ),
            as_owner(&facts.directory)
                .then(Remedy::command(format!("chmod {taken}")).arg(&facts.directory)),
        )
        .with_fixes(Fix::without_mode(&facts.directory, writers));
    }
    Verdict::pass(shown)
}

/// Whether the daemon has its rights as a member of a group; where none runs, whether root has given
/// them to a group for that.
fn is_used_by_group(file: &Path, directory: &Path) -> bool {
    let (Ok(of_file), Ok(of_directory)) = (file.metadata(), directory.metadata()) else {
        return false;
    };
    if let Some(account) = daemons_of(file).first().and_then(|one| account_of(one.pid)) {
        let is_member = account
            .groups
            .is_some_and(|groups| groups.contains(&of_file.gid()));
        return account.user != 0 && account.user != of_file.uid() && is_member;
    }
    of_file.uid() == 0
        && of_file.gid() != 0
        && of_file.gid() == of_directory.gid()
        && of_file.mode() & 0o060 == 0o060
        && of_directory.mode() & 0o030 == 0o030
}

fn named(files: &[&PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|one| one.display().to_string()).collect();
    names.join(", ")
}
