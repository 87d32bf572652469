//! What is written about a check, for `todoctl explain` and `docs/checks.md`.

use serde::Serialize;

use super::groups::GROUPS;
use super::runner::selects;
use super::verdict::Outcome;

/// The definition of a check in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Description {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// The title of its group.
    pub(crate) group: &'static str,
    pub(crate) about: &'static str,
    pub(crate) outcomes: &'static [Outcome],
    /// What `doctor --fix` does about it.
    pub(crate) fix: Option<&'static str>,
    /// The checks whose failure skips this one.
    pub(crate) needs: &'static [&'static str],
}

/// The check with the id `wanted`, or the checks of that group; empty if there is neither.
pub(crate) fn describe(wanted: &str) -> Vec<Description> {
    let all = GROUPS.iter().flat_map(|group| {
        group.checks().map(|check| Description {
            id: check.id,
            title: check.title,
            group: group.title,
            about: check.about,
            outcomes: check.outcomes,
            fix: check.fix,
            needs: check.needs,
        })
    });
    all.filter(|one| selects(wanted, one.id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_a_group_and_neither() {
        assert_eq!(describe("database.tls")[0].title, "TLS");
        assert!(
            describe("database")
                .iter()
                .all(|one| one.group == "Database")
        );
        assert_eq!(describe("data"), []);
    }
}
