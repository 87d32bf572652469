//! Sizes: of the database, of its cache, and of the disk as far as that is known.

use std::path::Path;
use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget, PostgresTarget, Remedy};
use crate::diagnostics::check::Server;
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::Load;
use crate::diagnostics::verdict::Verdict;

use super::answer::of_answer;
use super::bytes::in_bytes;
use super::file;

/// Fewer reads say nothing about a cache.
const BLOCKS: i64 = 1_000_000;

/// PostgreSQL writes 16 MiB of log at a time, and stops when it cannot.
const FREE_FAIL: u64 = 64 << 20;
const FREE_WARN: u64 = 1 << 30;

pub(super) async fn size(context: &Context, config: &DatabaseConfig, limit: Duration) -> Verdict {
    match &config.target {
        DatabaseTarget::Postgres(target) => {
            let server = Server { config, target };
            of_answer(
                context,
                server,
                limit,
                async |connection| connection.load().await,
                |load| check_load(load, free_space(load.data_directory.as_deref(), target)),
            )
            .await
        }
        DatabaseTarget::Sqlite(path) => file::size(context, path, limit).await,
    }
}

/// Free bytes of the disk that holds the server's data, if that is on this machine.
pub(super) fn free_space(directory: Option<&str>, server: &PostgresTarget) -> Option<u64> {
    let is_local = server.host.starts_with('/')
        || server.host == "localhost"
        || server
            .host
            .trim_matches(['[', ']'])
            .parse()
            .is_ok_and(|host: std::net::IpAddr| host.is_loopback());
    let directory = directory.filter(|_| is_local)?;
    let disk = rustix::fs::statvfs(Path::new(directory)).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn check_load(load: &Load, free: Option<u64>) -> Verdict {
    let mut collected = Collected::default();
    if let Some(free) = free {
        let place = load.data_directory.as_deref().unwrap_or_default();
        let text = format!("{} free on the disk of {place}", in_bytes(saturated(free)));
        let remedy = || {
            Remedy::note("free some space on it, or make it larger")
                .then(Remedy::command("df -h").arg(place))
        };
        if free < FREE_FAIL {
            collected.fail(format!("{text}: the server is about to stop"), remedy());
        } else if free < FREE_WARN {
            collected.warn(text, remedy());
        } else {
            collected.note(text);
        }
    }
    if load.blocks >= BLOCKS {
        let percent = load.cached_blocks * 100 / load.blocks;
        collected.note(format!(
            "the cache answers {percent} % of the reads of the service's tables"
        ));
    }
    if load.temporary_files > 0 {
        collected.note(format!(
            "{} temporary files of {} since the statistics began",
            load.temporary_files,
            in_bytes(load.temporary_bytes)
        ));
    }
    if load.deadlocks > 0 {
        collected.note(format!("{} deadlocks", load.deadlocks));
    }
    collected.verdict(in_bytes(load.database_bytes))
}

pub(super) fn saturated(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Outcome::{self, Fail, Pass, Warn};

    fn load() -> Load {
        Load {
            database_bytes: 20 << 20,
            blocks: 2_000_000,
            cached_blocks: 1_990_000,
            temporary_files: 3,
            temporary_bytes: 4096,
            deadlocks: 0,
            data_directory: Some("/data".to_owned()),
        }
    }

    #[test]
    fn verdicts() {
        let outcome = |free| -> Outcome { check_load(&load(), free).outcome };
        assert_eq!(outcome(None), Pass);
        assert_eq!(outcome(Some(500 << 20)), Warn);
        assert_eq!(outcome(Some(1 << 20)), Fail);
        assert_eq!(outcome(Some(1 << 40)), Pass);
        let detail = check_load(&load(), None).detail;
        assert_eq!(
            detail,
            "20 MiB; the cache answers 99 % of the reads of the service's tables; 3 temporary files of 4 KiB since the statistics began"
        );
    }
}
