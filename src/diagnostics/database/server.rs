//! What an open PostgreSQL server says about itself, the role and its limits.

use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget, PostgresTarget};
use crate::diagnostics::check::{Budget, Check, Name, Verdict};
use crate::domain::Timestamp;
use crate::store::{
    Capacity, ConnectError, ConnectFault, ProbeConnection, Role, Setting, StoreError,
};

use super::names::{CLOCK, CONNECTIONS, LOGIN, ROLE, SETTINGS, STARTUP};
use super::{QUERY_LIMIT, Request, query_failed};

/// What the driver sends when a connection begins, and what it must become.
const SENT: [(&str, &str); 3] = [
    ("DateStyle", "ISO, MDY"),
    ("client_encoding", "UTF8"),
    ("TimeZone", "UTC"),
];

/// Clocks may differ by this much: tokens are given a few seconds.
const CLOCK_WARN: Duration = Duration::from_secs(2);
const CLOCK_FAIL: Duration = Duration::from_secs(60);

/// What was sent, as a row of the report tells it.
pub(super) fn sent(target: &DatabaseTarget) -> String {
    let DatabaseTarget::Postgres(server) = target else {
        return String::new();
    };
    let mut names: Vec<&str> = SENT.iter().map(|(name, _)| *name).collect();
    names.push("application_name");
    if server.options.is_some() {
        names.push("options");
    }
    format!("accepted: {}", names.join(", "))
}

/// A session that was not begun: which of its two steps is to blame.
pub(super) fn refused(error: &ConnectError, verdict: Verdict, took: Duration) -> Vec<Check> {
    let target_is_server = error.target.starts_with("postgresql:");
    match error.fault {
        _ if !target_is_server => vec![LOGIN.done(verdict, took)],
        ConnectFault::StartupParameter => {
            let reason = format!("not checked, because {} failed", STARTUP.id);
            vec![STARTUP.done(verdict, took), LOGIN.skipped(reason)]
        }
        ConnectFault::TimedOut => {
            let mut verdict = verdict;
            verdict.detail += "; a suspended database wakes within 15 s, so it is something else";
            vec![
                STARTUP.skipped("the server said nothing to it"),
                LOGIN.done(verdict, took),
            ]
        }
        ConnectFault::Certificate | ConnectFault::TlsUnsupported | ConnectFault::NotPostgres => {
            vec![
                STARTUP.skipped("the server said nothing to it"),
                LOGIN.done(verdict, took),
            ]
        }
        _ => vec![
            STARTUP.done(Verdict::pass("accepted"), Duration::ZERO),
            LOGIN.done(verdict, took),
        ],
    }
}

/// Role, capacity, clock and settings, each on the one connection.
pub(super) async fn checks(
    checks: &mut Vec<Check>,
    mut open: ProbeConnection,
    config: &DatabaseConfig,
    target: &PostgresTarget,
    request: Request<'_>,
) {
    let budget = request.budget;
    let role = open.role();
    let (check, role) = ask(ROLE, budget, role, |role| {
        let Some(role) = role else {
            return Verdict::pass("");
        };
        judge_role(role, &target.database, config.auto_migrate)
    })
    .await;
    checks.push(check);
    if role.is_none() {
        return;
    }
    let (check, capacity) = ask(CONNECTIONS, budget, open.capacity(), |capacity| {
        let Some(capacity) = capacity else {
            return Verdict::pass("");
        };
        judge_capacity(
            capacity,
            config.pool.size,
            config.pool.overflow,
            request.replicas,
            target.pooled,
        )
    })
    .await;
    checks.push(check);
    if capacity.is_none() {
        return;
    }
    let clock = request.clock;
    let before = clock.now();
    let (check, time) = ask(CLOCK, budget, open.server_time(), |time| {
        let Some(time) = time else {
            return Verdict::pass("");
        };
        judge_clock(*time, before, clock.now())
    })
    .await;
    checks.push(check);
    if time.is_none() {
        return;
    }
    let wanted = wanted(target);
    let names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    let (check, settings) = ask(SETTINGS, budget, open.settings(&names), |settings| {
        judge_settings(&wanted, settings)
    })
    .await;
    checks.push(check);
    if settings.is_some() {
        open.close().await;
    }
}

/// One question, its verdict, and the answer if one came.
async fn ask<T>(
    name: Name,
    budget: Budget,
    question: impl Future<Output = Result<T, StoreError>>,
    judge: impl FnOnce(&T) -> Verdict,
) -> (Check, Option<T>) {
    let work = async {
        match question.await {
            Ok(answer) => (judge(&answer), Some(answer)),
            Err(error) => (query_failed(&error), None),
        }
    };
    name.check(budget.limit(QUERY_LIMIT), work).await
}

fn judge_role(role: &Role, database: &str, auto_migrate: bool) -> Verdict {
    let name = &role.name;
    if role.in_recovery {
        return Verdict::fail(
            "the server is a standby (in recovery): nothing can be written".to_owned(),
            "point DATABASE_URL at the primary".to_owned(),
        );
    }
    if role.read_only {
        return Verdict::fail(
            format!("the transactions of {name} are read-only: nothing can be written"),
            format!(
                "as an administrator: psql -c 'ALTER ROLE \"{name}\" RESET default_transaction_read_only; ALTER DATABASE \"{database}\" RESET default_transaction_read_only'"
            ),
        );
    }
    let Some(schema) = &role.schema else {
        return Verdict::fail(
            format!("the search path of {name} leads to no schema that it may use"),
            format!(
                "as the owner: psql -c 'GRANT USAGE, CREATE ON SCHEMA public TO \"{name}\"' {database}"
            ),
        );
    };
    let closed = [&role.closed_tables[..], &role.closed_sequences[..]].concat();
    if !closed.is_empty() {
        return Verdict::fail(
            format!("{name} may not read and write {}", closed.join(", ")),
            format!(
                "as the owner: psql -c 'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \"{schema}\" TO \"{name}\"; GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA \"{schema}\" TO \"{name}\"' {database}"
            ),
        );
    }
    if role.may_create {
        return Verdict::pass(format!(
            "{name} may make tables in {schema}; not read-only, not in recovery"
        ));
    }
    let remedy = format!(
        "as the owner: psql -c 'GRANT CREATE ON SCHEMA \"{schema}\" TO \"{name}\"' {database}"
    );
    if role.has_tasks {
        let automatic = if auto_migrate {
            "; the next release's migrations will fail"
        } else {
            ""
        };
        return Verdict::warn(
            format!("{name} may use the tables and not make new ones in {schema}{automatic}"),
            remedy,
        );
    }
    Verdict::fail(
        format!("{name} may not make tables in {schema}, and the service's tables are not there"),
        remedy,
    )
}

fn judge_capacity(
    capacity: &Capacity,
    size: usize,
    overflow: usize,
    replicas: usize,
    pooled: bool,
) -> Verdict {
    let wanted = replicas.saturating_mul(size + overflow);
    let asked =
        format!("{replicas} × ({size} + {overflow}) = {wanted} connections at most from here");
    let max = usize::try_from(capacity.max).unwrap_or_default();
    let reserved = usize::try_from(capacity.reserved).unwrap_or_default();
    if pooled {
        return Verdict::pass(format!(
            "{asked}, through a pooler; the server behind it allows {max}, {} in use",
            capacity.used
        ));
    }
    let mut allowed = max.saturating_sub(reserved);
    let mut whose = format!("max_connections {max} less {reserved} reserved");
    for (limit, text) in [
        (capacity.role_limit, "the role's CONNECTION LIMIT"),
        (capacity.database_limit, "the database's CONNECTION LIMIT"),
    ] {
        if let Ok(limit) = usize::try_from(limit)
            && limit < allowed
        {
            allowed = limit;
            text.clone_into(&mut whose);
        }
    }
    let detail = format!(
        "{asked}; the server allows {allowed} ({whose}), {} in use",
        capacity.used
    );
    if wanted <= allowed {
        return Verdict::pass(detail);
    }
    // One in ten stays free for migrations, this command and psql.
    let each = (allowed - allowed.div_ceil(10)) / replicas.max(1);
    let kept = each.min(size).max(1);
    let remedy = format!(
        "SQLALCHEMY_POOL_SIZE={kept}\nSQLALCHEMY_POOL_OVERFLOW={}",
        each.saturating_sub(kept)
    );
    Verdict::warn(detail, remedy)
}

fn judge_clock(theirs: Timestamp, before: Timestamp, after: Timestamp) -> Verdict {
    // It was read somewhere between the two, so what lies between is no difference.
    let micros = if theirs.micros() < before.micros() {
        theirs.micros() - before.micros()
    } else {
        (theirs.micros() - after.micros()).max(0)
    };
    let difference = Duration::from_micros(micros.unsigned_abs());
    if difference <= CLOCK_WARN {
        return Verdict::pass("this machine and the server agree");
    }
    let way = if micros > 0 { "ahead of" } else { "behind" };
    let detail = format!(
        "the server's clock is {:.1} s {way} this machine's: tokens and reminders go by this machine's",
        difference.as_secs_f64()
    );
    let remedy =
        "on the machine that is wrong (compare with: date -u): timedatectl set-ntp true".to_owned();
    if difference <= CLOCK_FAIL {
        Verdict::warn(detail, remedy)
    } else {
        Verdict::fail(detail, remedy)
    }
}

/// What was asked for when the connection began: by the driver, and by `options=-c name=value`.
fn wanted(target: &PostgresTarget) -> Vec<(String, String)> {
    let mut wanted: Vec<(String, String)> = SENT
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    wanted.push((
        "application_name".to_owned(),
        target.application_name.clone(),
    ));
    wanted.push(("standard_conforming_strings".to_owned(), "on".to_owned()));
    wanted.push(("server_encoding".to_owned(), "UTF8".to_owned()));
    let options = target.options.as_deref().unwrap_or_default();
    let mut words = options.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let pair = match word {
            "-c" => words.next(),
            _ => word.strip_prefix("--").or_else(|| word.strip_prefix("-c")),
        };
        if let Some((name, value)) = pair.and_then(|pair| pair.split_once('=')) {
            wanted.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    wanted
}

fn judge_settings(wanted: &[(String, String)], found: &[Setting]) -> Verdict {
    let mut wrong = Vec::new();
    for ((name, wanted), setting) in wanted.iter().zip(found) {
        match &setting.value {
            Some(value) if same(wanted, value) => {}
            Some(value) => wrong.push(format!("{name} is {value}, not {wanted}")),
            None => wrong.push(format!("{name} is not known to the server")),
        }
    }
    if wrong.is_empty() {
        return Verdict::pass(format!("{} settings are as asked for", wanted.len()));
    }
    Verdict::warn(
        format!("silently not taken: {}", wrong.join("; ")),
        "set them for the role instead, past the pooler: psql -c \"ALTER ROLE NAME SET setting = 'value'\"".to_owned(),
    )
}

/// Whether the server's spelling means what was asked for.
fn same(wanted: &str, value: &str) -> bool {
    let plain = |text: &str| text.to_ascii_lowercase().replace([' ', '\'', '"'], "");
    let (wanted, value) = (plain(wanted), plain(value));
    // A number without a unit comes back with one: 30000 as 30s.
    wanted == value
        || (wanted.bytes().all(|byte| byte.is_ascii_digit())
            && value.bytes().any(|byte| byte.is_ascii_digit())
            && value.ends_with(|last: char| last.is_ascii_alphabetic()))
        || (value == "etc/utc" && wanted == "utc")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Outcome;

    fn capacity(max: i32, role_limit: i32) -> Capacity {
        Capacity {
            max,
            reserved: 3,
            used: 5,
            role_limit,
            database_limit: -1,
        }
    }

    #[test]
    fn connections_of_all_replicas_count() {
        let judged = judge_capacity(&capacity(100, -1), 10, 20, 3, false);
        assert_eq!(judged.outcome, Outcome::Pass, "{judged:?}");
        let judged = judge_capacity(&capacity(100, -1), 10, 20, 4, false);
        assert_eq!(judged.outcome, Outcome::Warn);
        assert_eq!(
            judged.remedy.as_deref(),
            Some("SQLALCHEMY_POOL_SIZE=10\nSQLALCHEMY_POOL_OVERFLOW=11")
        );
        let judged = judge_capacity(&capacity(100, 5), 10, 20, 1, false);
        assert_eq!(judged.outcome, Outcome::Warn);
        assert!(
            judged.detail.contains("the role's CONNECTION LIMIT"),
            "{}",
            judged.detail
        );
        assert_eq!(
            judge_capacity(&capacity(10, -1), 10, 20, 9, true).outcome,
            Outcome::Pass
        );
    }

    #[test]
    fn clocks() {
        let at = |seconds: i64| Timestamp::from_micros_clamped(seconds * 1_000_000);
        let judged = |theirs| judge_clock(at(theirs), at(100), at(101)).outcome;
        assert_eq!(judged(100), Outcome::Pass);
        assert_eq!(judged(103), Outcome::Pass);
        assert_eq!(judged(110), Outcome::Warn);
        assert_eq!(judged(90), Outcome::Warn);
        assert_eq!(judged(500), Outcome::Fail);
    }

    #[test]
    fn spellings_of_settings() {
        assert!(same("ISO, MDY", "ISO, MDY"));
        assert!(same("30000", "30s"));
        assert!(same("30s", "30s"));
        assert!(!same("UTC", "Europe/Paris"));
        assert!(!same("30s", "0"));
    }
}
