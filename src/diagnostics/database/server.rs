//! What a PostgreSQL server says about the session, the role, its limits and its clock.

use std::time::Duration;

use crate::config::{PostgresTarget, Remedy, sql_name};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{Capacity, Role};
use crate::diagnostics::verdict::Verdict;
use crate::domain::Timestamp;
use crate::store::ConnectFault;

use super::fault::{cannot_connect, query_failed};
use super::settings::SENT;

/// A login that took longer has woken a suspended database.
const WAKING: Duration = Duration::from_secs(2);

/// Tokens are accepted for a few seconds more.
const CLOCK_WARN: Duration = Duration::from_secs(2);
const CLOCK_FAIL: Duration = Duration::from_secs(60);

/// Whether the server accepts the parameters that begin a session.
pub(super) async fn startup(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    let Err(error) = context.server.login(server.target, limit).await else {
        let mut names: Vec<&str> = SENT.iter().map(|(name, _)| *name).collect();
        names.push("application_name");
        if server.target.options.is_some() {
            names.push("options");
        }
        return Verdict::pass(format!("accepted: {}", names.join(", ")));
    };
    match error.fault {
        ConnectFault::StartupParameter => cannot_connect(error),
        ConnectFault::TimedOut
        | ConnectFault::Certificate
        | ConnectFault::TlsUnsupported
        | ConnectFault::NotPostgres => Verdict::skip("skipped: the server did not answer"),
        _ => Verdict::pass("accepted"),
    }
}

pub(super) async fn login(context: &Context, server: &PostgresTarget, limit: Duration) -> Verdict {
    match context.server.login(server, limit).await {
        Ok(took) => {
            let mut text = format!("as {} to the database {}", server.user, server.database);
            if *took > WAKING {
                let seconds = took.as_secs_f64();
                text += &format!(", after {seconds:.1} s: the database was probably suspended");
            }
            Verdict::pass(text)
        }
        Err(error) if error.fault == ConnectFault::StartupParameter => {
            Verdict::skip_because_failed("database.startup")
        }
        Err(error) => {
            let mut verdict = cannot_connect(error);
            if error.fault == ConnectFault::TimedOut {
                verdict.detail +=
                    "; a suspended database wakes within 15 s, so the cause is another";
            }
            verdict
        }
    }
}

pub(super) async fn role(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    let question = context
        .server
        .ask(server.target, limit, async |connection| {
            connection.role().await
        });
    match question.await {
        Ok(role) => check_role(&role, server.target, server.config.auto_migrate),
        Err(error) => query_failed(context, &error),
    }
}

pub(super) async fn capacity(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    let question = context
        .server
        .ask(server.target, limit, async |connection| {
            connection.capacity().await
        });
    let demand = Demand {
        replicas: context.request.replicas,
        size: server.config.pool.size,
        overflow: server.config.pool.overflow,
    };
    match question.await {
        Ok(capacity) => check_capacity(&capacity, demand, server.target.pooled),
        Err(error) => query_failed(context, &error),
    }
}

pub(super) async fn clock(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    let clock = &context.request.clock;
    let question = context
        .server
        .ask(server.target, limit, async |connection| {
            let before = clock.now();
            let time = connection.server_time().await?;
            Ok(check_clock(time, before, clock.now()))
        });
    question
        .await
        .unwrap_or_else(|error| query_failed(context, &error))
}

fn check_role(role: &Role, server: &PostgresTarget, auto_migrate: bool) -> Verdict {
    let name = &role.name;
    let quoted = sql_name(name);
    let as_administrator =
        |statement: String| Remedy::admin_sql(server, role.administrator.as_deref(), statement);
    if role.in_recovery {
        return Verdict::fail(
            "the server is a standby (in recovery): it is read-only",
            Remedy::note("name the primary in DATABASE_URL, which accepts writes"),
        );
    }
    if role.read_only {
        return Verdict::fail(
            format!("the transactions of {name} are read-only"),
            as_administrator(format!(
                "ALTER ROLE {quoted} RESET default_transaction_read_only; ALTER DATABASE {} RESET default_transaction_read_only",
                sql_name(&server.database)
            )),
        );
    }
    let Some(schema) = &role.schema else {
        return Verdict::fail(
            format!("the search path of {name} names no schema that it may use"),
            as_administrator(format!("GRANT USAGE, CREATE ON SCHEMA public TO {quoted}")),
        );
    };
    let in_schema = sql_name(schema);
    let closed = [&role.closed_tables[..], &role.closed_sequences[..]].concat();
    if !closed.is_empty() {
        return Verdict::fail(
            format!("{name} may not read and write {}", closed.join(", ")),
            as_administrator(format!(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {in_schema} TO {quoted}; GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {in_schema} TO {quoted}"
            )),
        );
    }
    if !role.guarded_tables.is_empty() {
        let policies: Vec<String> = role
            .guarded_tables
            .iter()
            .map(|table| {
                let table = sql_name(table);
                format!("CREATE POLICY todoctl ON {in_schema}.{table} TO {quoted} USING (true) WITH CHECK (true)")
            })
            .collect();
        return Verdict::fail(
            format!(
                "row-level security without a policy for {name} hides every row of {}, or refuses changes",
                role.guarded_tables.join(", ")
            ),
            as_administrator(policies.join("; ")),
        );
    }
    if role.may_create {
        return Verdict::pass(format!("{name} may create tables in {schema}"));
    }
    let remedy = as_administrator(format!("GRANT CREATE ON SCHEMA {in_schema} TO {quoted}"));
    if role.has_tasks {
        let automatic = if auto_migrate {
            "; the next release's migrations will fail"
        } else {
            ""
        };
        return Verdict::warn(
            format!("{name} may use the tables, but not create tables in {schema}{automatic}"),
            remedy,
        );
    }
    Verdict::fail(
        format!("{name} may not create tables in {schema}, and the service's tables do not exist"),
        remedy,
    )
}

/// The connections that the daemons may open.
#[derive(Clone, Copy)]
struct Demand {
    replicas: usize,
    size: usize,
    overflow: usize,
}

fn check_capacity(capacity: &Capacity, demand: Demand, pooled: bool) -> Verdict {
    let Demand {
        replicas,
        size,
        overflow,
    } = demand;
    let wanted = replicas.saturating_mul(size + overflow);
    let needed = format!("up to {replicas} × ({size} + {overflow}) = {wanted} connections needed");
    let max = usize::try_from(capacity.max).unwrap_or_default();
    let reserved = usize::try_from(capacity.reserved).unwrap_or_default();
    if pooled {
        return Verdict::pass(format!(
            "{needed}, through a pooler; its server allows {max}, {} in use",
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
        "{needed}; the server allows {allowed} ({whose}), {} in use",
        capacity.used
    );
    if wanted <= allowed {
        return Verdict::pass(detail);
    }
    // A tenth stays free for migrations, this command and psql.
    let each = (allowed - allowed.div_ceil(10)) / replicas.max(1);
    let kept = each.min(size).max(1);
    let remedy = Remedy::set("SQLALCHEMY_POOL_SIZE", kept).then(Remedy::set(
        "SQLALCHEMY_POOL_OVERFLOW",
        each.saturating_sub(kept),
    ));
    Verdict::warn(detail, remedy)
}

fn check_clock(theirs: Timestamp, before: Timestamp, after: Timestamp) -> Verdict {
    // It was read at some time between the two.
    let micros = if theirs.micros() < before.micros() {
        theirs.micros() - before.micros()
    } else {
        (theirs.micros() - after.micros()).max(0)
    };
    let difference = Duration::from_micros(micros.unsigned_abs());
    if difference <= CLOCK_WARN {
        return Verdict::pass("the same as this machine's");
    }
    let side = if micros > 0 { "behind" } else { "ahead of" };
    let detail = format!(
        "this machine's clock is {} {side} the database's; tokens and reminders use this machine's",
        in_words(difference)
    );
    let remedy = Remedy::note("on the machine whose time is wrong, as root: timedatectl set-ntp true; this machine's time:")
        .then(Remedy::command("date -u"));
    if difference <= CLOCK_FAIL {
        Verdict::warn(detail, remedy)
    } else {
        Verdict::fail(detail, remedy)
    }
}

/// A duration in its largest unit.
fn in_words(time: Duration) -> String {
    const UNITS: [(f64, &str); 4] = [
        (365.25 * 86_400.0, "years"),
        (86_400.0, "days"),
        (3_600.0, "hours"),
        (60.0, "minutes"),
    ];
    let seconds = time.as_secs_f64();
    for (length, name) in UNITS {
        if seconds >= 2.0 * length {
            return format!("{:.1} {name}", seconds / length);
        }
    }
    format!("{seconds:.1} s")
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

    fn demand(replicas: usize) -> Demand {
        Demand {
            replicas,
            size: 10,
            overflow: 20,
        }
    }

    #[test]
    fn connections_of_all_replicas_count() {
        let verdict = check_capacity(&capacity(100, -1), demand(3), false);
        assert_eq!(verdict.outcome, Outcome::Pass, "{verdict:?}");
        let verdict = check_capacity(&capacity(100, -1), demand(4), false);
        assert_eq!(verdict.outcome, Outcome::Warn);
        assert_eq!(
            verdict.remedy.unwrap().to_string(),
            "todoctl config set SQLALCHEMY_POOL_SIZE=10 SQLALCHEMY_POOL_OVERFLOW=11"
        );
        let verdict = check_capacity(&capacity(100, 5), demand(1), false);
        assert_eq!(verdict.outcome, Outcome::Warn);
        assert!(
            verdict.detail.contains("the role's CONNECTION LIMIT"),
            "{}",
            verdict.detail
        );
        assert_eq!(
            check_capacity(&capacity(10, -1), demand(9), true).outcome,
            Outcome::Pass
        );
    }

    #[test]
    fn clocks() {
        let at = |seconds: i64| Timestamp::from_micros_clamped(seconds * 1_000_000);
        let verdict = |theirs| check_clock(at(theirs), at(100), at(101)).outcome;
        assert_eq!(verdict(100), Outcome::Pass);
        assert_eq!(verdict(103), Outcome::Pass);
        assert_eq!(verdict(110), Outcome::Warn);
        assert_eq!(verdict(90), Outcome::Warn);
        assert_eq!(verdict(500), Outcome::Fail);
    }

    #[test]
    fn durations_in_words() {
        assert_eq!(in_words(Duration::from_secs(90)), "90.0 s");
        assert_eq!(in_words(Duration::from_secs(236_345_097)), "7.5 years");
    }
}
