//! A message out of a log, explained.

use serde::Serialize;

use crate::store::messages::{Known, Retry};

/// What is known about a message. The message itself is not in it: it may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The version of the JSON form.
    pub schema: u32,
    /// Stable, such as `neon.endpoint-disabled`; `None` where the message is not known.
    pub id: Option<&'static str>,
    /// What happened, in one sentence.
    pub happened: &'static str,
    /// Whether to try again; `None` where nobody knows.
    pub retry: Option<Retry>,
    /// What to do, a step each.
    pub remedy: Vec<String>,
}

/// How to go on from a message that is not known.
const GENERAL: [&str; 4] = [
    "todoctl doctor (names the fault, if it lasts)",
    "todoctl db check (step by step to the database)",
    "LOG_LEVEL=debug, then look at what stands before the message in the log",
    "if the message came from PostgreSQL or a pooler: its own log says more",
];

/// Explains `message`: by its words, or else by an SQLSTATE in it.
#[must_use]
pub fn explain(message: &str) -> Explanation {
    let known = Known::find(message).or_else(|| Known::of_code_in(message));
    match known {
        Some(known) => Explanation {
            schema: 1,
            id: Some(known.id),
            happened: known.happened,
            retry: Some(known.retry),
            remedy: vec![known.remedy_anywhere()],
        },
        None => Explanation {
            schema: 1,
            id: None,
            happened: "this message is not known here",
            retry: None,
            remedy: GENERAL.map(str::to_owned).to_vec(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::messages::messages;

    #[test]
    fn every_known_message_has_a_whole_remedy() {
        for one in messages() {
            let text = one.remedy_anywhere();
            assert!(!text.contains('{'), "{}: {text}", one.id);
        }
    }

    #[test]
    fn words_before_codes() {
        let said = "FATAL: password authentication failed for user \"x\" (SQLSTATE 28P01)";
        assert_eq!(explain(said).id, Some("postgres.login"));
        assert_eq!(explain("SQLSTATE 40P01").id, Some("postgres.deadlock"));
        assert_eq!(explain("the moon is full").id, None);
        // A number of five digits is no SQLSTATE.
        assert_eq!(explain("INFO 200 GET /tasks id=53300 ms=12").id, None);
        assert_eq!(
            explain("error: db failed (57P01)").id,
            Some("postgres.terminated")
        );
        assert_eq!(explain("53300").id, Some("postgres.too-many-connections"));
    }
}
