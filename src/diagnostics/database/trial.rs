//! Whether what the daemon does succeeds: tried with its own statements, and rolled back.

use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget, shell_word};
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::store::messages::KnownMessage;
use crate::store::{ConnectFault, StoreError, TrialFault, Tried, known_message, try_out};

use super::fault::cannot_connect;

pub(super) async fn trial(context: &Context, config: &DatabaseConfig, limit: Duration) -> Verdict {
    let work = try_out(config, &context.request.clock);
    let tried = match tokio::time::timeout(limit, work).await {
        Ok(Ok(tried)) => tried,
        Ok(Err(error)) => return cannot_connect(&error),
        Err(_) => {
            return Verdict::fail(
                format!("not finished within {} s, and rolled back", limit.as_secs()),
                "todoctl db check --only database.latency".to_owned(),
            );
        }
    };
    check_tried(&tried, &config.target)
}

fn check_tried(tried: &[Tried], target: &DatabaseTarget) -> Verdict {
    let faults: Vec<(&str, &TrialFault)> = tried
        .iter()
        .filter_map(|one| Some((one.operation, one.outcome.as_ref().err()?)))
        .collect();
    if faults.is_empty() {
        let operations: Vec<&str> = tried.iter().map(|one| one.operation).collect();
        return Verdict::pass(format!(
            "{} operations succeeded and were rolled back: {}",
            operations.len(),
            operations.join(", ")
        ));
    }
    if let [(_, fault)] = faults[..]
        && is_busy(fault)
    {
        return Verdict::warn(
            "another process writes to the file: no operation was tried",
            remedy(fault, target),
        );
    }
    let mut texts: Vec<(String, Vec<&str>)> = Vec::new();
    let mut remedies = Vec::new();
    for (operation, fault) in &faults {
        let text = fault.to_string();
        match texts.iter_mut().find(|(known, _)| *known == text) {
            Some((_, operations)) => operations.push(operation),
            None => texts.push((text, vec![operation])),
        }
        if let Some(remedy) = remedy(fault, target)
            && !remedies.contains(&remedy)
        {
            remedies.push(remedy);
        }
    }
    let texts: Vec<String> = texts
        .into_iter()
        .map(|(text, operations)| format!("cannot {}: {text}", operations.join(", ")))
        .collect();
    let detail = texts.join("; ");
    let is_altered = |(_, fault): &(&str, &TrialFault)| matches!(fault, TrialFault::Altered { .. });
    if faults.iter().all(is_altered) {
        Verdict::warn(detail, remedies.join("\n"))
    } else {
        Verdict::fail(detail, remedies.join("\n"))
    }
}

/// Whether another process holds SQLite's lock, as one that writes does.
fn is_busy(fault: &TrialFault) -> bool {
    matches!(fault, TrialFault::Refused(StoreError::Connect(error)) if error.fault == ConnectFault::Busy)
}

fn remedy(fault: &TrialFault, target: &DatabaseTarget) -> Option<String> {
    match fault {
        TrialFault::Refused(error) => known_message(error).map(|known| filled(known, target)),
        _ => None,
    }
}

fn filled(known: &KnownMessage, target: &DatabaseTarget) -> String {
    match target {
        DatabaseTarget::Postgres(server) => known.remedy_at(server),
        DatabaseTarget::Sqlite(file) => known.remedy_for_file(&shell_word(&file.path)),
    }
}
