//! How many files a running daemon may open, and how large they may become (`setrlimit(2)`).

use std::path::Path;

use procfs::process::LimitValue;

use crate::config::{Remedy, with_suffix};
use crate::diagnostics::collected::Collected;
use crate::diagnostics::halted::more_files;
use crate::diagnostics::process_limit::ProcessLimit;
use crate::services::daemon::ProcessStatus;

/// The write-ahead log alone may become as large before it is written back.
const LEAST: u64 = 64 << 20;

/// A file grows by a page at least.
const PAGE: u64 = 4096;

/// Of the limit. The daemon keeps some files for itself and refuses clients before it fails.
const FILES_PERCENT: u64 = 90;

/// Fewer files are few even for a small service: the daemon keeps 320 of them for itself.
const FEWEST_FILES: u64 = 1024;

/// Warns if nearly all the files and sockets are open that may be, or if only few may be.
pub(super) fn check_open_files(collected: &mut Collected, process: &ProcessStatus) {
    let (Some(open), Some(max)) = (process.open_files, process.max_files) else {
        return;
    };
    let text = format!("{open} of {max} files and sockets open");
    if open * 100 >= max * FILES_PERCENT {
        collected.warn(
            format!("{text}: connections are refused"),
            more_files(max, process.pid.cast_signed()),
        );
    } else if max < FEWEST_FILES {
        collected.warn(
            format!("{text}: the limit is low, and connections are refused long before it is reached"),
            Remedy::note(
                "raise it where the daemon is started, and restart the daemon: LimitNOFILE=16384 in the unit file, docker run --ulimit nofile=16384, or ulimit -Hn in the script that starts it",
            ),
        );
    } else {
        collected.note(text);
    }
}

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
    let unlimited = ProcessLimit {
        option: "fsize",
        hard: |limits| limits.max_file_size.hard_limit,
        wanted: LimitValue::Unlimited,
        later: "remove LimitFSIZE from the unit file, or ulimit -f from the script that starts it"
            .to_owned(),
    };
    let remedy = unlimited.raised(process.pid.cast_signed());
    let text = format!(
        "the daemon may write files of {} KiB, and the database has {} KiB",
        limit >> 10,
        size >> 10
    );
    if size.saturating_add(PAGE) > limit {
        collected.fail(format!("{text}: changes are answered with 503"), remedy);
    } else {
        collected.warn(
            format!("{text}: beyond that, changes are answered with 503"),
            remedy,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Outcome::{self, Fail, Pass, Warn};

    #[test]
    fn limits_of_open_files() {
        let outcome = |open, max| -> Outcome {
            let mut collected = Collected::default();
            let process = ProcessStatus {
                open_files: Some(open),
                max_files: Some(max),
                ..ProcessStatus::default()
            };
            check_open_files(&mut collected, &process);
            collected.verdict("fine").outcome
        };
        assert_eq!(outcome(20, FEWEST_FILES), Pass);
        assert_eq!(outcome(1000, FEWEST_FILES), Warn);
        assert_eq!(outcome(20, 512), Warn);
    }

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
        assert_eq!(outcome(Some(LEAST)), Fail);
        assert_eq!(outcome(Some(LEAST + (1 << 20))), Warn);
        assert_eq!(outcome(Some(2 * LEAST)), Pass);
    }
}
