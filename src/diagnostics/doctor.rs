//! One run over everything; groups that do not depend on each other run at once.

use std::time::Duration;

use crate::clock::Clock;
use crate::config::{Audit, ConfigError, Source};

use super::check::{Budget, Check, Name, Outcome};
use super::{config, daemon, database, services};

/// For everything: the promise is 30 s, a black hole included.
const BUDGET: Duration = Duration::from_secs(28);

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The variables.
    pub source: &'a Source,
    /// What is wrong with the `.env` file.
    pub broken: Option<&'a ConfigError>,
    /// The clock that the server's is compared with.
    pub clock: &'a Clock,
    /// How many daemons share the database server.
    pub replicas: usize,
    /// Ids, or what stands before a dot in them; none is everything.
    pub only: &'a [String],
}

/// A group of checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Variables, files, secrets.
    Configuration,
    /// The database and its migrations.
    Database,
    /// Other services.
    Services,
    /// The daemon of this machine.
    Daemon,
}

impl Group {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 4] = [
        Self::Configuration,
        Self::Database,
        Self::Services,
        Self::Daemon,
    ];

    /// For people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Configuration => "Configuration",
            Self::Database => "Database",
            Self::Services => "Services",
            Self::Daemon => "Daemon",
        }
    }

    /// What its ids begin with.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Configuration => "config",
            Self::Database => "database",
            Self::Services => "services",
            Self::Daemon => "daemon",
        }
    }

    fn names(self) -> &'static [Name] {
        match self {
            Self::Configuration => config::NAMES,
            Self::Database => database::NAMES,
            Self::Services => services::NAMES,
            Self::Daemon => daemon::NAMES,
        }
    }
}

/// Every id that a report may have.
pub fn ids() -> impl Iterator<Item = &'static str> {
    Group::ALL
        .into_iter()
        .flat_map(Group::names)
        .map(|name| name.id)
}

/// Whether `wanted` is the id, or stands before a dot in it.
#[must_use]
pub fn selects(wanted: &str, id: &str) -> bool {
    id.strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Makes the checks; `done` is told of each group that has ended.
///
/// A check that was asked for by its name and has no meaning here is skipped, not left out.
pub async fn checks(request: Request<'_>, done: impl Fn(Group)) -> Vec<Check> {
    let budget = Budget::new(BUDGET);
    let audit = Audit::of(request.source);
    let wanted = |group: Group| {
        request.only.is_empty()
            || group
                .names()
                .iter()
                .any(|name| request.only.iter().any(|one| selects(one, name.id)))
    };
    let group = async |group: Group| {
        if !wanted(group) {
            return Vec::new();
        }
        let checks = match group {
            // What stands in a file that cannot be read would change everything.
            Group::Database | Group::Services | Group::Daemon if request.broken.is_some() => {
                let skipped =
                    |name: &Name| name.skipped("not checked, because config.env_file failed");
                group.names().iter().map(skipped).collect()
            }
            Group::Configuration => config::checks(request.source, request.broken),
            Group::Database => {
                let request = database::Request {
                    config: &audit.database,
                    replicas: request.replicas,
                    clock: request.clock,
                    budget,
                };
                database::checks(request).await
            }
            Group::Services => Box::pin(services::checks(&audit.services, budget)).await,
            Group::Daemon => {
                Box::pin(daemon::checks(
                    &audit.http,
                    &audit.telemetry,
                    request.clock,
                    budget,
                ))
                .await
            }
        };
        done(group);
        checks
    };
    let (one, two, three, four) = tokio::join!(
        group(Group::Configuration),
        group(Group::Database),
        group(Group::Services),
        group(Group::Daemon),
    );
    let checks = [one, two, three, four].concat();
    if request.only.is_empty() {
        return checks;
    }
    only(checks, request.only)
}

fn only(checks: Vec<Check>, wanted: &[String]) -> Vec<Check> {
    let selected = |id: &str| wanted.iter().any(|one| selects(one, id));
    let mut kept: Vec<Check> = checks
        .into_iter()
        .filter(|check| selected(check.id))
        .collect();
    for name in Group::ALL.into_iter().flat_map(Group::names) {
        let asked = wanted.iter().any(|one| one == name.id);
        if asked && !kept.iter().any(|check| check.id == name.id) {
            kept.push(name.skipped("it has no meaning for this database"));
        }
    }
    debug_assert!(
        kept.iter()
            .all(|check| check.outcome != Outcome::Skip || !check.detail.is_empty())
    );
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_in_their_group() {
        let mut all: Vec<&str> = ids().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        for group in Group::ALL {
            for name in group.names() {
                assert!(selects(group.prefix(), name.id), "{}", name.id);
            }
        }
    }

    #[test]
    fn selections() {
        assert!(selects("database", "database.tls"));
        assert!(selects("database.tls", "database.tls"));
        assert!(!selects("database.t", "database.tls"));
        assert!(!selects("data", "database.tls"));
    }
}
