//! How the migrations of a database and those of the program go together.

use std::collections::BTreeMap;

use sqlx::migrate::Migrator;

use crate::domain::Timestamp;

use super::embedded::{Direction, find, newest, ups};
use super::error::MigrateError;

/// The state of a migration in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// In the database, as this program has it.
    Applied,
    /// Not in the database yet.
    Pending,
    /// Not recorded in the database, although its whole effect is there.
    Unrecorded,
    /// In the database and not in this program: a newer one applied it.
    Missing,
    /// In the database, with another checksum than this program's file.
    Changed,
    /// Started without a transaction, by another tool, and not finished.
    Dirty,
}

/// One migration of the program, of the database, or of both.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Migration {
    /// The number at the start of the file's name.
    pub version: i64,
    /// The rest of the file's name with blanks, such as `task colour`.
    pub description: String,
    /// Whether the database has it, and as the program does.
    pub state: State,
    /// `None` while it is pending.
    pub applied_at: Option<Timestamp>,
}

/// todoctl numbers its migrations one after the other. Other programs use the time.
const TIMES: i64 = 1_000_000;

impl Migration {
    /// Whether another service that has the same table applied it.
    pub(crate) fn is_of_another_service(&self) -> bool {
        self.state == State::Missing && self.version >= TIMES
    }

    /// Whether it is recorded, but not as this program has it, or not as finished.
    pub(crate) fn is_misrecorded(&self) -> bool {
        matches!(self.state, State::Changed | State::Dirty)
    }

    /// Whether the record does not tell if it is in the schema.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Pending || self.is_misrecorded()
    }
}

/// Which migrations `down` reverts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Down {
    /// The newest ones, this many.
    Steps(usize),
    /// All after this version; 0 reverts all.
    To(i64),
}

/// The migrations that `down` would revert, newest first.
///
/// Fails if this program does not know one of them, or the version to stop at does not exist.
pub fn plan_down(found: &[Migration], down: Down) -> Result<Vec<Migration>, MigrateError> {
    if let Down::To(version) = down
        && version != 0
        && !found.iter().any(|one| one.version == version)
    {
        let newest = found.iter().map(|one| one.version).max();
        return Err(MigrateError::NoSuchVersion {
            version,
            newest: newest.unwrap_or_default(),
        });
    }
    let mut applied: Vec<&Migration> = found
        .iter()
        .filter(|one| !matches!(one.state, State::Pending | State::Unrecorded))
        .collect();
    applied.sort_by_key(|one| std::cmp::Reverse(one.version));
    let planned: Vec<Migration> = match down {
        Down::Steps(steps) => applied.into_iter().take(steps).cloned().collect(),
        Down::To(version) => applied
            .into_iter()
            .take_while(|one| one.version > version)
            .cloned()
            .collect(),
    };
    match planned.iter().find(|one| one.state == State::Missing) {
        Some(unknown) => Err(MigrateError::Unknown {
            version: unknown.version,
        }),
        None => Ok(planned),
    }
}

/// The file that reverts a version.
pub(super) fn down_file(
    migrations: &'static Migrator,
    version: i64,
) -> Result<&'static sqlx::migrate::Migration, MigrateError> {
    find(migrations, version, Direction::Down).ok_or(MigrateError::Irreversible { version })
}

/// A row of `_sqlx_migrations`.
pub(super) struct AppliedRow {
    pub version: i64,
    pub description: String,
    pub installed_on: Timestamp,
    pub success: bool,
    pub checksum: Vec<u8>,
}

/// The migrations of the program and of the database, by version.
pub(super) fn compare(migrations: &Migrator, rows: Vec<AppliedRow>) -> Vec<Migration> {
    let mut all: BTreeMap<i64, Migration> = ups(migrations)
        .map(|one| {
            let pending = Migration {
                version: one.version,
                description: one.description.to_string(),
                state: State::Pending,
                applied_at: None,
            };
            (one.version, pending)
        })
        .collect();
    for row in rows {
        let ours = ups(migrations).find(|one| one.version == row.version);
        let state = match ours {
            _ if !row.success => State::Dirty,
            None => State::Missing,
            Some(ours) if *ours.checksum != *row.checksum => State::Changed,
            Some(_) => State::Applied,
        };
        all.insert(
            row.version,
            Migration {
                version: row.version,
                description: row.description,
                state,
                applied_at: Some(row.installed_on),
            },
        );
    }
    all.into_values().collect()
}

/// Refuses a database in which pending migrations cannot follow the applied ones.
pub(super) fn check_history(
    migrations: &Migrator,
    found: &[Migration],
) -> Result<(), MigrateError> {
    for one in found {
        let version = one.version;
        match one.state {
            State::Applied | State::Pending | State::Unrecorded => {}
            State::Dirty => return Err(MigrateError::Dirty { version }),
            State::Changed => {
                return Err(MigrateError::Changed {
                    version,
                    description: one.description.clone(),
                });
            }
            State::Missing => {
                let database = found.iter().map(|one| one.version).max().unwrap_or(0);
                let program = newest(migrations);
                if one.is_of_another_service() {
                    let others = found.iter().filter(|one| one.is_of_another_service());
                    return Err(MigrateError::OtherRecords {
                        migrations: named(others),
                        database,
                        program,
                    });
                }
                return Err(MigrateError::Newer { database, program });
            }
        }
    }
    Ok(())
}

/// Versions and names, such as `20310102030405 (create users)`.
pub(crate) fn named<'a>(migrations: impl Iterator<Item = &'a Migration>) -> String {
    let texts = migrations.map(|one| format!("{} ({})", one.version, one.description));
    texts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(states: &[State]) -> Vec<Migration> {
        (1..)
            .zip(states)
            .map(|(version, &state)| Migration {
                version,
                description: String::new(),
                state,
                applied_at: None,
            })
            .collect()
    }

    fn planned(states: &[State], down: Down) -> Option<Vec<i64>> {
        let plan = plan_down(&found(states), down).ok()?;
        Some(plan.iter().map(|one| one.version).collect())
    }

    #[test]
    fn what_down_reverts() {
        use State::{Applied, Changed, Missing, Pending};
        let all = [Applied, Changed, Applied, Pending];
        assert_eq!(planned(&all, Down::Steps(1)), Some(vec![3]));
        assert_eq!(planned(&all, Down::Steps(9)), Some(vec![3, 2, 1]));
        assert_eq!(planned(&all, Down::To(2)), Some(vec![3]));
        assert_eq!(planned(&all, Down::To(0)), Some(vec![3, 2, 1]));
        assert_eq!(planned(&[Pending], Down::Steps(1)), Some(vec![]));
        assert_eq!(planned(&[Applied, Missing], Down::Steps(1)), None);
    }

    #[test]
    fn a_history_that_does_not_fit_stops() {
        use State::{Applied, Changed, Dirty, Missing, Pending};
        let checked = |states: &[State]| {
            check_history(&crate::store::migrate::embedded::POSTGRES, &found(states))
        };
        assert!(checked(&[Applied, Pending]).is_ok());
        assert!(matches!(
            checked(&[Applied, Dirty]),
            Err(MigrateError::Dirty { version: 2 })
        ));
        assert!(matches!(
            checked(&[Changed]),
            Err(MigrateError::Changed { version: 1, .. })
        ));
        let Err(MigrateError::Newer { database, .. }) = checked(&[Applied, Applied, Missing])
        else {
            panic!("a newer database is refused");
        };
        assert_eq!(database, 3);
    }
}
