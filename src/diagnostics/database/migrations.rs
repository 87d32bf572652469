//! Whether the schema is the one that this program expects.

use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget, Remedy};
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::{Outcome, Verdict};
use crate::store::compare_urls;
use crate::store::messages::{self, Place};
use crate::store::migrate::{self, Migration, State};

const UP: &str = "todoctl migrate up";
const STATUS: &str = "todoctl migrate status";
const CHECK: &str = "todoctl migrate check";

/// Compares the migrations of the database with those of this program, on the direct
/// connection that migrating uses.
pub(super) async fn migrations(
    _context: &Context,
    config: &DatabaseConfig,
    _limit: Duration,
) -> Verdict {
    if let Err(error) = compare_urls(config).await {
        return Verdict::fail(error.to_string(), error.remedy);
    }
    let target = &config.direct;
    match migrate::status(target).await {
        Ok(migrations) => match check_migrations(&migrations) {
            verdict if verdict.outcome == Outcome::Pass => check_tables(target, verdict).await,
            verdict => verdict,
        },
        Err(error) => Verdict::fail(error.to_string(), error.remedy()),
    }
}

/// Tables may have been dropped or renamed after they were migrated.
async fn check_tables(target: &DatabaseTarget, verdict: Verdict) -> Verdict {
    match migrate::drift::missing_tables(target).await {
        Ok(missing) if missing.is_empty() => verdict,
        Ok(missing) => Verdict::fail(
            format!(
                "{}, but these tables are missing: {}",
                verdict.detail,
                missing.join(", ")
            ),
            Remedy::note("this shows the differences; a table that was renamed or moved gets its name back, one that is really gone comes from a backup")
                .then(Remedy::command(CHECK)),
        ),
        Err(error) => Verdict::fail(error.to_string(), error.remedy()),
    }
}

fn check_migrations(migrations: &[Migration]) -> Verdict {
    let of = |state: State| -> Vec<i64> {
        let here = migrations.iter().filter(|one| one.state == state);
        here.map(|one| one.version).collect()
    };
    let applied = of(State::Applied).len();
    let (pending, unknown) = (of(State::Pending), of(State::Missing));
    let (changed, dirty) = (of(State::Changed), of(State::Dirty));

    let mut detail = format!("{applied} applied, {} pending", pending.len());
    for (versions, what) in [
        (&unknown, "newer than this program"),
        (&changed, "changed since they were applied"),
        (&dirty, "started and not finished"),
    ] {
        if !versions.is_empty() {
            detail += &format!(", {} {what} ({})", versions.len(), list(versions));
        }
    }
    if !dirty.is_empty() || !changed.is_empty() {
        // `migrate up` would refuse too; the table shows which ones and why.
        Verdict::fail(detail, Remedy::command(STATUS))
    } else if !pending.is_empty() {
        Verdict::fail(detail, Remedy::command(UP))
    } else if !unknown.is_empty() {
        // The next start is refused; a running daemon continues.
        let known = messages::by_id("todoctl.newer-database");
        Verdict::fail(detail, known.map(|known| (known.remedy)(Place::Unknown)))
    } else {
        Verdict::pass(detail)
    }
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
        use State::{Applied, Changed, Dirty, Missing, Pending};
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
                &[Applied, Missing],
                Outcome::Fail,
                "1 applied, 0 pending, 1 newer than this program (2)",
                Some("--allow-newer"),
            ),
            (
                &[Dirty, Pending],
                Outcome::Fail,
                "0 applied, 1 pending, 1 started and not finished (1)",
                Some(STATUS),
            ),
            (
                &[Changed, Changed],
                Outcome::Fail,
                "0 applied, 0 pending, 2 changed since they were applied (1, 2)",
                Some(STATUS),
            ),
        ] {
            let verdict = check_migrations(&migrations(states));
            assert_eq!(verdict.outcome, outcome, "{states:?}");
            assert_eq!(verdict.detail, detail);
            let said = verdict.remedy.map(|remedy| remedy.to_string());
            assert_eq!(said.is_some(), remedy.is_some());
            assert!(
                said.unwrap_or_default()
                    .contains(remedy.unwrap_or_default())
            );
        }
    }
}
