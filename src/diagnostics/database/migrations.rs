//! Whether the schema is what this program expects.

use std::time::Duration;

use crate::config::DatabaseTarget;
use crate::store::migrate::{self, Migration, State};

use super::check::{Budget, Check, Name, Outcome, Verdict};

/// `database.migrations`.
pub const MIGRATIONS: Name = Name {
    id: "database.migrations",
    title: "Migrations",
};

const LIMIT: Duration = Duration::from_secs(20);

const UP: &str = "todoctl migrate up";
const STATUS: &str = "todoctl migrate status";
const CHECK: &str =
    "todoctl migrate check (shows what differs); then restore the tables from a backup";
const NEWER: &str = "deploy the newer todoctl that applied them; to go on with this one, without migrating: todoctl serve --allow-newer";

/// Compares the migrations of the database with those of this program.
///
/// `target` is the direct connection, as for migrating itself.
pub async fn check(target: &DatabaseTarget, budget: Budget) -> Check {
    let work = async {
        let verdict = match migrate::status(target).await {
            Ok(migrations) => match judge(&migrations) {
                verdict if verdict.outcome == Outcome::Pass => tables(target, verdict).await,
                verdict => verdict,
            },
            Err(error) => Verdict::fail(error.to_string(), error.remedy()),
        };
        (verdict, None::<()>)
    };
    MIGRATIONS.check(budget.limit(LIMIT), work).await.0
}

/// Somebody may have dropped or renamed what the migrations made.
async fn tables(target: &DatabaseTarget, verdict: Verdict) -> Verdict {
    match migrate::drift::missing_tables(target).await {
        Ok(missing) if missing.is_empty() => verdict,
        Ok(missing) => Verdict::fail(
            format!(
                "{}, and these tables are gone: {}",
                verdict.detail,
                missing.join(", ")
            ),
            CHECK.to_owned(),
        ),
        Err(error) => Verdict::fail(error.to_string(), error.remedy()),
    }
}

fn judge(migrations: &[Migration]) -> Verdict {
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
        (&dirty, "begun and not finished"),
    ] {
        if !versions.is_empty() {
            detail += &format!(", {} {what} ({})", versions.len(), list(versions));
        }
    }
    let remedy = |text: &str| text.to_owned();
    if !dirty.is_empty() || !changed.is_empty() {
        // `migrate up` would refuse too; the table shows which ones and why.
        Verdict::fail(detail, remedy(STATUS))
    } else if !pending.is_empty() {
        Verdict::fail(detail, remedy(UP))
    } else if !unknown.is_empty() {
        // The next start is refused; a daemon that runs goes on.
        Verdict::fail(detail, remedy(NEWER))
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
                Some(NEWER),
            ),
            (
                &[Dirty, Pending],
                Outcome::Fail,
                "0 applied, 1 pending, 1 begun and not finished (1)",
                Some(STATUS),
            ),
            (
                &[Changed, Changed],
                Outcome::Fail,
                "0 applied, 0 pending, 2 changed since they were applied (1, 2)",
                Some(STATUS),
            ),
        ] {
            let verdict = judge(&migrations(states));
            assert_eq!(verdict.outcome, outcome, "{states:?}");
            assert_eq!(verdict.detail, detail);
            assert_eq!(verdict.remedy.as_deref(), remedy);
        }
    }
}
