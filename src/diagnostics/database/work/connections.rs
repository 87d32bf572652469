//! Whether the server has room for the connections of the daemons, beside those of others.

use std::fmt;
use std::time::Duration;

use crate::config::{PostgresTarget, Remedy, sql_literal};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{Capacity, IDLE_SECONDS, ServerConnection, Users};
use crate::diagnostics::verdict::Verdict;
use crate::store::messages::{self, Place};

use super::answer::of_answer;

/// So many applications are named.
const NAMED: usize = 3;

/// Connections for migrations, this command and psql, where a limit is raised.
const SPARE: usize = 5;

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

/// Which limit is the tightest.
#[derive(Clone, Copy)]
enum Whose {
    Server { max: usize, reserved: usize },
    Role,
    Database,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { max, reserved } => {
                write!(f, "max_connections {max} less {reserved} reserved")
            }
            Self::Role => f.write_str("the role's CONNECTION LIMIT"),
            Self::Database => f.write_str("the database's CONNECTION LIMIT"),
        }
    }
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
    let others = |whose: &Whose| -> Vec<&Users> {
        let counts = |one: &&Users| match whose {
            Whose::Server { .. } => true,
            Whose::Role => one.role == server.user,
            Whose::Database => one.is_here,
        };
        users
            .iter()
            .filter(|one| !is_ours(one))
            .filter(counts)
            .collect()
    };
    // The tightest of three limits, each less what others have of it.
    let limits = [
        (
            Some(max.saturating_sub(reserved)),
            Whose::Server { max, reserved },
        ),
        (usize::try_from(capacity.role_limit).ok(), Whose::Role),
        (
            usize::try_from(capacity.database_limit).ok(),
            Whose::Database,
        ),
    ];
    let limits = limits.into_iter().filter_map(|(limit, whose)| {
        let others = others(&whose);
        let taken = others.iter().map(|one| one.connections).sum::<i64>();
        Some((
            limit?,
            usize::try_from(taken).unwrap_or_default(),
            whose,
            others,
        ))
    });
    let Some((allowed, taken, whose, others)) =
        limits.min_by_key(|(limit, taken, ..)| limit.saturating_sub(*taken))
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
    let smaller = smaller_pool(left, demand);
    let remedy = if wanted > allowed {
        let raised = raised(whose, wanted + SPARE, server);
        match whose {
            Whose::Server { .. } => smaller.or(raised),
            // As for a connection that the limit refuses.
            Whose::Role | Whose::Database => raised.or(smaller),
        }
    } else if let Some(ended) = end_idle(&others, wanted - left, server) {
        ended
            .or(raised(whose, wanted + taken + SPARE, server))
            .or(smaller)
    } else {
        raised(whose, wanted + taken + SPARE, server).or(smaller)
    };
    Verdict::warn(detail, remedy)
}

/// The pool that fits into `left` connections of all daemons. A tenth stays free for migrations,
/// this command and psql.
fn smaller_pool(left: usize, demand: Demand) -> Remedy {
    let each = (left - left.div_ceil(10)) / demand.replicas.max(1);
    let kept = each.min(demand.size).max(1);
    Remedy::set("SQLALCHEMY_POOL_SIZE", kept).then(Remedy::set(
        "SQLALCHEMY_POOL_OVERFLOW",
        each.saturating_sub(kept),
    ))
}

/// Raises the limit to `connections`.
fn raised(whose: Whose, connections: usize, server: &PostgresTarget) -> Remedy {
    let id = match whose {
        Whose::Role => "postgres.role-limit",
        Whose::Database => "postgres.database-limit",
        Whose::Server { reserved, .. } => {
            let all = connections + reserved;
            return Remedy::admin_sql(
                server,
                None,
                format!("ALTER SYSTEM SET max_connections = {all}"),
            )
            .then(Remedy::note("then restart the server"));
        }
    };
    let known = messages::by_id(id);
    known.map_or_else(Remedy::default, |one| (one.remedy)(Place::Server(server)))
}

/// The applications with the most connections.
fn named(users: &[&Users]) -> String {
    let named = users
        .iter()
        .take(NAMED)
        .map(|one| format!("{} of {} ({})", one.connections, application(one), one.role));
    let named: Vec<String> = named.collect();
    named.join(", ")
}

fn application(user: &Users) -> &str {
    match user.application.as_str() {
        "" => "unnamed",
        name => name,
    }
}

/// Ends sessions of others that are not at work, of as few applications as give back `missing`
/// connections; `None` if there are too few of them. Whether they are idle may be hidden.
fn end_idle(others: &[&Users], missing: usize, server: &PostgresTarget) -> Option<Remedy> {
    let mut left = missing;
    let mut remedy = Remedy::default();
    for one in others {
        let idle = usize::try_from(one.idle.unwrap_or(one.connections)).unwrap_or_default();
        if left == 0 || idle == 0 {
            continue;
        }
        left = left.saturating_sub(idle);
        remedy = remedy
            .then(Remedy::note(format!(
                "{} ({}) has {} connections; this ends those that are in no transaction and have done nothing for {IDLE_SECONDS} s; it opens them again unless its pool is made smaller, or its role gets a CONNECTION LIMIT",
                application(one),
                one.role,
                one.connections
            )))
            .then(Remedy::admin_sql(
                server,
                None,
                format!(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = {} AND usename = {} AND datname {} current_database() AND state = 'idle' AND state_change < now() - interval '{IDLE_SECONDS} s'",
                    sql_literal(&one.application),
                    sql_literal(&one.role),
                    if one.is_here { "=" } else { "<>" }
                ),
            ));
    }
    (left == 0).then_some(remedy)
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
            is_here: false,
            connections,
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
            "todoctl config set SQLALCHEMY_POOL_SIZE=10 SQLALCHEMY_POOL_OVERFLOW=11\n\
             # or: psql -h db.example.com -p 5432 -U postgres -d todo -c 'ALTER SYSTEM SET max_connections = 128'\n\
             # then restart the server"
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
        let commands = |others: &[Users]| -> Vec<String> {
            let remedy = check(others).remedy.unwrap();
            remedy.commands().map(str::to_owned).collect()
        };
        // Those of the application that holds most, and no smaller pool.
        let ended = commands(&[users("metabase", 40, 40)]);
        assert_eq!(ended.len(), 1);
        assert!(ended[0].contains("application_name = "), "{ended:?}");
        assert!(ended[0].contains("metabase"), "{ended:?}");
        let busy = commands(&[users("metabase", 40, 0)]);
        assert_eq!(busy.len(), 1);
        assert!(busy[0].contains("max_connections = 138"), "{busy:?}");
    }

    #[test]
    fn only_those_are_ended_that_the_limit_counts() {
        let capacity = Capacity {
            database_limit: 90,
            ..capacity(1000, -1)
        };
        let here = Users {
            is_here: true,
            ..users("metabase", 40, 40)
        };
        let elsewhere = users("forgotten", 50, 50);
        let verdict = check_capacity(&capacity, &[elsewhere, here], demand(2), &server());
        assert!(
            verdict
                .detail
                .ends_with("others have 40: 40 of metabase (app)"),
            "{}",
            verdict.detail
        );
        let remedy = verdict.remedy.unwrap().to_string();
        assert!(
            remedy.contains("metabase") && !remedy.contains("forgotten"),
            "{remedy}"
        );
    }
}
