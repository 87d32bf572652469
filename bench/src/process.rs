//! What /proc tells about processes.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

struct Stat {
    parent: u32,
    /// Clock ticks of the process's threads, those that ended too.
    own: u64,
    /// Those of children that ended.
    children: u64,
}

fn stat(id: u32) -> Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name may contain spaces and parentheses.
    let (_, rest) = text.rsplit_once(") ").context("/proc/PID/stat")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| -> Result<u64> {
        let field = fields.get(index).context("/proc/PID/stat")?;
        Ok(field.parse()?)
    };
    Ok(Stat {
        parent: number(1)?.try_into()?,
        own: number(11)? + number(12)?,
        children: number(13)? + number(14)?,
    })
}

fn duration(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

pub fn cpu(id: u32) -> Result<Duration> {
    Ok(duration(stat(id)?.own))
}

/// The CPU time of each child, by its id, and of those that ended, by the parent's.
pub fn cpu_of_children(parent: u32) -> Result<BTreeMap<u32, Duration>> {
    let mut found = BTreeMap::from([(parent, duration(stat(parent)?.children))]);
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may have ended.
        if let Ok(stat) = stat(id)
            && stat.parent == parent
        {
            found.insert(id, duration(stat.own));
        }
    }
    Ok(found)
}

/// Resident memory, in KiB.
pub fn memory(id: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/status"))?;
    let resident = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = resident.and_then(|rest| rest.trim().strip_suffix(" kB"));
    Ok(number.context("VmRSS in /proc/PID/status")?.parse()?)
}
