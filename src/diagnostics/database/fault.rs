//! Verdicts on errors of the database.

use crate::config::{Remedy, SqliteTarget};
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::{Unexplained, Verdict};
use crate::store::messages::{self, Place, Retry};
use crate::store::{ConnectError, StoreError, known_message};

/// An attempt to connect that failed.
pub(super) fn cannot_connect(error: &ConnectError) -> Verdict {
    let detail = explained(error);
    // A limit of the server also ends the session that is being set up.
    let of_limit = error.known.filter(|known| known.is_timeout());
    match of_limit.and_then(|known| Unexplained::of(known, &error.message)) {
        Some(unexplained) => Verdict::fail(detail, None).after(unexplained),
        None => Verdict::fail(detail, error.remedy.clone()),
    }
}

/// The driver's message, with its meaning where the words alone do not tell.
pub(super) fn explained(error: &ConnectError) -> String {
    let message = &error.message;
    match error.known {
        Some(known) if known.id.starts_with("neon.") || known.id.starts_with("pgbouncer.") => {
            let retry = match known.retry {
                Retry::Yes => "trying again helps",
                Retry::Later => "trying again helps once that has changed",
                Retry::No => "trying again does not help",
            };
            format!("{message} ({}; {retry})", known.meaning)
        }
        _ => message.clone(),
    }
}

/// A query that failed on the configured database.
pub(super) fn query_failed(context: &Context, error: &StoreError) -> Verdict {
    let place = context.target().map_or(Place::Unknown, Place::from);
    let known = known_message(error);
    if let Some(unexplained) = known.and_then(|known| Unexplained::of(known, error)) {
        return Verdict::fail(error.to_string(), None).after(unexplained);
    }
    let remedy = match known {
        Some(known) => known.remedy_at(place, &error.to_string()),
        None => place.unexplained(),
    };
    Verdict::fail(error.to_string(), remedy)
}

/// What to do about a file in the state that a known message tells of.
pub(super) fn known_remedy(id: &str, file: &SqliteTarget) -> Option<Remedy> {
    messages::by_id(id).map(|known| (known.remedy)(Place::File(&file.path)))
}
