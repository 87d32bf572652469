//! Whether rows that nobody sees any more are removed, and transaction ids are not used up.

use std::time::Duration;

use crate::config::{PostgresTarget, Remedy};
use crate::diagnostics::check::Server;
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{Age, ServerConnection, SettingNow, Table};
use crate::diagnostics::verdict::Verdict;

use super::answer::of_answer;
use super::bytes::in_bytes;
use super::horizon::Readers;
use super::settings::check_autovacuum;

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
        let mut readers = Readers {
            all: connection.readers().await?,
            ..Readers::default()
        };
        if !readers.all.is_empty() {
            readers.sessions = connection.activity(target.own_name()).await?.sessions;
            readers.prepared = connection.prepared().await?;
        }
        let found = Found {
            age: connection.age().await?,
            tables: connection.tables().await?,
            readers,
        };
        Ok((found, connection.settings_now().await?))
    };
    of_answer(context, server, limit, ask, |(found, settings)| {
        check_vacuum(found, settings, target)
    })
    .await
}

/// What is known about VACUUM.
struct Found {
    age: Age,
    tables: Vec<Table>,
    readers: Readers,
}

fn check_vacuum(found: &Found, settings: &[SettingNow], server: &PostgresTarget) -> Verdict {
    let Found {
        age,
        tables,
        readers,
    } = found;
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
            (readers, server),
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
    let (unwise, remedy) = check_autovacuum(settings, server);
    if !unwise.is_empty() {
        collected.warn(unwise.join("; "), remedy);
    }
    for table in tables {
        check_table(table, readers, server, &mut collected);
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
    (readers, server): (&Readers, &PostgresTarget),
    collected: &mut Collected,
) {
    let left = WRAPAROUND - number;
    let reader = readers.of_freezing(freeze_at);
    let held = reader.map(|one| format!(", which is held back by {}", readers.described(one)));
    let text = format!(
        "the database {database} has not been frozen for {number} {what}{}; at {WRAPAROUND} the server stops accepting writes",
        held.unwrap_or_default()
    );
    let remedy = || {
        let end = reader.and_then(|one| readers.end(one, server));
        let first = || {
            Remedy::note("end old transactions first (database.sessions): they hold back freezing")
        };
        end.unwrap_or_else(first).then(
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

fn check_table(
    table: &Table,
    readers: &Readers,
    server: &PostgresTarget,
    collected: &mut Collected,
) {
    let name = &table.name;
    let odd: Vec<(&str, &str)> = table.options.iter().filter_map(|one| odd(one)).collect();
    if !odd.is_empty() {
        let texts = odd.iter().map(|(name, value)| format!("{name} = {value}"));
        let names: Vec<&str> = odd.iter().map(|(name, _)| *name).collect();
        collected.warn(
            format!(
                "{name} has {}: dead rows stay, or pages are mostly empty",
                texts.collect::<Vec<_>>().join(", ")
            ),
            Remedy::sql(format!("ALTER TABLE {name} RESET ({})", names.join(", "))),
        );
    }
    let vacuum_at = if odd.is_empty() {
        table.vacuum_at
    } else {
        table.server_vacuum_at
    };
    if table.is_unattended {
        collected.warn(
            format!("autovacuum is off for {name}"),
            Remedy::sql(format!("ALTER TABLE {name} RESET (autovacuum_enabled)")),
        );
    }
    if table.dead >= DEAD_ROWS && table.dead > DEAD_FACTOR * vacuum_at {
        let reader = readers.of_table(table.vacuumed);
        let held = reader.map_or_else(String::new, |one| {
            format!(", and they are kept for {}", readers.described(one))
        });
        let end = reader.and_then(|one| readers.end(one, server));
        collected.warn(
            format!(
                "{name} has {} dead rows beside {} live ones; autovacuum should have begun at {vacuum_at}{held}",
                table.dead, table.live
            ),
            Remedy::default()
                .then(end)
                .then(Remedy::sql(format!("VACUUM (ANALYZE) {name}"))),
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

/// The name and the value of an option of a table that keeps VACUUM away, or wastes most of each
/// page.
fn odd(option: &str) -> Option<(&str, &str)> {
    let (name, value) = option.split_once('=')?;
    let number = || value.parse::<f64>().ok();
    let is_odd = match name.strip_prefix("toast.").unwrap_or(name) {
        "autovacuum_vacuum_threshold" | "autovacuum_analyze_threshold" => number()? > 1e6,
        "autovacuum_vacuum_scale_factor" | "autovacuum_analyze_scale_factor" => number()? > 1.0,
        // In milliseconds, of at most 100; usual are 2.
        "autovacuum_vacuum_cost_delay" => number()? >= 50.0,
        "fillfactor" => number()? < 50.0,
        // That of the table itself has a text of its own.
        "autovacuum_enabled" => {
            name.starts_with("toast.") && matches!(value, "false" | "off" | "no" | "0")
        }
        _ => false,
    };
    is_odd.then_some((name, value))
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
            options: Vec::new(),
            server_vacuum_at: 200_050,
            vacuumed: None,
        }
    }

    fn outcome(age: &Age, table: Table) -> Outcome {
        let found = Found {
            age: age.clone(),
            tables: vec![table],
            readers: Readers::default(),
        };
        check_vacuum(&found, &[], &server()).outcome
    }

    #[test]
    fn options_that_keep_vacuum_away() {
        for (option, is_odd) in [
            ("autovacuum_vacuum_scale_factor=100", true),
            ("autovacuum_vacuum_scale_factor=0.01", false),
            ("autovacuum_analyze_threshold=2000000000", true),
            ("toast.autovacuum_enabled=off", true),
            ("fillfactor=10", true),
            ("fillfactor=90", false),
        ] {
            assert_eq!(odd(option).is_some(), is_odd, "{option}");
        }
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
