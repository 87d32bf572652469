//! Explains a message from a log.

use serde::Serialize;
use serde_json::Value;

use crate::config::Remedy;
use crate::store::messages::{self, KnownMessage, Place, Retry};

/// What is known about a message. The message itself is not part of it: it may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Explanation {
    schema: u32,
    /// Stable, such as `neon.endpoint-disabled`; `None` if the message is unknown.
    pub(crate) id: Option<&'static str>,
    #[serde(rename = "happened")]
    pub(crate) meaning: &'static str,
    /// `None` if unknown.
    pub(crate) retry: Option<Retry>,
    /// What to do, a step each.
    pub(crate) remedy: Vec<String>,
}

/// What to do about an unknown message.
fn general() -> Remedy {
    Remedy::note("this finds the fault, if it persists:")
        .then(Remedy::command("todoctl doctor"))
        .then(Remedy::note(
            "with more lines before the message in the log, after a restart:",
        ))
        .then(Remedy::set("LOG_LEVEL", "debug"))
        .then(Remedy::note(
            "if the message came from PostgreSQL or a pooler, its log says more",
        ))
}

fn lines(remedy: &Remedy) -> Vec<String> {
    remedy.to_string().lines().map(str::to_owned).collect()
}

/// Fields of a JSON log line that hold messages or ids of the catalogue, the most specific first.
const FIELDS: [&str; 6] = [
    "known_message",
    "error",
    "cause",
    "reason",
    "message",
    "msg",
];

/// Explains `text`, one message or several lines of a log: the last known one counts.
#[must_use]
pub(crate) fn explain(text: &str) -> Explanation {
    let by_line = || text.lines().rev().find_map(known);
    match by_line().or_else(|| known(text)) {
        Some(known) => Explanation {
            schema: 1,
            id: Some(known.id),
            meaning: known.meaning,
            retry: Some(known.retry),
            remedy: lines(&(known.remedy)(Place::Unknown)),
        },
        None => Explanation {
            schema: 1,
            id: None,
            meaning: "This message is unknown",
            retry: None,
            remedy: lines(&general()),
        },
    }
}

fn known(line: &str) -> Option<&'static KnownMessage> {
    if let Some(known) = messages_in_json(line).iter().find_map(|one| in_text(one)) {
        return Some(known);
    }
    // In text logs, quotes inside a value are escaped.
    in_text(&line.replace("\\\"", "\""))
}

/// By an id of the catalogue, by the words, or else by an SQLSTATE.
fn in_text(text: &str) -> Option<&'static KnownMessage> {
    messages::by_id(text.trim())
        .or_else(|| messages::find(text))
        .or_else(|| messages::by_code_in(text))
}

/// The messages in a JSON log line, whatever docker, compose or journald put before it.
fn messages_in_json(line: &str) -> Vec<String> {
    let object = line.find('{').and_then(|start| {
        serde_json::Deserializer::from_str(&line[start..])
            .into_iter()
            .next()
    });
    let Some(Ok(Value::Object(object))) = object else {
        return Vec::new();
    };
    // docker's own json-file driver wraps the line in a field `log`.
    if let Some(Value::String(inner)) = object.get("log") {
        return match messages_in_json(inner) {
            found if found.is_empty() => vec![inner.clone()],
            found => found,
        };
    }
    let nested = object.get("fields").and_then(Value::as_object);
    FIELDS
        .iter()
        .flat_map(|name| {
            [
                object.get(*name),
                nested.and_then(|fields| fields.get(*name)),
            ]
        })
        .flatten()
        .map(|value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Option<&'static str> {
        explain(text).id
    }

    #[test]
    fn words_before_codes() {
        let text = "FATAL: password authentication failed for user \"x\" (SQLSTATE 28P01)";
        assert_eq!(id(text), Some("postgres.login"));
        assert_eq!(id("SQLSTATE 40P01"), Some("postgres.deadlock"));
        assert_eq!(id("the moon is full"), None);
        // A number of five digits is no SQLSTATE.
        assert_eq!(id("INFO 200 GET /tasks id=53300 ms=12"), None);
        assert_eq!(id("error: db failed (57P01)"), Some("postgres.terminated"));
        assert_eq!(id("53300"), Some("postgres.too-many-connections"));
        assert_eq!(id("neon.quota"), Some("neon.quota"));
    }

    #[test]
    fn json_lines_with_and_without_prefixes() {
        let line = r#"{"timestamp":"2031-01-01T12:00:00Z","level":"WARN","message":"request failed","error":"a query failed: prepared statement \"sqlx_s_1\" already exists"}"#;
        let expected = Some("pgbouncer.prepared-statement");
        assert_eq!(id(line), expected);
        assert_eq!(id(&format!("todo-1  | {line}")), expected);
        assert_eq!(
            id(&format!("Jan 01 12:00:00 host todoctl[123]: {line}")),
            expected
        );
        let wrapped = serde_json::json!({"log": format!("{line}\n"), "stream": "stderr"});
        assert_eq!(id(&wrapped.to_string()), expected);
        let nested = r#"{"fields":{"message":"role \"todo\" does not exist"}}"#;
        assert_eq!(id(nested), Some("postgres.no-role"));
        // A field that is no message does not count.
        assert_eq!(id(r#"{"message":"served","ms":53300}"#), None);
    }

    #[test]
    fn escaped_quotes_in_text_lines() {
        let line =
            r#"2031-01-01T12:00:00Z WARN failed error="database \"nowhere\" does not exist""#;
        assert_eq!(id(line), Some("postgres.no-database"));
    }

    #[test]
    fn the_last_known_line_of_several() {
        let log =
            "FATAL: endpoint is disabled\nINFO: GET /tasks\nERROR: deadlock detected\nINFO: done";
        assert_eq!(id(log), Some("postgres.deadlock"));
    }
}
