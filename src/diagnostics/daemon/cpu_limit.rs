//! How much of the processors a running daemon may use (`cgroups(7)`).

use std::path::Path;
use std::time::Duration;

use procfs::process::Process;

use crate::config::Remedy;
use crate::diagnostics::collected::Collected;

/// Of the periods in which the group ran. Short bursts are usual.
const PERCENT: u64 = 25;

/// Of the time that the daemon runs: one that only had to wait while it started is well.
const PERCENT_OF_AGE: u32 = 1;

/// Less says nothing.
const LEAST: Duration = Duration::from_secs(10);

/// What a control group was made to wait.
#[derive(Debug, PartialEq)]
struct Throttled {
    /// How many processors it may use.
    processors: f64,
    periods: u64,
    cut_short: u64,
    waited: Duration,
}

impl Throttled {
    /// A whole processor is enough for most services, so only a part of one is a finding.
    fn is_much(&self, age: Duration) -> bool {
        self.processors < 1.0
            && self.waited >= LEAST.max(age * PERCENT_OF_AGE / 100)
            && self.cut_short * 100 >= self.periods * PERCENT
    }
}

/// Warns if the daemon often has to wait because its control group has used up its share.
pub(super) fn check_cpu_limit(collected: &mut Collected, process: &Process, age: Duration) {
    let found = throttled(process, Path::new("/sys/fs/cgroup"));
    let Some(found) = found.filter(|found| found.is_much(age)) else {
        return;
    };
    collected.warn(
        format!(
            "its control group may use {:.2} of a processor, and was made to wait in {} of {} periods, for {} s in all: answers take that much longer",
            found.processors,
            found.cut_short,
            found.periods,
            found.waited.as_secs()
        ),
        Remedy::note(
            "raise the limit where it is set: CPUQuota=100% in the unit file (without a restart: systemctl set-property with the unit's name and CPUQuota=100%), docker update --cpus 1 with the container's name, or limits.cpu of the pod",
        ),
    );
}

/// Of the groups with a limit, its own and those around it, the one that waited longest.
fn throttled(process: &Process, mount: &Path) -> Option<Throttled> {
    let groups = process.cgroups().ok()?.0;
    let found = groups.iter().filter_map(|group| {
        let is_unified = group.hierarchy == 0;
        let has_cpu = group.controllers.iter().any(|name| name == "cpu");
        let mount = if is_unified {
            mount.to_owned()
        } else {
            mount.join("cpu")
        };
        let path = Path::new(group.pathname.trim_start_matches('/'));
        let around = path.ancestors().filter(|_| is_unified || has_cpu);
        around
            .filter_map(|one| throttled_group(&mount.join(one)))
            .max_by_key(|one| one.waited)
    });
    found.max_by_key(|one| one.waited)
}

/// `None` for a group without a limit.
fn throttled_group(group: &Path) -> Option<Throttled> {
    let text = |file| std::fs::read_to_string(group.join(file)).ok();
    let stat = text("cpu.stat")?;
    let field = |name: &str| -> Option<u64> {
        let mut fields = stat.lines().filter_map(|line| line.split_once(' '));
        fields
            .find(|(field, _)| *field == name)?
            .1
            .trim()
            .parse()
            .ok()
    };
    // Version 2, where there is no limit: `max 100000`; version 1: -1.
    let (quota, period) = match text("cpu.max") {
        Some(limit) => {
            let (quota, period) = limit.trim().split_once(' ')?;
            (quota.parse::<u32>().ok()?, period.parse::<u32>().ok()?)
        }
        None => (
            text("cpu.cfs_quota_us")?.trim().parse().ok()?,
            text("cpu.cfs_period_us")?.trim().parse().ok()?,
        ),
    };
    let waited = field("throttled_usec").map(Duration::from_micros);
    Some(Throttled {
        processors: f64::from(quota) / f64::from(period),
        periods: field("nr_periods")?,
        cut_short: field("nr_throttled")?,
        waited: waited.or_else(|| field("throttled_time").map(Duration::from_nanos))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_both_versions() {
        let group = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            std::fs::write(group.path().join(file), text).unwrap();
        };
        let found = || throttled_group(group.path());
        assert_eq!(found(), None);
        write(
            "cpu.stat",
            "nr_periods 100\nnr_throttled 40\nthrottled_time 60000000000\n",
        );
        write("cpu.cfs_period_us", "100000\n");
        write("cpu.cfs_quota_us", "-1\n");
        assert_eq!(found(), None);
        write("cpu.cfs_quota_us", "5000\n");
        let expected = Throttled {
            processors: 0.05,
            periods: 100,
            cut_short: 40,
            waited: Duration::from_secs(60),
        };
        assert_eq!(found().as_ref(), Some(&expected));
        write(
            "cpu.stat",
            "usage_usec 9\nnr_periods 100\nnr_throttled 40\nthrottled_usec 60000000\n",
        );
        write("cpu.max", "max 100000\n");
        assert_eq!(found(), None);
        write("cpu.max", "5000 100000\n");
        assert_eq!(found(), Some(expected));
    }

    #[test]
    fn only_what_goes_on() {
        let of = |processors, cut_short, seconds| Throttled {
            processors,
            periods: 100,
            cut_short,
            waited: Duration::from_secs(seconds),
        };
        let hour = Duration::from_secs(3600);
        assert!(of(0.05, 40, 60).is_much(hour));
        // Now and then, while it started, and with a limit that was raised since.
        assert!(!of(0.05, 20, 60).is_much(hour));
        assert!(!of(0.05, 40, 30).is_much(hour));
        assert!(!of(0.05, 40, 9).is_much(Duration::from_secs(20)));
        assert!(!of(1.0, 90, 600).is_much(hour));
    }
}
