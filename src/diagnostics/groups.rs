//! Every check, by group.

use super::check::Check;
use super::{config, daemon, database, services};

/// Checks that are reported together.
pub(crate) struct Group {
    /// The first part of their ids.
    pub(crate) prefix: &'static str,
    pub(crate) title: &'static str,
    pub(super) checks: &'static [Check],
}

/// In the order of a report.
pub(crate) static GROUPS: [Group; 4] = [
    Group {
        prefix: "config",
        title: "Configuration",
        checks: config::CHECKS,
    },
    Group {
        prefix: "database",
        title: "Database",
        checks: database::CHECKS,
    },
    Group {
        prefix: "services",
        title: "Services",
        checks: services::CHECKS,
    },
    Group {
        prefix: "daemon",
        title: "Daemon",
        checks: daemon::CHECKS,
    },
];

pub(super) fn checks() -> impl Iterator<Item = &'static Check> {
    GROUPS.iter().flat_map(|group| group.checks)
}

/// Every id that a report may have.
pub(crate) fn ids() -> impl Iterator<Item = &'static str> {
    checks().map(|check| check.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_begin_with_their_group() {
        let mut all: Vec<&str> = ids().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        for group in &GROUPS {
            for check in group.checks {
                let begin = format!("{}.", group.prefix);
                assert!(check.id.starts_with(&begin), "{}", check.id);
            }
        }
    }

    /// So no check waits for itself, and the reason for a skip is reported before the skip.
    #[test]
    fn checks_need_only_checks_that_are_defined_before_them() {
        let mut before = Vec::new();
        for check in checks() {
            for need in check.needs {
                assert!(before.contains(need), "{} needs {need}", check.id);
            }
            before.push(check.id);
        }
    }
}
