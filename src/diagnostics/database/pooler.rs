//! Whether there is a pooler, and what does not work through it.

use std::time::Duration;

use crate::config::{DatabaseTarget, PoolerMode, Remedy};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{self, PreparedStatements};
use crate::diagnostics::verdict::Verdict;
use crate::store::known_message;
use crate::store::messages::{self, Place};

use super::fault::{cannot_connect, query_failed};

/// For each of the three steps: two connections, and prepared statements.
const STEP: Duration = Duration::from_secs(3);

const LIMITS: &str =
    "session advisory locks, LISTEN, SET, temporary tables and SQL PREPARE do not work through it";

fn transaction_mode() -> Remedy {
    Remedy::set("DB_POOLER", "transaction")
}

pub(super) async fn pooler(context: &Context, server: Server<'_>, _limit: Duration) -> Verdict {
    match probe::shares_backend(server.target, STEP).await {
        Ok(shared) => check_pooler(context, server, shared).await,
        Err(error) => cannot_connect(&error),
    }
}

async fn check_pooler(context: &Context, server: Server<'_>, shared: bool) -> Verdict {
    let Server { config, target } = server;
    let configured = config.pooler == PoolerMode::Transaction;
    if !configured && !shared {
        return Verdict::pass("none: each connection has its own server process");
    }
    let statements = match probe::prepared_statements(target, STEP).await {
        Ok(PreparedStatements::Kept) => "it keeps prepared statements across transactions",
        Ok(PreparedStatements::Lost) => {
            "it loses prepared statements between transactions, so todoctl does not use them"
        }
        Err(error)
            if known_message(&error)
                .is_some_and(|known| known.id == "pgbouncer.statement-mode") =>
        {
            return query_failed(context, &error);
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
            "{detail}; migrations need a direct connection, and DATABASE_URL_UNPOOLED is not set"
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
