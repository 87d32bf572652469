//! Whether the server has room for the connections of the daemons, beside those of others.

use std::time::Duration;

use crate::config::{PostgresTarget, Remedy};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{Capacity, ServerConnection, Users};
use crate::diagnostics::verdict::Verdict;

use super::answer::of_answer;
use super::ending::literal;

/// So many applications are named.
const NAMED: usize = 3;

pub(super) async fn connections(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    let demand = Demand {
        replicas: context.request.replicas,
        size: server.config.pool.size,
        overflow: server.config.pool.overflow,
    };
    let ask = async |connection: &mut ServerConnection| {
        let capacity = connection.capacity().await?;
        Ok((capacity, connection.users().await?))
    };
    of_answer(context, server, limit, ask, |(capacity, users)| {
        check_capacity(capacity, users, demand, server.target)
    })
    .await
}

/// The connections that the daemons may open.
#[derive(Clone, Copy)]
struct Demand {
    replicas: usize,
    size: usize,
    overflow: usize,
}

fn check_capacity(
    capacity: &Capacity,
    users: &[Users],
    demand: Demand,
    server: &PostgresTarget,
) -> Verdict {
    let Demand {
        replicas,
        size,
        overflow,
    } = demand;
    let wanted = replicas.saturating_mul(size + overflow);
    let needed = format!("up to {replicas} × ({size} + {overflow}) = {wanted} connections needed");
    let max = usize::try_from(capacity.max).unwrap_or_default();
    let reserved = usize::try_from(capacity.reserved).unwrap_or_default();
    if server.pooled {
        return Verdict::pass(format!(
            "{needed}, through a pooler; its server allows {max}, {} in use",
            capacity.used
        ));
    }
    let is_ours =
        |one: &&Users| one.application == server.application_name && one.role == server.user;
    let others: Vec<&Users> = users.iter().filter(|one| !is_ours(one)).collect();
    let count = |counted: fn(&Users) -> i64, of_role: Option<&str>| -> usize {
        let all = others
            .iter()
            .filter(|one| of_role.is_none_or(|role| one.role == role));
        usize::try_from(all.map(|one| counted(one)).sum::<i64>()).unwrap_or_default()
    };
    // The tightest of three limits, each less what others have of it.
    let limits = [
        (
            Some(max.saturating_sub(reserved)),
            count(|one| one.connections, None),
            format!("max_connections {max} less {reserved} reserved"),
        ),
        (
            usize::try_from(capacity.role_limit).ok(),
            count(|one| one.connections, Some(&server.user)),
            "the role's CONNECTION LIMIT".to_owned(),
        ),
        (
            usize::try_from(capacity.database_limit).ok(),
            count(|one| one.here, None),
            "the database's CONNECTION LIMIT".to_owned(),
        ),
    ];
    let limits = limits
        .into_iter()
        .filter_map(|(limit, taken, whose)| Some((limit?, taken, whose)));
    let Some((allowed, taken, whose)) =
        limits.min_by_key(|(limit, taken, _)| limit.saturating_sub(*taken))
    else {
        return Verdict::pass(needed);
    };
    let mut detail = format!(
        "{needed}; the server allows {allowed} ({whose}), {} in use",
        capacity.used
    );
    if taken > 0 {
        detail += &format!(", others have {taken}: {}", named(&others));
    }
    let left = allowed.saturating_sub(taken);
    if wanted <= left {
        return Verdict::pass(detail);
    }
    // A tenth stays free for migrations, this command and psql.
    let each = (left - left.div_ceil(10)) / replicas.max(1);
    let kept = each.min(size).max(1);
    let smaller = Remedy::set("SQLALCHEMY_POOL_SIZE", kept).then(Remedy::set(
        "SQLALCHEMY_POOL_OVERFLOW",
        each.saturating_sub(kept),
    ));
    Verdict::warn(detail, end_idle(&others, server).then(smaller))
}

/// The applications with the most connections.
fn named(users: &[&Users]) -> String {
    let named = users.iter().take(NAMED).map(|one| {
        let application = match one.application.as_str() {
            "" => "unnamed",
            name => name,
        };
        format!("{} of {application} ({})", one.connections, one.role)
    });
    let named: Vec<String> = named.collect();
    named.join(", ")
}

/// Ends what others have left open and not used for an hour.
fn end_idle(others: &[&Users], server: &PostgresTarget) -> Remedy {
    let idle = others.iter().filter(|one| one.idle.unwrap_or_default() > 0);
    idle.take(NAMED).fold(Remedy::default(), |all, one| {
        all.then(Remedy::note(format!(
            "ends {} sessions that have done nothing for an hour, and are in no transaction",
            one.idle.unwrap_or_default()
        )))
        .then(Remedy::admin_sql(
            server,
            None,
            format!(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = {} AND usename = {} AND state = 'idle' AND state_change < now() - interval '1 hour'",
                literal(&one.application),
                literal(&one.role)
            ),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::super::ending::tests::server;
    use super::*;
    use crate::diagnostics::Outcome::{self, Pass, Warn};

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

    fn users(application: &str, connections: i64, idle: i64) -> Users {
        Users {
            application: application.to_owned(),
            role: "app".to_owned(),
            connections,
            here: 0,
            idle: Some(idle),
        }
    }

    #[test]
    fn connections_of_all_replicas_count() {
        let check =
            |capacity, replicas| check_capacity(&capacity, &[], demand(replicas), &server());
        assert_eq!(check(capacity(100, -1), 3).outcome, Pass);
        let verdict = check(capacity(100, -1), 4);
        assert_eq!(verdict.outcome, Warn);
        assert_eq!(
            verdict.remedy.unwrap().to_string(),
            "todoctl config set SQLALCHEMY_POOL_SIZE=10 SQLALCHEMY_POOL_OVERFLOW=11"
        );
        let verdict = check(capacity(100, 5), 1);
        assert_eq!(verdict.outcome, Warn);
        assert!(
            verdict.detail.contains("the role's CONNECTION LIMIT"),
            "{}",
            verdict.detail
        );
        let mut pooled = server();
        pooled.pooled = true;
        let verdict = check_capacity(&capacity(10, -1), &[], demand(9), &pooled);
        assert_eq!(verdict.outcome, Pass);
    }

    #[test]
    fn connections_of_others_count() {
        let check =
            |others: &[Users]| check_capacity(&capacity(100, -1), others, demand(3), &server());
        let outcome = |others: &[Users]| -> Outcome { check(others).outcome };
        assert_eq!(outcome(&[users("psql", 7, 0)]), Pass);
        let own = Users {
            application: server().application_name,
            role: server().user,
            ..users("", 90, 0)
        };
        assert_eq!(outcome(&[own]), Pass);
        let verdict = check(&[users("metabase", 40, 30)]);
        assert_eq!(verdict.outcome, Warn);
        assert!(
            verdict.detail.ends_with("40 of metabase (app)"),
            "{}",
            verdict.detail
        );
        let remedy = verdict.remedy.unwrap().to_string();
        assert!(
            remedy.contains("state = ") && remedy.contains("POOL_SIZE"),
            "{remedy}"
        );
    }
}
