//! Tables that remedies have left.

use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget, sql_name};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::verdict::Verdict;
use crate::store::migrate::drift::Drift;

use super::file::drift_of_file;
use super::home::drift_of;
use super::issue::no_tables;
use super::set_aside::PREFIX;

/// Such tables do no harm, so they are no fault. They are named until somebody drops them.
pub(super) async fn leftovers(
    context: &Context,
    config: &DatabaseConfig,
    limit: Duration,
) -> Verdict {
    let file;
    let drift = match &config.target {
        DatabaseTarget::Postgres(target) => {
            match drift_of(context, Server { config, target }, limit).await {
                Ok(found) => found.map(|(_, drift)| drift),
                Err(error) => return query_failed(context, &error),
            }
        }
        DatabaseTarget::Sqlite(target) => match drift_of_file(context, target, limit).await {
            Ok(found) => {
                file = found;
                Some(&file)
            }
            Err(verdict) => return verdict,
        },
    };
    drift.map_or_else(no_tables, of_schema)
}

fn of_schema(drift: &Drift) -> Verdict {
    let named = |object: &String| {
        let table = object.strip_prefix("table ")?;
        let of = table.strip_prefix(PREFIX)?;
        Some(format!(
            "{table} keeps rows that a remedy took out of {of}; when nobody needs them: DROP TABLE {}",
            sql_name(table)
        ))
    };
    let found: Vec<String> = drift.found.keys().filter_map(named).collect();
    if found.is_empty() {
        Verdict::pass("none")
    } else {
        Verdict::skip(found.join("; "))
    }
}
