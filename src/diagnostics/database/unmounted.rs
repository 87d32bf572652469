//! A SQLite file whose file system was unmounted, or covered by another one, under the daemon.

use std::path::Path;

use crate::config::{Remedy, as_root, is_in_fstab};
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
    if is_in_fstab(point) {
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
