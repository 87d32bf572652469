//! How much memory a running daemon may have.

use std::time::Duration;

use procfs::process::Process;

use crate::config::Remedy;
use crate::diagnostics::collected::Collected;
use crate::services::daemon::ProcessStatus;
use crate::services::memory_kills::MemoryKills;

/// Of the limit. What is left is used up by a few large requests.
const PERCENT: u64 = 90;

const RAISE: &str = "raise the limit where it is set: MemoryMax= in the unit file, docker run --memory, or the memory of the platform's instance; fewer connections (SQLALCHEMY_POOL_SIZE) need less";

/// How long a daemon runs until what was before is left alone.
const RECENT: Duration = Duration::from_secs(86_400);

/// Warns if the daemon alone needs nearly all the memory that its control group may have.
pub(super) fn check_memory_limit(collected: &mut Collected, process: &ProcessStatus) {
    let (Some(used), Some(limit)) = (process.anonymous_bytes, process.max_memory_bytes) else {
        return;
    };
    if used.saturating_mul(100) < limit.saturating_mul(PERCENT) {
        return;
    }
    collected.warn(
        format!(
            "{} of {} MiB of memory used: at the limit the kernel kills the daemon",
            used >> 20,
            limit >> 20
        ),
        Remedy::note(RAISE),
    );
}

/// Warns if the kernel has killed in the daemon's control group, and the daemon was started since: it was
/// probably the daemon before this one. An old event says nothing of a daemon that runs well.
pub(super) fn check_memory_kills(collected: &mut Collected, process: &Process, age: Duration) {
    let Some(kills) = MemoryKills::of(process).map(|found| found.count) else {
        return;
    };
    if kills == 0 || age > RECENT {
        return;
    }
    collected.warn(
        format!(
            "the kernel has killed {kills} of the processes of its control group for lack of memory, and the daemon was started {} ago",
            humantime::format_duration(age)
        ),
        Remedy::note(RAISE),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Outcome::{self, Pass, Warn};

    #[test]
    fn limits_of_memory() {
        let outcome = |anonymous_bytes, max_memory_bytes| -> Outcome {
            let mut collected = Collected::default();
            let process = ProcessStatus {
                anonymous_bytes,
                max_memory_bytes,
                ..ProcessStatus::default()
            };
            check_memory_limit(&mut collected, &process);
            collected.verdict("fine").outcome
        };
        assert_eq!(outcome(Some(89), Some(100)), Pass);
        assert_eq!(outcome(Some(90), Some(100)), Warn);
        assert_eq!(outcome(Some(90), None), Pass);
        assert_eq!(outcome(None, Some(100)), Pass);
    }
}
