//! The database that was probably meant, where a server has none of the configured name.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use crate::config::{PostgresTarget, Remedy, sql_literal};

use super::connect_error::ConnectError;
use super::login::attempt;
use super::messages::quoted_name;

/// How long the question may take.
const LIMIT: Duration = Duration::from_secs(2);

/// The error with the name of the database that was probably meant, and how to choose it.
pub(super) async fn named(mut error: ConnectError, target: &PostgresTarget) -> ConnectError {
    // The one that a pooler looks for has another name.
    if quoted_name(&error.message) != Some(&target.database) {
        return error;
    }
    let found = tokio::time::timeout(LIMIT, guess(target)).await;
    if let Ok(Some((name, reason))) = found {
        error.message = format!("{}; {reason} {name}", error.message);
        let is_similar = reason == SIMILAR;
        let set = Remedy::set(format!("{}.database", target.variable), name);
        error.remedy = if is_similar {
            set
        } else {
            Remedy::note("if the database was renamed:")
                .then(set)
                .or(error.remedy)
        };
    }
    error
}

const SIMILAR: &str = "there is a database";
const OWN: &str = "this role owns the database";

async fn guess(target: &PostgresTarget) -> Option<(String, &'static str)> {
    for other in target.other_databases() {
        if let Ok(mut session) = attempt(&other, LIMIT).await {
            let name = &target.database;
            let similar = only(&mut session, &is_similar_to(name)).await;
            let own = match similar {
                Some(_) => None,
                // An administrator owns many.
                None => only(&mut session, IS_OWN).await,
            };
            // The answer is there.
            drop(session.close().await);
            return similar
                .map(|name| (name, SIMILAR))
                .or(own.map(|name| (name, OWN)));
        }
    }
    None
}

fn is_similar_to(name: &str) -> String {
    format!(
        "translate(lower(datname), '-_', '') = translate(lower({}), '-_', '')",
        sql_literal(name)
    )
}

const IS_OWN: &str = "datname <> 'postgres'
    AND datdba = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user AND NOT rolsuper)";

/// The one database that meets a condition.
async fn only(session: &mut PgConnection, condition: &str) -> Option<String> {
    let query = format!(
        "SELECT datname::text FROM pg_catalog.pg_database
         WHERE datallowconn AND NOT datistemplate AND {condition}"
    );
    let names = sqlx::query_scalar(AssertSqlSafe(query))
        .persistent(false)
        .fetch_all(session)
        .await;
    let [name] = names.ok()?.try_into().ok()?;
    Some(name)
}
