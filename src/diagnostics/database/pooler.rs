//! Whether there is a pooler, and what does not work through it.

use std::time::Duration;

use crate::config::{DatabaseTarget, PoolerMode, PostgresTarget, Remedy};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{self, PgBouncer, PreparedStatements};
use crate::diagnostics::verdict::{Outcome, Verdict};
use crate::store::messages::{self, Place};
use crate::store::{find_pooler, known_message};

use super::behind::{explained, longer_limits};
use super::fault::{cannot_connect, query_failed};

/// For each of the three steps: two connections, and prepared statements.
const STEP: Duration = Duration::from_secs(3);

/// How often a pooler's server connections are compared again, and the pause before.
const AGAIN: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);

const LIMITS: &str =
    "session advisory locks, LISTEN, SET, temporary tables and SQL PREPARE do not work through it";

fn transaction_mode() -> Remedy {
    Remedy::set("DB_POOLER", "transaction")
}

pub(super) async fn pooler(context: &Context, server: Server<'_>, _limit: Duration) -> Verdict {
    match find_pooler(server.target).await {
        Ok(false) => not_shared(context, server).await,
        Ok(true) => {
            let verdict = check_pooler(context, server, true).await;
            let pooler = PgBouncer::ask(server.target, STEP).await;
            with_limits(verdict, pooler.as_ref(), server.target)
        }
        Err(error) => explained(cannot_connect(&error), error.known, server.target).await,
    }
}

/// Two connections had a server process each: there is no pooler, or one in session mode, or one
/// in transaction mode that other clients use at this moment.
async fn not_shared(context: &Context, server: Server<'_>) -> Verdict {
    let Server { config, target } = server;
    let reused = match probe::reuses_backend(target, STEP).await {
        Ok(reused) => reused,
        Err(error) => return query_failed(context, &error),
    };
    let console = PgBouncer::ask(target, STEP).await;
    let told = console
        .as_ref()
        .and_then(|pooler| pooler.database(&target.database));
    let shared = match &told {
        Some(database) => database.pool_mode != "session",
        None if reused || console.is_some() => shared_after_a_while(target).await,
        None => false,
    };
    let pooled = reused || console.is_some();
    let verdict = if shared {
        check_pooler(context, server, true).await
    } else if config.pooler != PoolerMode::Transaction {
        if pooled {
            check_session_mode(told.map(|database| database.pool_size), config.pool.max())
        } else {
            Verdict::pass("none: each connection has its own server process")
        }
    } else if reused {
        check_pooler(context, server, false).await
    } else if let Some(verdict) = exchanged(target).await {
        verdict
    } else {
        needless_mode(target)
    };
    with_limits(verdict, console.as_ref(), target)
}

/// A verdict on a pooler that works, unless its time limits are too short.
fn with_limits(verdict: Verdict, pooler: Option<&PgBouncer>, server: &PostgresTarget) -> Verdict {
    let short_limits = pooler.map(PgBouncer::short_limits).unwrap_or_default();
    if verdict.outcome == Outcome::Fail || short_limits.is_empty() {
        return verdict;
    }
    let limits = short_limits.join(", ");
    let remedy = pooler.map(|pooler| longer_limits(pooler, server, &short_limits));
    Verdict::warn(
        format!(
            "{}; {limits} in pgbouncer.ini ends the connection of every request that takes longer (seconds)",
            verdict.detail
        ),
        verdict.remedy.unwrap_or_default().then(remedy),
    )
}

/// Looks for shared server processes again, when other clients may be done.
async fn shared_after_a_while(target: &PostgresTarget) -> bool {
    for _ in 0..AGAIN {
        tokio::time::sleep(PAUSE).await;
        if matches!(find_pooler(target).await, Ok(true)) {
            return true;
        }
    }
    false
}

/// `DATABASE_URL` leads to the server, and `DATABASE_URL_UNPOOLED` to the pooler.
async fn exchanged(target: &PostgresTarget) -> Option<Verdict> {
    let direct = target.direct.as_deref()?;
    PgBouncer::ask(direct, STEP).await?;
    let is_same = target.user == direct.user && target.database == direct.database;
    let remedy = if is_same {
        let set = |name: &str, from: &PostgresTarget| {
            Remedy::set(format!("{name}.host"), &from.host)
                .then(Remedy::set(format!("{name}.port"), from.port))
        };
        set("DATABASE_URL", direct).then(set("DATABASE_URL_UNPOOLED", target))
    } else {
        Remedy::note("exchange the values of DATABASE_URL and DATABASE_URL_UNPOOLED")
    };
    Some(Verdict::fail(
        format!(
            "DATABASE_URL leads to the server itself, and DATABASE_URL_UNPOOLED to the pooler at {}: they are exchanged, so migrations fail",
            direct.host_port()
        ),
        remedy,
    ))
}

/// The configuration says that there is a pooler in transaction mode, and there is none.
fn needless_mode(target: &PostgresTarget) -> Verdict {
    let (said, remedy) = match &target.pooler_parameter {
        Some(name) => (
            format!("{name} in DATABASE_URL"),
            Remedy::unset(format!("DATABASE_URL.{name}")),
        ),
        None if target.has_pooler_host() => {
            return Verdict::pass(
                "each connection has its own server process, behind a host whose name is a pooler's",
            );
        }
        None => (
            "DB_POOLER=transaction".to_owned(),
            Remedy::unset("DB_POOLER"),
        ),
    };
    Verdict::warn(
        format!(
            "none, although {said} says that there is one in transaction mode: each connection has its own server process, so todoctl reuses prepared statements and migrates only without that setting"
        ),
        remedy,
    )
}

/// In session mode a client keeps its server connection until it disconnects.
fn check_session_mode(size: Option<u32>, wanted: usize) -> Verdict {
    let Some(size) = size.and_then(|size| usize::try_from(size).ok()) else {
        return Verdict::pass(format!(
            "a pooler in session mode, whose size this role may not ask for; todoctl opens up to {wanted} connections"
        ));
    };
    let detail = format!(
        "PgBouncer in session mode, with {size} server connections for this database and role; todoctl opens up to {wanted}"
    );
    if size >= wanted {
        return Verdict::pass(detail);
    }
    // One stays free for migrations, or the next daemon.
    let kept = size.saturating_sub(1).max(1);
    Verdict::warn(
        format!("{detail}: requests wait for the others to disconnect"),
        Remedy::set("SQLALCHEMY_POOL_SIZE", kept).then(Remedy::set("SQLALCHEMY_POOL_OVERFLOW", 0)),
    )
}

/// Why there is no direct connection.
pub(super) fn no_direct(direct: &PostgresTarget) -> String {
    let name = "DATABASE_URL_UNPOOLED";
    if direct.variable == name {
        format!("{name} leads to the pooler too")
    } else {
        format!("{name} is not set")
    }
}

async fn check_pooler(context: &Context, server: Server<'_>, shared: bool) -> Verdict {
    let Server { config, target } = server;
    let configured = config.pooler == PoolerMode::Transaction;
    let statements = match probe::prepared_statements(target, STEP).await {
        Ok(PreparedStatements::Kept) => "it keeps prepared statements across transactions",
        Ok(PreparedStatements::Lost) => {
            "it loses prepared statements between transactions, so todoctl does not use them"
        }
        Err(error)
            if known_message(&error)
                .is_some_and(|known| known.id == "pgbouncer.statement-mode") =>
        {
            let known = known_message(&error);
            let verdict = explained(query_failed(context, &error), known, target).await;
            let mode = (!configured).then(transaction_mode);
            return Verdict::fail(
                verdict.detail,
                verdict.remedy.unwrap_or_default().then(mode),
            );
        }
        Ok(PreparedStatements::Untried) | Err(_) => {
            "whether it keeps prepared statements is unknown (no second server connection was free)"
        }
    };
    let detail = format!("transaction mode; {LIMITS}; {statements}");
    if shared && config.pooler == PoolerMode::None {
        return Verdict::fail(
            format!("there is one, although DB_POOLER=none: {detail}"),
            transaction_mode(),
        );
    }
    let direct = match &config.direct {
        DatabaseTarget::Postgres(direct) => direct,
        DatabaseTarget::Sqlite(_) => return Verdict::pass(detail),
    };
    let same_way = direct.host_port() == target.host_port();
    if direct.pooled || (same_way && shared) {
        let detail = format!(
            "{detail}; migrations need a direct connection, and {}",
            no_direct(direct)
        );
        let unpooled = messages::by_id("todoctl.through-pooler")
            .map(|known| (known.remedy)(Place::Server(target)));
        let mode = (!configured).then(transaction_mode);
        let remedy = Remedy::default().then(mode).then(unpooled);
        return if config.auto_migrate {
            Verdict::fail(detail, remedy)
        } else {
            Verdict::warn(detail, remedy)
        };
    }
    let detail = format!("{detail}; migrations use {}", direct.host_port());
    if configured {
        Verdict::pass(detail)
    } else {
        Verdict::warn(detail, transaction_mode())
    }
}
