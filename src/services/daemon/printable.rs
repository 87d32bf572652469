//! Texts of a daemon's answers, for a terminal.

use std::collections::BTreeMap;

use super::status::DaemonStatus;

/// Longer than any word in these answers.
const MAX_WORD: usize = 100;

/// Any program may listen at that address, and the texts are printed to a terminal.
pub(super) fn make_printable(status: &mut DaemonStatus) {
    let plain = |text: &mut String| *text = printable(text);
    plain(&mut status.version);
    plain(&mut status.commit);
    if let Some(database) = &mut status.database {
        database.id.iter_mut().for_each(plain);
        plain(&mut database.place);
    }
    status
        .pools
        .iter_mut()
        .for_each(|pool| plain(&mut pool.name));
    for service in &mut status.services {
        plain(&mut service.name);
        service.reason.iter_mut().for_each(plain);
        service.other_issuer.iter_mut().for_each(plain);
    }
    if let Some(mails) = &mut status.mails {
        mails.paused_reason.iter_mut().for_each(plain);
        let outcomes = mails.outcomes.iter_mut().flatten();
        outcomes.for_each(|one| one.reason.iter_mut().for_each(plain));
    }
    if let Some(requests) = &mut status.requests {
        for names in [
            &mut requests.limited_proxies,
            &mut requests.refused_origins,
            &mut requests.key_obstacles,
        ] {
            *names = printable_names(std::mem::take(names));
        }
        for refused in &mut requests.refusals {
            for text in [
                &mut refused.reason,
                &mut refused.method,
                &mut refused.route,
                &mut refused.caller,
            ] {
                plain(text);
            }
            for names in [&mut refused.details, &mut refused.addresses] {
                *names = printable_names(std::mem::take(names));
            }
        }
    }
    let routes = status.requests.iter_mut().flat_map(|one| &mut one.failures);
    for route in routes {
        plain(&mut route.method);
        plain(&mut route.route);
        for failure in &mut route.newest {
            plain(&mut failure.kind);
            plain(&mut failure.request_id);
            failure.code.iter_mut().for_each(plain);
            failure.known_message.iter_mut().for_each(plain);
        }
    }
}

fn printable_names<T>(values: BTreeMap<String, T>) -> BTreeMap<String, T> {
    let values = values.into_iter();
    values
        .map(|(name, value)| (printable(&name), value))
        .collect()
}

/// The text without control characters, shortened.
pub(super) fn printable(text: &str) -> String {
    let plain = text.chars().filter(|c| !c.is_control());
    plain.take(MAX_WORD).collect()
}
