//! How large the files of a running daemon may become (`RLIMIT_FSIZE` of `setrlimit(2)`).

use std::path::Path;

use crate::config::{Remedy, with_suffix};
use crate::diagnostics::collected::Collected;
use crate::services::daemon::ProcessStatus;

/// The write-ahead log alone may become as large before it is written back.
const LEAST: u64 = 64 << 20;

/// Warns if the SQLite database is near the limit, or its log may exceed it.
pub(super) fn check_file_limit(collected: &mut Collected, process: &ProcessStatus, file: &Path) {
    let Some(limit) = process.max_file_bytes else {
        return;
    };
    let size_of = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
    let size = size_of(file).max(size_of(&with_suffix(file, "-wal")));
    if limit >= LEAST.max(size.saturating_mul(2)) {
        return;
    }
    collected.warn(
        format!(
            "the daemon may write files of {} KiB, and the database has {} KiB: beyond that, changes are answered with 503",
            limit >> 10,
            size >> 10
        ),
        Remedy::command(format!(
            "prlimit --pid {} --fsize=unlimited:unlimited",
            process.pid
        ))
        .then(Remedy::note(
            "for the next start: remove LimitFSIZE from the unit file, or ulimit -f from the script that starts it",
        )),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Outcome::{self, Pass, Warn};

    #[test]
    fn limits_of_file_sizes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("todo.db");
        let outcome = |max_file_bytes| -> Outcome {
            let mut collected = Collected::default();
            let process = ProcessStatus {
                max_file_bytes,
                ..ProcessStatus::default()
            };
            check_file_limit(&mut collected, &process, &file);
            collected.verdict("fine").outcome
        };
        assert_eq!(outcome(None), Pass);
        assert_eq!(outcome(Some(LEAST)), Pass);
        assert_eq!(outcome(Some(150 << 10)), Warn);
        // A file with a hole needs no space.
        let log = std::fs::File::create(with_suffix(&file, "-wal")).unwrap();
        log.set_len(LEAST).unwrap();
        assert_eq!(outcome(Some(LEAST)), Warn);
        assert_eq!(outcome(Some(2 * LEAST)), Pass);
    }
}
