//! How the limits of a running process are raised (`prlimit(2)`).

use procfs::process::{LimitValue, Limits, Process};

use crate::config::{Capability, Remedy, as_root};

/// A limit of a process.
pub(super) struct ProcessLimit {
    /// As an option of `prlimit(1)`.
    pub(super) option: &'static str,
    pub(super) hard: fn(&Limits) -> LimitValue,
    pub(super) wanted: LimitValue,
    /// Where it is set for the next start.
    pub(super) later: String,
}

impl ProcessLimit {
    /// For the process at once, as far as this user may do that, and for the next start.
    pub(super) fn raised(&self, pid: i32) -> Remedy {
        let process = Process::new(pid).ok();
        let hard = process.as_ref().and_then(|one| one.limits().ok());
        let is_within = match (hard.map(|limits| (self.hard)(&limits)), self.wanted) {
            (Some(LimitValue::Unlimited), _) => true,
            (Some(LimitValue::Value(hard)), LimitValue::Value(wanted)) => hard >= wanted,
            _ => false,
        };
        let owner = process.and_then(|one| one.status().ok());
        let owner = owner.map(|one| (one.ruid, one.rgid));
        self.by(pid, is_within, owner, Capability::Limits.is_held())
    }

    /// `is_within` tells whether the hard limit stays as it is: the owner of a process may raise its
    /// limits up to that.
    fn by(&self, pid: i32, is_within: bool, owner: Option<(u32, u32)>, has_right: bool) -> Remedy {
        let wanted = match self.wanted {
            LimitValue::Unlimited => "unlimited".to_owned(),
            LimitValue::Value(wanted) => wanted.to_string(),
        };
        let hard = if is_within { "" } else { &wanted };
        let command = format!("prlimit --pid {pid} --{}={wanted}:{hard}", self.option);
        let later = &self.later;
        let user = rustix::process::geteuid();
        let now = match owner {
            _ if has_right => Remedy::command(command),
            Some((own, _)) if is_within && own == user.as_raw() => Remedy::command(command),
            Some((own, group)) if is_within && user.is_root() => Remedy::command(format!(
                "setpriv --reuid {own} --regid {group} --keep-groups {command}"
            )),
            _ if user.is_root() => {
                return Remedy::note(format!(
                    "root may not raise the limits of another process here (it lacks CAP_SYS_RESOURCE, as in most containers), so raise it for the next start, and restart the daemon: {later}"
                ));
            }
            _ => as_root().then(Remedy::command(command)),
        };
        now.then(Remedy::note(format!("for the next start: {later}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_raise_a_limit() {
        let limit = |wanted| ProcessLimit {
            option: "fsize",
            hard: |limits| limits.max_file_size.hard_limit,
            wanted,
            later: "LimitFSIZE=infinity in the unit file".to_owned(),
        };
        let first = |limit: ProcessLimit, is_within, owner, has_right| {
            let remedy = limit.by(7, is_within, owner, has_right);
            assert!(remedy.to_string().contains("LimitFSIZE"), "{remedy}");
            remedy.commands().next().map(str::to_owned)
        };
        let whole = || limit(LimitValue::Unlimited);
        let raised = Some("prlimit --pid 7 --fsize=unlimited:unlimited".to_owned());
        assert_eq!(first(whole(), false, None, true), raised);
        let user = rustix::process::geteuid();
        let own = Some((user.as_raw(), 0));
        // Within its hard limit, which stays.
        let within = first(limit(LimitValue::Value(9)), true, own, false);
        assert_eq!(within.as_deref(), Some("prlimit --pid 7 --fsize=9:"));
        if user.is_root() {
            assert_eq!(first(whole(), false, own, false), None);
            let of_other = first(limit(LimitValue::Value(9)), true, Some((7, 8)), false);
            let by_owner = "setpriv --reuid 7 --regid 8 --keep-groups prlimit --pid 7 --fsize=9:";
            assert_eq!(of_other.as_deref(), Some(by_owner));
        } else {
            assert_eq!(first(whole(), false, own, false), raised);
        }
    }
}
