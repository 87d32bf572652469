//! Whether the schema is the one that this program expects.

use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget, Remedy};
use crate::diagnostics::context::Context;
use crate::diagnostics::fix::Fix;
use crate::diagnostics::probe::started_with_argument;
use crate::diagnostics::verdict::{Outcome, Unexplained, Verdict};
use crate::store::messages::{self, Place};
use crate::store::migrate::{self, Found, MigrateError, Migration, State};
use crate::store::{ConnectFault, compare_urls, known_message};

use super::behind::leads_elsewhere;
use super::schema;

const UP: &str = "todoctl migrate up";
const STAMP: &str = "todoctl migrate stamp";

/// The option of `serve`.
const ALLOW_NEWER: &str = "--allow-newer";

/// The checks that know how to restore a part of the schema.
const RESTORING: [&str; 3] = ["database.schema", "database.indexes", "database.triggers"];

/// Compares the migrations of the database with those of this program, on the direct
/// connection that migrating uses.
pub(super) async fn migrations(
    context: &Context,
    config: &DatabaseConfig,
    limit: Duration,
) -> Verdict {
    if let Err(error) = compare_urls(config).await {
        let is_other = error.fault == ConnectFault::OtherDatabase;
        let verdict = Verdict::fail(error.to_string(), error.remedy);
        return match &config.target {
            DatabaseTarget::Postgres(server) if is_other => leads_elsewhere(verdict, server).await,
            _ => verdict,
        };
    }
    match migrate::found_in(&config.direct).await {
        Ok(found) => {
            if let Err(error) = found.check_record() {
                let shown = remedies_of(&["database.row_security"], context, limit).await;
                let remedy = if shown.is_empty() {
                    error.remedy()
                } else {
                    shown
                };
                return Verdict::fail(error.to_string(), remedy);
            }
            if let Err(error @ MigrateError::OtherSchema(_)) = found.check_parts() {
                return Verdict::fail(error.to_string(), error.remedy());
            }
            if let Err(error) = found.check_parts() {
                let restored = remedies_of(&RESTORING, context, limit).await;
                let then = if restored.is_empty() {
                    error.remedy()
                } else {
                    Remedy::command(STAMP)
                };
                return Verdict::fail(error.to_string(), restored.then(then));
            }
            let is_pending = |one: &Migration| one.state == State::Pending;
            if let Err(error) = found.check_schema()
                && found.migrations.iter().any(is_pending)
            {
                return Verdict::fail(error.to_string(), error.remedy());
            }
            if let Err(error) = found.check_names() {
                return Verdict::fail(error.to_string(), error.remedy());
            }
            if let Err(error) = found.check_tables() {
                return Verdict::fail(error.to_string(), error.remedy());
            }
            let source = &context.request.source;
            check_migrations(&found, started_with_argument(source, ALLOW_NEWER))
        }
        Err(error) => {
            let text = error.to_string();
            let known = known_message(&error);
            if let Some(unexplained) = known.and_then(|known| Unexplained::of(known, &text)) {
                return Verdict::fail(text, None).after(unexplained);
            }
            Verdict::fail(text, error.remedy())
        }
    }
}

/// Whether a new session finds the service's tables and columns, and no migration is missing.
pub(in crate::diagnostics) async fn has_its_tables(
    context: &Context,
    config: &DatabaseConfig,
    limit: Duration,
) -> bool {
    for check in schema::CHECKS {
        if ["database.tables", "database.schema"].contains(&check.id)
            && let Some(running) = check.start(context, limit)
            && running.await.outcome != Outcome::Pass
        {
            return false;
        }
    }
    let is_there = |one: &Migration| matches!(one.state, State::Applied | State::Missing);
    migrate::found_in(&config.direct)
        .await
        .is_ok_and(|found| found.migrations.iter().all(is_there))
}

/// What other checks say to do.
async fn remedies_of(checks: &[&str], context: &Context, limit: Duration) -> Remedy {
    let mut remedy = Remedy::default();
    for check in schema::CHECKS {
        if checks.contains(&check.id)
            && let Some(running) = check.start(context, limit)
        {
            remedy = remedy.then(running.await.remedy);
        }
    }
    remedy
}

/// `allowing` is the number of a daemon that was started so that it serves a newer schema.
fn check_migrations(found: &Found, allowing: Option<i32>) -> Verdict {
    let migrations = &found.migrations;
    let of = |state: State| -> Vec<i64> {
        let here = migrations.iter().filter(|one| one.state == state);
        here.map(|one| one.version).collect()
    };
    let applied = of(State::Applied).len();
    let (pending, mut unknown) = (of(State::Pending), of(State::Missing));
    let others: Vec<&Migration> = migrations
        .iter()
        .filter(|one| one.is_of_another_service())
        .collect();
    unknown.retain(|version| others.iter().all(|one| one.version != *version));
    let unrecorded = of(State::Unrecorded);
    let (changed, dirty) = (of(State::Changed), of(State::Dirty));

    let mut detail = format!("{applied} applied, {} pending", pending.len());
    let newest = migrations
        .iter()
        .filter(|one| !matches!(one.state, State::Pending | State::Unrecorded))
        .filter(|one| !one.is_of_another_service())
        .map(|one| one.version)
        .max();
    let gaps: Vec<i64> = pending
        .iter()
        .copied()
        .filter(|version| newest.is_some_and(|newest| *version < newest))
        .collect();
    for (versions, what) in [
        (&unrecorded, "in the schema and not recorded"),
        (&gaps, "pending below applied ones"),
        (&unknown, "newer than this program"),
        (&changed, "changed since they were applied"),
        (&dirty, "started and not finished"),
    ] {
        if !versions.is_empty() {
            detail += &format!(", {} {what} ({})", versions.len(), list(versions));
        }
    }
    if !others.is_empty() {
        detail += &format!(
            ", and of another service: {}",
            migrate::named(others.iter().copied())
        );
    }
    if !changed.is_empty() {
        // Whether another build applied it, only a person knows, so it is not offered as a fix.
        let note = Remedy::note("if another build of todoctl applied it, deploy that one instead:");
        Verdict::fail(detail, note.then(stamp(found)))
    } else if !dirty.is_empty() || !unrecorded.is_empty() {
        Verdict::fail(detail, stamp(found)).with_fixes([Fix::Stamp])
    } else if !pending.is_empty() {
        Verdict::fail(detail, Remedy::command(UP)).with_fixes([Fix::Migrate])
    } else if let (true, Some(pid)) = (!unknown.is_empty() || !others.is_empty(), allowing) {
        Verdict::warn(
            format!(
                "{detail}; the daemon (pid {pid}) was started with {ALLOW_NEWER}, and serves without migrating"
            ),
            Remedy::note(format!(
                "when the rollback is over, deploy the newer todoctl, without {ALLOW_NEWER}: until then migrations of this one are not applied either"
            )),
        )
    } else if !unknown.is_empty() {
        // The next start is refused; a running daemon continues.
        let known = messages::by_id("todoctl.newer-database");
        Verdict::fail(detail, known.map(|known| (known.remedy)(Place::Unknown)))
    } else if !others.is_empty() {
        Verdict::fail(detail, migrate::other_records())
    } else {
        Verdict::pass(detail)
    }
}

/// Records what the schema has, and applies the rest.
fn stamp(found: &Found) -> Remedy {
    let is_left = |one: &Migration| one.state == State::Pending || found.is_absent(one);
    let is_newer = |one: &Migration| one.state == State::Missing;
    let up = found.migrations.iter().any(is_left) && !found.migrations.iter().any(is_newer);
    Remedy::command(STAMP).then(up.then(|| Remedy::command(UP)))
}

fn list(versions: &[i64]) -> String {
    let texts: Vec<String> = versions.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migrations(states: &[State]) -> Vec<Migration> {
        (1..)
            .zip(states)
            .map(|(version, &state)| Migration {
                version,
                description: "one".to_owned(),
                state,
                applied_at: None,
            })
            .collect()
    }

    #[test]
    fn verdicts() {
        use State::{Applied, Changed, Dirty, Missing, Pending, Unrecorded};
        for (states, outcome, detail, remedy) in [
            (
                &[Applied, Applied][..],
                Outcome::Pass,
                "2 applied, 0 pending",
                None,
            ),
            (
                &[Applied, Pending],
                Outcome::Fail,
                "1 applied, 1 pending",
                Some(UP),
            ),
            (&[], Outcome::Pass, "0 applied, 0 pending", None),
            (
                &[Applied, Unrecorded, Applied, Pending],
                Outcome::Fail,
                "2 applied, 1 pending, 1 in the schema and not recorded (2)",
                Some("todoctl migrate stamp\ntodoctl migrate up"),
            ),
            (
                &[Applied, Pending, Applied],
                Outcome::Fail,
                "2 applied, 1 pending, 1 pending below applied ones (2)",
                Some(UP),
            ),
            (
                &[Applied, Missing],
                Outcome::Fail,
                "1 applied, 0 pending, 1 newer than this program (2)",
                Some("--allow-newer"),
            ),
            (
                &[Dirty, Pending],
                Outcome::Fail,
                "0 applied, 1 pending, 1 started and not finished (1)",
                Some(STAMP),
            ),
            (
                &[Changed, Changed],
                Outcome::Fail,
                "0 applied, 0 pending, 2 changed since they were applied (1, 2)",
                Some(STAMP),
            ),
        ] {
            let verdict = check_migrations(&Found::of(migrations(states)), None);
            assert_eq!(verdict.outcome, outcome, "{states:?}");
            assert_eq!(verdict.detail, detail);
            let said = verdict.remedy.map(|remedy| remedy.to_string());
            assert_eq!(said.is_some(), remedy.is_some());
            let allowed = check_migrations(&Found::of(migrations(states)), Some(7));
            let is_newer = states.contains(&Missing);
            assert_eq!(allowed.outcome == Outcome::Warn, is_newer, "{states:?}");
            assert!(
                said.unwrap_or_default()
                    .contains(remedy.unwrap_or_default())
            );
        }
    }
}
