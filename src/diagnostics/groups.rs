//! Every check, by group.

use super::check::Check;
use super::{config, daemon, database, services};

/// Checks that are reported together.
pub(crate) struct Group {
    /// The first part of their ids.
    pub(crate) prefix: &'static str,
    pub(crate) title: &'static str,
    tables: &'static [&'static [Check]],
}

impl Group {
    pub(super) fn checks(&self) -> impl Iterator<Item = &'static Check> {
        self.tables.iter().copied().flatten()
    }
}

/// In the order of a report.
pub(crate) static GROUPS: [Group; 4] = [
    Group {
        prefix: "config",
        title: "Configuration",
        tables: &[config::CHECKS],
    },
    Group {
        prefix: "database",
        title: "Database",
        tables: &[
            database::CHECKS,
            database::service::CHECKS,
            database::SCHEMA_CHECKS,
            database::work::CHECKS,
        ],
    },
    Group {
        prefix: "services",
        title: "Services",
        tables: &[services::CHECKS],
    },
    Group {
        prefix: "daemon",
        title: "Daemon",
        tables: &[daemon::CHECKS, daemon::running::CHECKS],
    },
];

pub(super) fn checks() -> impl Iterator<Item = &'static Check> {
    GROUPS.iter().flat_map(Group::checks)
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
            for check in group.checks() {
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

    #[test]
    fn every_check_says_what_it_is_about() {
        for check in checks() {
            let sentences = check.about.matches(". ").count() + 1;
            assert!(check.about.ends_with('.'), "{}: add .about(…)", check.id);
            assert!(
                (2..=4).contains(&sentences),
                "{}: {sentences} sentences",
                check.id
            );
        }
    }
}
