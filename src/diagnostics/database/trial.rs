//! Whether what the daemon does succeeds: tried with its own statements, and rolled back.

use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget, Remedy};
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::{Unexplained, Verdict};
use crate::store::messages;
use crate::store::{ConnectFault, StoreError, TrialFault, Tried, known_message, try_out};

use super::fault::cannot_connect;

mod cause;

use cause::Cause;
pub(super) use cause::verdict_of;

/// How long the search for causes may take.
const CAUSES: Duration = Duration::from_secs(3);

pub(super) async fn trial(context: &Context, config: &DatabaseConfig, limit: Duration) -> Verdict {
    let limit = limit.saturating_sub(CAUSES);
    // A reader that found the log of a trial on a file would leave it behind.
    let turn = match config.target {
        DatabaseTarget::Postgres(_) => None,
        DatabaseTarget::Sqlite(_) => Some(context.turn().await),
    };
    let work = try_out(config, &context.request.clock);
    let tried = tokio::time::timeout(limit, work).await;
    drop(turn);
    let tried = match tried {
        Ok(Ok(tried)) => tried,
        Ok(Err(error)) => return cannot_connect(&error),
        Err(_) => {
            return Verdict::fail(
                format!("not finished within {} s, and rolled back", limit.as_secs()),
                Remedy::note(
                    "the server answers too slowly, or the network to it is slow: see what it does",
                ),
            );
        }
    };
    let faults: Vec<(&str, &TrialFault)> = tried
        .iter()
        .filter_map(|one| Some((one.operation, one.outcome.as_ref().err()?)))
        .collect();
    if faults.is_empty() {
        return passed(&tried);
    }
    if let [(_, fault)] = faults[..]
        && is_busy(fault)
    {
        return Verdict::warn(
            "another process has been writing to the file for 2 s: no operation was tried",
            messages::by_id("sqlite.busy").map(|known| (known.remedy)((&config.target).into())),
        );
    }
    let verdict = failed(&faults, cause::of(context, config, &faults, CAUSES).await);
    let mut unexplained = faults.iter().filter_map(|(_, fault)| unexplained(fault));
    // What the catalogue lacks is known.
    let unexplained = unexplained.find(|one| !one.known.is_of_catalogue());
    match unexplained {
        Some(unexplained) => verdict.after(unexplained),
        None => verdict,
    }
}

/// What the message of a statement leaves open.
fn unexplained(fault: &TrialFault) -> Option<Unexplained> {
    let TrialFault::Refused(error) = fault else {
        return None;
    };
    Unexplained::of(known_message(error)?, error)
}

fn passed(tried: &[Tried]) -> Verdict {
    let operations: Vec<&str> = tried.iter().map(|one| one.operation).collect();
    Verdict::pass(format!(
        "{} operations succeeded and were rolled back: {}",
        operations.len(),
        operations.join(", ")
    ))
}

fn failed(faults: &[(&str, &TrialFault)], causes: Vec<Cause>) -> Verdict {
    let mut texts: Vec<(String, Vec<&str>)> = Vec::new();
    for (operation, fault) in faults {
        let text = fault.to_string();
        match texts.iter_mut().find(|(known, _)| *known == text) {
            Some((_, operations)) => operations.push(operation),
            None => texts.push((text, vec![operation])),
        }
    }
    let mut texts: Vec<String> = texts
        .into_iter()
        .map(|(text, operations)| format!("cannot {}: {text}", operations.join(", ")))
        .collect();
    let mut checks: Vec<&str> = causes.iter().filter_map(|one| one.check).collect();
    checks.dedup();
    if !checks.is_empty() {
        texts.push(format!("the cause is named by {}", checks.join(", ")));
    }
    let detail = texts.join("; ");
    let remedy = causes
        .into_iter()
        .fold(Remedy::default(), |all, one| all.then(one.remedy));
    let is_altered = |(_, fault): &(&str, &TrialFault)| matches!(fault, TrialFault::Altered { .. });
    if faults.iter().all(is_altered) {
        Verdict::warn(detail, remedy)
    } else {
        Verdict::fail(detail, remedy)
    }
}

/// Whether another process holds SQLite's lock, as one that writes does.
fn is_busy(fault: &TrialFault) -> bool {
    matches!(fault, TrialFault::Refused(StoreError::Connect(error)) if error.fault == ConnectFault::Busy)
}
