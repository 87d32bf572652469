//! Why an operation fails on SQLite, and what to do about it.

use crate::config::{DatabaseTarget, Remedy};
use crate::store::TrialFault;
use crate::store::known_message;
use crate::store::messages::{self, Place};
use crate::store::migrate::drift::{self, Difference};

use super::cause::Cause;

/// What to do about a process that writes for a long time.
pub(super) fn end_writer(target: &DatabaseTarget) -> Option<Remedy> {
    messages::by_id("sqlite.busy").map(|known| (known.remedy)(Place::from(target)))
}

/// What is known about the errors, and what others have added to the tables.
pub(super) async fn causes(
    target: &DatabaseTarget,
    faults: &[(&str, &TrialFault)],
) -> Vec<Cause> {
    let known = faults.iter().filter_map(|(_, fault)| match fault {
        TrialFault::Refused(error) => known_message(error),
        _ => None,
    });
    let mut remedies: Vec<Remedy> = known
        .map(|known| (known.remedy)(Place::from(target)))
        .collect();
    let compared = drift::compare_with_migrations(target).await;
    let differences = compared.map(|compared| compared.differences);
    if let Ok(Ok(Some(differences))) = differences {
        remedies.extend(differences.iter().filter_map(|one| undo(one, target)));
    }
    if remedies.is_empty() {
        let check = Remedy::command("todoctl migrate check");
        remedies.push(Remedy::note("see what differs from the migrations:").then(check));
    }
    let cause = |remedy| Cause {
        check: None,
        remedy,
    };
    remedies.into_iter().map(cause).collect()
}

/// Takes back a difference that may make the daemon's statements fail: a trigger of others, or
/// an index or a trigger of todoctl that is gone.
fn undo(one: &Difference, target: &DatabaseTarget) -> Option<Remedy> {
    let DatabaseTarget::Sqlite(file) = target else {
        return None;
    };
    let (kind, name) = one.part.as_deref()?.split_once(' ')?;
    let run = |statement: &str| Remedy::command("sqlite3").arg(&file.path).arg(statement);
    match (kind, one.expected.as_deref(), one.found.as_deref()) {
        ("trigger", None, Some(found)) => {
            let drop = format!("DROP TRIGGER \"{}\"", name.replace('"', "\"\""));
            let words: Vec<&str> = found.split_whitespace().collect();
            Some(Remedy::note(format!("its definition: {}", words.join(" "))).then(run(&drop)))
        }
        ("trigger" | "index", Some(expected), None) => Some(run(expected)),
        _ => None,
    }
}
