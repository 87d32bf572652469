//! Looking up a message.

use super::connecting::CONNECTING;
use super::entry::{ConnectFault, KnownMessage};
use super::file::FILE;
use super::hosted::HOSTED;
use super::network::NETWORK;
use super::supabase::SUPABASE;
use super::working::WORKING;

/// Words that introduce an SQLSTATE.
const CODE_WORDS: [&str; 3] = ["sqlstate", "code", "error"];

/// What precedes the message of a server in PgBouncer's own.
const REPEATED: &str = "cached error: ";

/// Every known message; special ones come before general ones.
pub(crate) fn all() -> impl Iterator<Item = &'static KnownMessage> {
    HOSTED
        .iter()
        .chain(SUPABASE)
        .chain(NETWORK)
        .chain(CONNECTING)
        .chain(WORKING)
        .chain(FILE)
}

/// The message that `text` contains. The catalogue's order decides between several.
pub(crate) fn find(text: &str) -> Option<&'static KnownMessage> {
    let text = text.to_lowercase();
    // PgBouncer repeats why its last login failed.
    let repeated = text.split_once(REPEATED).map(|(_, cause)| cause);
    if let Some(known) = repeated.and_then(|cause| find_in(cause, CONNECTING.iter())) {
        return Some(known);
    }
    find_in(&text, all())
}

fn find_in(
    text: &str,
    mut entries: impl Iterator<Item = &'static KnownMessage>,
) -> Option<&'static KnownMessage> {
    entries.find(|one| one.patterns.iter().any(|pattern| contains(text, pattern)))
}

/// The message with this id.
pub(crate) fn by_id(id: &str) -> Option<&'static KnownMessage> {
    all().find(|one| one.id == id)
}

/// The message that an SQLSTATE stands for.
pub(crate) fn by_code(code: &str) -> Option<&'static KnownMessage> {
    all().find(|one| one.codes.contains(&code))
}

/// The message whose SQLSTATE a line names. Five digits may be any number, so they count only
/// alone, in brackets, or after a word that introduces a code.
pub(crate) fn by_code_in(text: &str) -> Option<&'static KnownMessage> {
    let words: Vec<&str> = text
        .split(|sign: char| !sign.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let is_introduced = |index: usize| {
        let before = index.checked_sub(1).map(|before| words[before]);
        words.len() == 1
            || before
                .is_some_and(|word| CODE_WORDS.iter().any(|one| word.eq_ignore_ascii_case(one)))
            || text.contains(&format!("({})", words[index]))
            || text.contains(&format!("[{}]", words[index]))
    };
    words
        .iter()
        .enumerate()
        .filter(|(_, word)| word.len() == 5)
        .filter(|(index, word)| {
            word.bytes().any(|sign| sign.is_ascii_alphabetic()) || is_introduced(*index)
        })
        .find_map(|(_, word)| by_code(word))
}

/// The most general message for a kind of fault.
pub(crate) fn by_fault(fault: ConnectFault) -> Option<&'static KnownMessage> {
    if fault == ConnectFault::Other {
        return None;
    }
    NETWORK
        .iter()
        .chain(CONNECTING)
        .chain(WORKING)
        .chain(FILE)
        .chain(HOSTED)
        .find(|one| one.fault == fault)
}

/// Whether `text` contains the pieces of `pattern` in their order.
fn contains(text: &str, pattern: &str) -> bool {
    if let Some(end) = pattern.strip_suffix('$') {
        return text.lines().any(|line| line.trim_end().ends_with(end));
    }
    let mut rest = text;
    pattern.split('*').all(|piece| match rest.find(piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::super::entry::ConnectFault;
    use super::super::place::Place;
    use super::*;

    #[test]
    fn the_table_is_sound() {
        let mut ids: Vec<&str> = all().map(|one| one.id).collect();
        ids.sort_unstable();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count, "ids are unique");
        for one in all() {
            let can_be_found = !one.patterns.is_empty() || !one.codes.is_empty();
            assert!(can_be_found, "{}", one.id);
            for code in one.codes {
                let found = by_code(code).map(|one| one.id);
                assert_eq!(found, Some(one.id), "{code} stands for another");
            }
            assert!(!one.meaning.is_empty(), "{}", one.id);
            assert!(!(one.remedy)(Place::Unknown).is_empty(), "{}", one.id);
            for pattern in one.patterns {
                assert_eq!(*pattern, pattern.to_lowercase(), "{}", one.id);
                let said = pattern.trim_end_matches('$').replace('*', " something ");
                let found = find(&said).map(|one| one.id);
                assert_eq!(found, Some(one.id), "{said:?} is taken for another");
            }
        }
    }

    #[test]
    fn messages_of_neon_and_of_poolers() {
        for (said, id) in [
            (
                "FATAL: terminating connection due to administrator command",
                "postgres.terminated",
            ),
            ("ERROR: Couldn't connect to compute node", "neon.compute"),
            (
                "Failed to acquire permit to connect to the database. Too many database connection attempts are currently ongoing.",
                "neon.permit",
            ),
            (
                "The requested endpoint could not be found, or you don't have access to it",
                "neon.endpoint-not-found",
            ),
            ("ERROR: endpoint cannot be found", "neon.endpoint-not-found"),
            (
                "endpoint is disabled. Enable it using Neon API and retry.",
                "neon.endpoint-disabled",
            ),
            (
                "Your account or project has exceeded the compute time quota. Your project is temporarily unavailable. Check your quotas",
                "neon.quota",
            ),
            (
                "This IP address 10.1.2.3 is not allowed to connect to this endpoint.",
                "neon.ip-not-allowed",
            ),
            (
                "You have exceeded the limit of concurrently active endpoints",
                "neon.active-endpoints",
            ),
            (
                "FATAL: remaining connection slots are reserved for roles with the SUPERUSER attribute",
                "postgres.too-many-connections",
            ),
            (
                "Endpoint ID is not specified. Either please upgrade the postgres client library (libpq) for SNI support",
                "neon.sni",
            ),
            (
                "unsupported startup parameter: extra_float_digits",
                "pgbouncer.startup-parameter",
            ),
            ("FATAL: query_wait_timeout", "pgbouncer.query-wait"),
            ("FATAL: query timeout", "pgbouncer.time-limit"),
            ("FATAL: idle transaction timeout", "pgbouncer.time-limit"),
            (
                "terminating connection due to idle-in-transaction timeout",
                "postgres.transaction-timeout",
            ),
            (
                "FATAL: no more connections allowed (max_client_conn)",
                "pgbouncer.max-clients",
            ),
            (
                "ERROR: prepared statement \"sqlx_s_1\" does not exist",
                "pgbouncer.prepared-statement",
            ),
            (
                "prepared statement \"s0\" already exists",
                "pgbouncer.prepared-statement",
            ),
            (
                "FATAL: server login has been failing, try again later (server_login_retry)",
                "pgbouncer.server-login",
            ),
            (
                "server login has been failing, cached error: connect failed (server_login_retry)",
                "pgbouncer.server-login",
            ),
            ("server DNS lookup failed", "pgbouncer.server-login"),
            (
                "client_login_timeout (server down)",
                "pgbouncer.server-login",
            ),
            (
                "server login has been failing, cached error: password authentication failed for user \"todo\" (server_login_retry)",
                "postgres.login",
            ),
            (
                "server login has been failing, cached error: database \"todo\" does not exist (server_login_retry)",
                "postgres.no-database",
            ),
            (
                "client connections exceeded (max_user_client_connections)",
                "pgbouncer.max-clients",
            ),
            ("FATAL: Tenant or user not found", "supabase.tenant"),
            (
                "MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited to pool_size",
                "supabase.session-clients",
            ),
            ("FATAL: login rejected", "pgbouncer.hba"),
            ("FATAL: no such database: todo", "pgbouncer.no-database"),
            ("FATAL: password authentication failed\n", "pgbouncer.login"),
            (
                "FATAL: password authentication failed for user \"todo\"",
                "postgres.login",
            ),
            ("FATAL: database \"todo\" is disabled", "pgbouncer.disabled"),
            (
                "could not access file \"no_such_library\": No such file or directory",
                "postgres.library",
            ),
            ("out of shared memory", "postgres.lock-table"),
            (
                "could not open file \"pg_tblspc/18689/PG_15_202209061/18688/18690\": No such file or directory",
                "postgres.data-file",
            ),
        ] {
            assert_eq!(find(said).map(|one| one.id), Some(id), "{said}");
        }
    }

    #[test]
    fn codes() {
        assert_eq!(
            by_code("53300").unwrap().fault,
            ConnectFault::TooManyConnections
        );
        let line = "2031-01-01 12:00 UTC [77] 57P03: the database system is starting up";
        assert_eq!(by_code_in(line).unwrap().fault, ConnectFault::Starting);
        assert_eq!(by_code_in("nothing at all"), None);
        let ended = by_code_in("FATAL: 08P01: what a pooler says").unwrap();
        assert_eq!(ended.id, "pgbouncer.ended");
    }

    #[test]
    fn pieces_in_order() {
        assert!(contains(
            "this ip 1.2.3.4 is not allowed",
            "this ip*is not allowed"
        ));
        assert!(!contains(
            "is not allowed: this ip",
            "this ip*is not allowed"
        ));
    }
}
