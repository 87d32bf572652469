//! The directory of the SQLite file, before there is one.

use std::path::Path;

use crate::config::{Barrier, DatabaseTarget, away, in_place_of_directory};
use crate::diagnostics::context::Context;
use crate::diagnostics::directory::{file_system_verdict, nearest_existing, not_writable, of_file};
use crate::diagnostics::probe::{FileSystem, is_writable};
use crate::diagnostics::verdict::{Outcome, Verdict};

pub(super) fn data_directory(context: &Context) -> Verdict {
    match context.audit.target() {
        Some(DatabaseTarget::Sqlite(file)) => directory_verdict(&file.path),
        Some(DatabaseTarget::Postgres(_)) => Verdict::skip("not used with PostgreSQL"),
        None => Verdict::skip("unknown until DATABASE_URL is corrected"),
    }
}

fn directory_verdict(file: &Path) -> Verdict {
    let directory = of_file(file);
    let place = directory.display();
    if !file.exists()
        && let Some(away) = away(file)
    {
        return Verdict::fail(away.to_string(), away.remedy());
    }
    let existing = nearest_existing(directory);
    if !existing.is_dir() {
        return Verdict::fail(
            format!("{} is not a directory", existing.display()),
            in_place_of_directory(existing, file),
        );
    }
    if !is_writable(existing) || Barrier::of(existing).is_some() {
        return not_writable(existing, file);
    }
    match FileSystem::of(existing) {
        Ok(kind) => {
            let verdict = file_system_verdict(kind, directory);
            if verdict.outcome != Outcome::Pass {
                return verdict;
            }
            if existing == directory {
                return Verdict::pass(format!("{place} is writable"));
            }
            Verdict::pass(format!("{place} does not exist yet and can be created"))
        }
        Err(error) => Verdict::warn(
            format!("the file system of {place} is unknown: {error}"),
            None,
        ),
    }
}
