//! Whether a pooler stands between, and what does not work through it.

use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget, PoolerMode, PostgresTarget};
use crate::diagnostics::check::{Budget, Check, Verdict};
use crate::store::{self, PreparedStatements};

use super::fault;
use super::names::POOLER;

const LIMIT: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_secs(3);

const WITHOUT: &str =
    "session advisory locks, LISTEN, SET, temporary tables and SQL PREPARE do not work through it";

const UNPOOLED: &str = "DATABASE_URL_UNPOOLED=postgresql://USER:PASSWORD@HOST:5432/NAME (the server's own address, past the pooler)";

/// Looks for a pooler and at what it can do.
pub(super) async fn check(
    config: &DatabaseConfig,
    server: &PostgresTarget,
    budget: Budget,
) -> Check {
    let work = async {
        let verdict = match store::shares_backend(server, STEP).await {
            Ok(shared) => judge(config, server, shared).await,
            Err(error) => fault(&error),
        };
        (verdict, None::<()>)
    };
    POOLER.check(budget.limit(LIMIT), work).await.0
}

async fn judge(config: &DatabaseConfig, server: &PostgresTarget, shared: bool) -> Verdict {
    let told = config.pooler == PoolerMode::Transaction;
    if !told && !shared {
        return Verdict::pass("none: each connection has a server process of its own");
    }
    let statements = match store::prepared_statements(server, STEP).await {
        Ok(PreparedStatements::Kept) => "it keeps prepared statements across transactions",
        Ok(PreparedStatements::Lost) => {
            "it loses prepared statements between transactions, so none are used"
        }
        Ok(PreparedStatements::Untried) | Err(_) => {
            "whether it keeps prepared statements could not be tried (no second server connection)"
        }
    };
    let detail = format!("transaction mode; {WITHOUT}; {statements}");
    if shared && config.pooler == PoolerMode::None {
        return Verdict::fail(
            format!("one answers, although DB_POOLER=none: {detail}"),
            "DB_POOLER=transaction".to_owned(),
        );
    }
    let direct = match &config.direct {
        DatabaseTarget::Postgres(direct) => direct,
        DatabaseTarget::Sqlite(_) => return Verdict::pass(detail),
    };
    let same_way = direct.place() == server.place();
    if direct.pooled || (same_way && shared) {
        let detail = format!("{detail}; no direct URL is set, and migrations need one");
        let mut remedy = UNPOOLED.to_owned();
        if !told {
            remedy = format!("DB_POOLER=transaction\n{remedy}");
        }
        return if config.auto_migrate {
            Verdict::fail(detail, remedy)
        } else {
            Verdict::warn(detail, remedy)
        };
    }
    let detail = format!("{detail}; migrations go to {}", direct.place());
    if told {
        Verdict::pass(detail)
    } else {
        Verdict::warn(detail, "DB_POOLER=transaction".to_owned())
    }
}
