//! Whether rows that nobody sees any more are removed, and transaction ids are not used up.

use std::time::Duration;

use crate::config::{PostgresTarget, Remedy};
use crate::diagnostics::check::Server;
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{Age, ServerConnection, Table};
use crate::diagnostics::verdict::Verdict;

use super::answer::of_answer;
use super::bytes::in_bytes;

/// PostgreSQL stops handing out transaction ids 3 million before this.
const WRAPAROUND: i64 = 1 << 31;

/// PostgreSQL itself warns when 40 million are left. At this many, there are days to act.
const LEFT_FAIL: i64 = 100_000_000;

/// Autovacuum begins at a threshold; a table with so many times the rows is not attended to.
const DEAD_FACTOR: i64 = 5;
/// Fewer dead rows cost nothing.
const DEAD_ROWS: i64 = 10_000;

/// Smaller tables cost nothing, whatever share of them is empty.
const BLOAT_BYTES: i64 = 64 << 20;
/// The estimate is off by some ten per cent.
const BLOAT_SHARE: i64 = 70;

/// A smaller table is planned well without statistics.
const UNANALYZED_BYTES: i64 = 1 << 20;

pub(super) async fn vacuum(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    let target = server.target;
    let ask = async |connection: &mut ServerConnection| {
        let age = connection.age().await?;
        Ok((age, connection.tables().await?))
    };
    of_answer(context, server, limit, ask, |(age, tables)| {
        check_vacuum(age, tables, target)
    })
    .await
}

fn check_vacuum(age: &Age, tables: &[Table], server: &PostgresTarget) -> Verdict {
    let mut collected = Collected::default();
    for (number, freeze_at, what) in [
        (age.transactions, age.freeze_at, "transactions"),
        (age.multixacts, age.multixact_freeze_at, "multixacts"),
    ] {
        check_age(
            &age.database,
            number,
            freeze_at,
            what,
            server,
            &mut collected,
        );
    }
    if !age.is_autovacuum_on {
        collected.warn(
            "autovacuum is off on the server: dead rows are not removed, and transaction ids run out",
            Remedy::admin_sql(server, None, "ALTER SYSTEM SET autovacuum = on")
                .then(Remedy::admin_sql(server, None, "ALTER SYSTEM SET track_counts = on"))
                .then(Remedy::admin_sql(server, None, "SELECT pg_reload_conf()")),
        );
    }
    for table in tables {
        check_table(table, &mut collected);
    }
    let dead: i64 = tables.iter().map(|table| table.dead).sum();
    collected.verdict(format!(
        "{} of 2147 million transaction ids used in {}; {dead} dead rows in {} tables",
        age.transactions / 1_000_000,
        age.database,
        tables.len()
    ))
}

fn check_age(
    database: &str,
    number: i64,
    freeze_at: i64,
    what: &str,
    server: &PostgresTarget,
    collected: &mut Collected,
) {
    let left = WRAPAROUND - number;
    let text = format!(
        "the database {database} has not been frozen for {number} {what}; at {WRAPAROUND} the server stops accepting writes"
    );
    let remedy = || {
        Remedy::note("end old transactions first (database.sessions): they hold back freezing")
            .then(
                Remedy::admin_command("vacuumdb", server, None)
                    .arg("--freeze")
                    .arg(database),
            )
    };
    // Autovacuum begins at `freeze_at`, and is given half of that to end.
    let late = (freeze_at + freeze_at / 2).min(i64::midpoint(freeze_at, WRAPAROUND));
    if left < LEFT_FAIL {
        collected.fail(text, remedy());
    } else if number > late {
        collected.warn(
            format!("{text}; autovacuum should have begun at {freeze_at}"),
            remedy(),
        );
    }
}

fn check_table(table: &Table, collected: &mut Collected) {
    let name = &table.name;
    if table.is_unattended {
        collected.warn(
            format!("autovacuum is off for {name}"),
            Remedy::sql(format!("ALTER TABLE {name} RESET (autovacuum_enabled)")),
        );
    }
    if table.dead >= DEAD_ROWS && table.dead > DEAD_FACTOR * table.vacuum_at {
        collected.warn(
            format!(
                "{name} has {} dead rows beside {} live ones; autovacuum should have begun at {}",
                table.dead, table.live, table.vacuum_at
            ),
            Remedy::sql(format!("VACUUM (ANALYZE) {name}")),
        );
    }
    if table.is_unanalyzed && table.bytes >= UNANALYZED_BYTES {
        collected.warn(
            format!(
                "{name} has {} and no statistics, so queries are planned blindly",
                in_bytes(table.bytes)
            ),
            Remedy::sql(format!("ANALYZE {name}")),
        );
    }
    if let Some(needed) = table.needed_bytes
        && table.bytes >= BLOAT_BYTES
        && (table.bytes - needed) * 100 > table.bytes * BLOAT_SHARE
    {
        collected.warn(
            format!(
                "{name} takes {}, and its rows need about {}",
                in_bytes(table.bytes),
                in_bytes(needed)
            ),
            Remedy::note("at a quiet time: it locks the table while it copies the rows")
                .then(Remedy::sql(format!("VACUUM (FULL, ANALYZE) {name}"))),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::ending::tests::server;
    use super::*;
    use crate::diagnostics::Outcome::{self, Fail, Pass, Warn};

    fn age() -> Age {
        Age {
            database: "todo".to_owned(),
            transactions: 190_000_000,
            multixacts: 0,
            freeze_at: 200_000_000,
            multixact_freeze_at: 400_000_000,
            is_autovacuum_on: true,
        }
    }

    fn table() -> Table {
        Table {
            name: "public.tasks".to_owned(),
            live: 1_000_000,
            dead: 210_000,
            vacuum_at: 200_050,
            bytes: 300 << 20,
            needed_bytes: Some(200 << 20),
            is_unanalyzed: false,
            is_unattended: false,
        }
    }

    fn outcome(age: &Age, table: Table) -> Outcome {
        check_vacuum(age, &[table], &server()).outcome
    }

    #[test]
    fn ages() {
        let of = |transactions, freeze_at| {
            let age = Age {
                transactions,
                freeze_at,
                ..age()
            };
            outcome(&age, table())
        };
        assert_eq!(of(190_000_000, 200_000_000), Pass);
        // Autovacuum is at work.
        assert_eq!(of(250_000_000, 200_000_000), Pass);
        assert_eq!(of(310_000_000, 200_000_000), Warn);
        assert_eq!(of(1_600_000_000, 1_500_000_000), Pass);
        assert_eq!(of(2_050_000_000, 2_000_000_000), Fail);
        let age = Age {
            is_autovacuum_on: false,
            ..age()
        };
        assert_eq!(outcome(&age, table()), Warn);
    }

    #[test]
    fn tables() {
        let with = |change: fn(&mut Table)| {
            let mut table = table();
            change(&mut table);
            outcome(&age(), table)
        };
        assert_eq!(with(|_| ()), Pass);
        assert_eq!(with(|one| one.dead = 1_100_000), Warn);
        assert_eq!(with(|one| one.is_unattended = true), Warn);
        assert_eq!(with(|one| one.is_unanalyzed = true), Warn);
        assert_eq!(with(|one| one.needed_bytes = Some(50 << 20)), Warn);
        assert_eq!(
            with(|one| (one.bytes, one.is_unanalyzed) = (8192, true)),
            Pass
        );
        assert_eq!(
            with(|one| (one.dead, one.vacuum_at, one.live) = (9_000, 50, 0)),
            Pass
        );
    }
}
