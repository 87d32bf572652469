//! A SQLite file whose file system was unmounted, or covered by another one, under the daemon.

use std::path::Path;

use crate::config::{Remedy, as_root};
use crate::diagnostics::probe::{OutOfSight, Why};
use crate::diagnostics::verdict::Verdict;

pub(super) fn verdict(found: &OutOfSight, path: &Path) -> Verdict {
    let (pid, place, point) = (found.pid, path.display(), found.point.display());
    let what = match &found.why {
        Why::Covered => format!("another file system is mounted over it at {point}"),
        Why::Unmounted(_) | Why::Unbound => {
            format!("the file system that it is on was unmounted from {point}")
        }
    };
    Verdict::fail(
        format!(
            "{place} is not there, and the daemon (pid {pid}) has it open: {what}; the daemon refuses changes"
        ),
        Remedy::note(
            "do not restart the daemon before this: it would begin an empty database; it goes on by itself afterwards",
        )
        .then(as_root())
        .then(remedy(found)),
    )
}

fn remedy(found: &OutOfSight) -> Remedy {
    let point = &found.point;
    let place = point.display();
    if let Why::Covered = found.why {
        return Remedy::note("unless the data belongs into the file system that is there now:")
            .then(Remedy::command("umount").arg(point));
    }
    if is_in_table(point) {
        return Remedy::command("mount").arg(point);
    }
    match &found.why {
        Why::Unmounted(Some(device)) => Remedy::command("mount").arg(device).arg(point),
        Why::Unbound => Remedy::note(format!(
            "mount the directory at {place} again that was mounted there with mount --bind, or as a volume"
        )),
        _ => Remedy::note(format!(
            "mount the same file system at {place} again, as it was mounted before"
        )),
    }
}

/// Whether `fstab(5)` says what is mounted there.
fn is_in_table(point: &Path) -> bool {
    let table = std::fs::read_to_string("/etc/fstab").unwrap_or_default();
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    let mut points = lines.filter_map(|line| line.split_whitespace().nth(1));
    points.any(|one| Path::new(one) == point)
}
