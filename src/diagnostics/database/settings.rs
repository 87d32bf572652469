//! Whether the server took the settings that a connection begins with.

use std::time::Duration;

use crate::config::{PostgresTarget, Remedy, sql_literal, sql_name};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::Setting;
use crate::diagnostics::verdict::Verdict;
use crate::store::messages::{self, Place};

use super::fault::query_failed;
use super::work::check_execution;

/// What the driver sends when a connection begins.
pub(super) const SENT: [(&str, &str); 3] = [
    ("DateStyle", "ISO, MDY"),
    ("client_encoding", "UTF8"),
    ("TimeZone", "UTC"),
];

const ENCODING: &str = "server_encoding";

pub(super) async fn settings(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    let requested = requested(server.target);
    let names: Vec<&str> = requested.iter().map(|(name, _)| name.as_str()).collect();
    let question = context
        .server
        .ask(server.target, limit, async |connection| {
            let found = connection.settings(&names).await?;
            Ok((found, connection.settings_now().await?))
        });
    match question.await {
        Ok((found, now)) => {
            let unwise = check_execution(&now, server.target);
            check_settings(server.target, &requested, &found, unwise)
        }
        Err(error) => query_failed(context, &error),
    }
}

/// The settings requested when the connection began: by the driver, and by `options=-c name=value`.
fn requested(target: &PostgresTarget) -> Vec<(String, String)> {
    let mut requested: Vec<(String, String)> = SENT
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    requested.push((
        "application_name".to_owned(),
        target.application_name.clone(),
    ));
    requested.push(("standard_conforming_strings".to_owned(), "on".to_owned()));
    requested.push((ENCODING.to_owned(), "UTF8".to_owned()));
    let options = target.options.as_deref().unwrap_or_default();
    let mut words = options.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let pair = match word {
            "-c" => words.next(),
            _ => word.strip_prefix("--").or_else(|| word.strip_prefix("-c")),
        };
        if let Some((name, value)) = pair.and_then(|pair| pair.split_once('=')) {
            requested.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    requested
}

fn check_settings(
    target: &PostgresTarget,
    requested: &[(String, String)],
    found: &[Setting],
    (mut wrong, mut remedy): (Vec<String>, Remedy),
) -> Verdict {
    let is_kept = !wrong.is_empty();
    for ((name, requested), setting) in requested.iter().zip(found) {
        let value = match &setting.value {
            Some(value) if same(requested, value) => continue,
            Some(value) => value,
            None => "unknown to the server",
        };
        if name == ENCODING {
            return Verdict::fail(
                format!("the database's encoding is {value}, and todoctl needs UTF8"),
                messages::by_id("postgres.encoding")
                    .map(|known| (known.remedy)(Place::Server(target))),
            );
        }
        wrong.push(format!(
            "{name} is {value}, although {requested} was requested"
        ));
        let role = sql_name(&target.user);
        let value = sql_literal(requested);
        remedy = remedy.then(Remedy::sql(format!(
            "ALTER ROLE {role} SET {name} = {value}"
        )));
    }
    if wrong.is_empty() {
        return Verdict::pass(format!("{} settings as requested", requested.len()));
    }
    let restart =
        is_kept.then(|| Remedy::note("restart the daemon: its sessions keep the old settings"));
    Verdict::warn(wrong.join("; "), remedy.then(restart))
}

/// Whether the server's spelling means what was requested.
fn same(wanted: &str, value: &str) -> bool {
    let plain = |text: &str| text.to_ascii_lowercase().replace([' ', '\'', '"'], "");
    let (wanted, value) = (plain(wanted), plain(value));
    // A number without a unit comes back with one: 30000 as 30s.
    wanted == value
        || (wanted.bytes().all(|byte| byte.is_ascii_digit())
            && value.bytes().any(|byte| byte.is_ascii_digit())
            && value.ends_with(|last: char| last.is_ascii_alphabetic()))
        || (value == "etc/utc" && wanted == "utc")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DatabaseTarget, database_url};
    use crate::diagnostics::Outcome;

    #[test]
    fn an_encoding_that_loses_characters() {
        let requested = [(ENCODING.to_owned(), "UTF8".to_owned())];
        let found = [Setting {
            name: ENCODING.to_owned(),
            value: Some("SQL_ASCII".to_owned()),
        }];
        let DatabaseTarget::Postgres(target) =
            database_url::parse("postgresql://todo@localhost/todo")
                .unwrap()
                .value
        else {
            panic!("a server");
        };
        let verdict = check_settings(&target, &requested, &found, Default::default());
        assert_eq!(verdict.outcome, Outcome::Fail);
        assert!(
            verdict
                .remedy
                .unwrap()
                .to_string()
                .contains("createdb --template")
        );
        assert!(
            verdict
                .detail
                .starts_with("the database's encoding is SQL_ASCII")
        );
    }

    #[test]
    fn spellings_of_settings() {
        assert!(same("ISO, MDY", "ISO, MDY"));
        assert!(same("30000", "30s"));
        assert!(same("30s", "30s"));
        assert!(!same("UTC", "Europe/Paris"));
        assert!(!same("30s", "0"));
    }
}
