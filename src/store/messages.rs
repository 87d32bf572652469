//! What databases and poolers say when something is wrong, and what it means.
//!
//! One table serves whoever opens a connection ([`ConnectError`](super::ConnectError)), the
//! checks of `todoctl db check`, and `todoctl explain`, so that the same message has the
//! same remedy everywhere.

use crate::config::PostgresTarget;

use super::ConnectFault;

mod table;

pub use table::messages;

/// Whether the same work may succeed when it is tried again unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Retry {
    /// In a moment.
    Yes,
    /// Once something else has changed: load, a limit, a restart that is under way.
    Later,
    /// Never, before somebody has changed something.
    No,
}

/// What stands before an SQLSTATE.
const CODE_WORDS: [&str; 3] = ["sqlstate", "code", "error"];

/// One message that is known.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    /// Stable, such as `neon.endpoint-disabled`.
    pub id: &'static str,
    /// The kind of fault where it meets a connection that is being opened.
    pub fault: ConnectFault,
    /// Texts of which one stands in the message; `*` stands for anything. Lower case.
    pub patterns: &'static [&'static str],
    /// SQLSTATEs (PostgreSQL, appendix A) that mean this whatever the text is.
    pub codes: &'static [&'static str],
    /// What happened, in one sentence.
    pub happened: &'static str,
    /// Whether to try again.
    pub retry: Retry,
    /// What to do; `{place}` stands for the server's address or the file.
    remedy: &'static str,
}

impl Known {
    /// The message that `text` holds. The table's order decides between several.
    #[must_use]
    pub fn find(text: &str) -> Option<&'static Self> {
        let text = text.to_lowercase();
        messages().find(|one| one.patterns.iter().any(|pattern| holds(&text, pattern)))
    }

    /// The message that stands for an SQLSTATE.
    #[must_use]
    pub fn of_code(code: &str) -> Option<&'static Self> {
        messages().find(|one| one.codes.contains(&code))
    }

    /// The message that a pasted line names by its SQLSTATE. One of digits alone counts where
    /// it stands alone, in brackets, or behind a word that says so: it may be any number.
    #[must_use]
    pub fn of_code_in(text: &str) -> Option<&'static Self> {
        let words: Vec<&str> = text
            .split(|sign: char| !sign.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        let told = |index: usize| {
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
                word.bytes().any(|sign| sign.is_ascii_alphabetic()) || told(*index)
            })
            .find_map(|(_, word)| Self::of_code(word))
    }

    /// What is true of every fault of one kind.
    pub(super) fn of_fault(fault: ConnectFault) -> Option<&'static Self> {
        table::general_first().find(|one| one.fault == fault)
    }

    /// What to do, at the server or file that `place` names.
    #[must_use]
    pub fn remedy(&self, place: &str) -> String {
        self.filled(place, "ROLE", "DATABASE")
    }

    /// What to do, wherever that is: for a message that does not say where it comes from.
    #[must_use]
    pub fn remedy_anywhere(&self) -> String {
        let is_file = self.id.starts_with("sqlite.");
        self.remedy(if is_file { "FILE" } else { "HOST:PORT" })
    }

    /// What to do at `server`, with the names of the role and the database in it.
    #[must_use]
    pub fn remedy_at(&self, server: &PostgresTarget) -> String {
        // Names with signs would have to be quoted for SQL and for a shell.
        let plain = |name: &str| {
            name.bytes()
                .all(|sign| sign.is_ascii_alphanumeric() || matches!(sign, b'_' | b'-'))
        };
        let or = |name: &str, other: &str| if plain(name) { name } else { other }.to_owned();
        self.filled(
            &server.place(),
            &or(&server.user, "ROLE"),
            &or(&server.database, "DATABASE"),
        )
    }

    fn filled(&self, place: &str, role: &str, database: &str) -> String {
        self.remedy
            .replace("{place}", place)
            .replace("{role}", role)
            .replace("{database}", database)
    }
}

/// Whether the pieces of `pattern` stand in `text` in their order.
fn holds(text: &str, pattern: &str) -> bool {
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
    use super::*;

    #[test]
    fn the_table_is_sound() {
        let mut ids: Vec<&str> = messages().map(|one| one.id).collect();
        ids.sort_unstable();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count, "ids are unique");
        for one in messages() {
            assert!(
                !one.happened.is_empty() && !one.remedy.is_empty(),
                "{one:?}"
            );
            for pattern in one.patterns {
                assert_eq!(*pattern, pattern.to_lowercase(), "{}", one.id);
                let said = pattern.replace('*', " something ");
                let found = Known::find(&said).map(|one| one.id);
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
            ("FATAL: no such database: todo", "postgres.no-database"),
        ] {
            assert_eq!(Known::find(said).map(|one| one.id), Some(id), "{said}");
        }
    }

    #[test]
    fn codes() {
        assert_eq!(
            Known::of_code("53300").unwrap().fault,
            ConnectFault::TooManyConnections
        );
        let line = "2031-01-01 12:00 UTC [77] 57P03: the database system is starting up";
        assert_eq!(
            Known::of_code_in(line).unwrap().fault,
            ConnectFault::Starting
        );
        assert_eq!(Known::of_code_in("nothing at all"), None);
    }

    #[test]
    fn pieces_in_order() {
        assert!(holds(
            "this ip 1.2.3.4 is not allowed",
            "this ip*is not allowed"
        ));
        assert!(!holds("is not allowed: this ip", "this ip*is not allowed"));
    }
}
