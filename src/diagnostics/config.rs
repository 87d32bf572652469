//! Checks of the configuration.

use std::collections::BTreeMap;

use crate::config::{
    Environment, Origin, Remedy, Section, Source, VARIABLES, is_refused, misspelt, renamed, unread,
};

use super::check::{Check, Run, run};
use super::context::Context;
use super::fix::Fix;
use super::verdict::Outcome::{Fail, Pass, Skip, Warn};
use super::verdict::{Outcome, Verdict};

mod copies;
mod data_directory;
mod env_file;
mod file_modes;
mod hidden_secrets;
mod in_use;
mod kept_secrets;
mod lost_secrets;
mod secrets;

pub(super) static CHECKS: &[Check] = &[
    Check::new("config.env_file", "Env file", Run::Now(env_file::env_file))
        .about(
            "The file .env (or --env-file) is read like docker compose reads it: one \
         NAME=value a line. A file that cannot be read or parsed stops every command, and a line \
         that is not what it looks like sets another value, or nothing: two variables in one line, \
         an invisible character, a name that several lines set. Usual causes are echo to a file \
         without a line break at its end, text copied from a chat, an unbalanced quote, a directory that Docker \
         created in place of a missing file, and a file, or a copy of it, that other users of the \
         machine may read.",
        )
        .outcomes(&[Pass, Warn, Fail])
        .fix("Takes the permissions of other users from a file of this user, and a byte-order mark and carriage returns out of it. Divides lines with two variables, takes invisible characters out of names, and removes lines that another one makes superfluous."),
    Check::new("config.unknown", "Unknown names", Run::Now(unknown))
        .about(
            "Names of variables are compared with the names that todoctl knows. A misspelt \
         name has no effect: the default is used, and nothing else reports it. The \
         usual cause is a typing error.",
        )
        .outcomes(&[Pass, Warn])
    .fix("Renames misspelt variables in the .env file.")
        .needs(ENV_FILE),
    Check::new("config.environment", "Environment", Run::Now(environment))
        .about(
            "ENVIRONMENT decides how strict the other checks are: outside development weak \
         secrets are refused, and DATABASE_URL is required. The usual cause of a \
         failure is a value other than development, staging and production.",
        )
        .outcomes(&[Pass, Warn, Fail])
        .needs(ENV_FILE),
    Check::new("config.database", "Database", Run::Now(database))
        .about(
            "DATABASE_URL and the other variables of the database are parsed as the daemon \
         parses them. A wrong value stops the daemon at its start. The usual cause is a \
         password with signs such as @ or / that are not percent-encoded.",
        )
        .outcomes(&[Pass, Warn, Fail])
        .needs(ENV_FILE),
    Check::new(
        "config.data_directory",
        "Data directory",
        Run::Now(data_directory::data_directory),
    )
    .about(
        "The directory of the SQLite file must exist or be creatable, be writable, and \
         be on a local disk. SQLite creates its write-ahead log there, and its locks \
         are not reliable on network file systems. Usual causes are a volume that \
         belongs to another user, and a container without a volume.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .needs(ENV_FILE),
    Check::new("config.secrets", "Secrets", run!(Always, secrets::secrets))
        .about(
            "The secrets must be set, well-formed, and outside development strong: without them \
             the daemon does not start, or it starts and refuses every user token. Usual causes \
             are placeholders of .env.example, a key in another encoding, and NAME and NAME_FILE \
             set at the same time. Where the database, or the file .env-database beside the .env \
             file, tells that the service has had others, these are put back and none is made. \
             Secrets in the .env file must not hide others that todoctl has generated beside its \
             SQLite file before.",
        )
        .outcomes(&[Pass, Warn, Fail])
    .fix("Spells an encryption key in the .env file that is in standard base64 or hex as todoctl needs it.")
        .needs(ENV_FILE),
    Check::new(
        "config.secrets_differ",
        "Secrets differ",
        Run::Now(secrets::differ),
    )
    .about(
        "The values of the secrets are compared with each other. If two are equal, \
         somebody who learns one also knows what protects the other data. The usual cause is \
         one generated value that was pasted into several variables.",
    )
    .outcomes(&[Pass, Warn])
    .needs(ENV_FILE),
    Check::new(
        "config.secret_files",
        "Secret files",
        Run::Now(secrets::files),
    )
    .about(
        "The modes of the files that NAME_FILE variables name, except those under /run/secrets or on a read-only mount, \
         whose mode the orchestrator chooses. If others may read a file, every program on the \
         machine can use its secret; the usual cause is the default mode 0644. Also whether the user of \
         the daemon, or of the last one, may read them, and whether the \
         files of generated secrets are still there while the daemon runs: without them the next \
         start generates others, and everybody is refused. The same of secrets that the running daemon \
         had from the .env file, which are not there any more.",
    )
    .outcomes(&[Pass, Warn, Fail])
    .fix("Takes the permissions of other users from files of this user.")
    .needs(ENV_FILE),
    Check::new("config.http", "Listener", Run::Now(http))
        .about(
            "HOST, PORT, limits and timeouts of the listener are parsed as the daemon \
         parses them. A wrong value stops the daemon at its start. Usual causes are \
         typing errors and units in a number.",
        )
        .outcomes(&[Pass, Warn, Fail])
        .needs(ENV_FILE),
    Check::new("config.cors", "CORS", Run::Now(cors))
        .about(
            "CORS_ORIGINS lists the web pages that may call the API from a browser. If the \
         list is empty, browsers refuse answers to pages of other origins; an origin \
         without TLS or on a development machine is unwise in production. The usual \
         cause is a value that was copied from development.",
        )
        .outcomes(&[Pass, Warn, Fail])
        .needs(ENV_FILE),
    Check::new("config.services", "Services", Run::Now(services))
        .about(
            "URLs and keys of the auth server, Redis, the mail provider and the key \
         provider are parsed. A wrong value stops the daemon at its start, and an \
         address without TLS exposes tokens on the way. The usual cause is a URL \
         without its scheme.",
        )
        .outcomes(&[Pass, Warn, Fail])
        .needs(ENV_FILE),
    Check::new("config.telemetry", "Telemetry", Run::Now(telemetry))
        .about(
            "Log level, log format and the address of the metrics are parsed as the daemon \
         parses them. A wrong value stops the daemon at its start. The usual cause is a \
         typing error.",
        )
        .outcomes(&[Pass, Warn, Fail])
        .needs(ENV_FILE),
];

/// Any variable may come from the file.
const ENV_FILE: &[&str] = &["config.env_file"];

fn unknown(context: &Context) -> Verdict {
    let mut said = Vec::new();
    let mut remedy = Remedy::default();
    let source = &context.request.source;
    let mut names = Vec::new();
    for (name, known) in misspelt(source) {
        said.push(format!("{name} is not known and has no effect"));
        remedy = remedy.then(renamed(source, name, known));
        let is_clear = !is_refused(source, name, known)
            && source
                .get(known)
                .is_none_or(|value| Some(value) == source.get(name));
        if is_clear && source.origin(name) == Some(Origin::File) {
            names.push(name.to_owned());
        }
    }
    let fix = (!names.is_empty()).then_some(Fix::Respell(names));
    let others: Vec<&str> = unread(source).collect();
    let fine = match (others.as_slice(), source.file()) {
        ([_, ..], Some(file)) => format!(
            "no misspelt variable; todoctl does not read these of {}: {}",
            file.display(),
            others.join(", ")
        ),
        _ => "no misspelt variable".to_owned(),
    };
    Verdict::warn_if_any(&said, remedy, Verdict::pass(fine)).with_fixes(fix)
}

fn environment(context: &Context) -> Verdict {
    let verdict = section(context, Section::Environment);
    if verdict.outcome != Outcome::Pass {
        return verdict;
    }
    Verdict::pass(match context.audit.environment {
        Environment::Development => "development: weak secrets are accepted with a warning",
        Environment::Staging => "staging",
        Environment::Production => "production",
    })
}

fn database(context: &Context) -> Verdict {
    section(context, Section::Database)
}

fn http(context: &Context) -> Verdict {
    section(context, Section::Http)
}

fn services(context: &Context) -> Verdict {
    section(context, Section::Services)
}

fn telemetry(context: &Context) -> Verdict {
    section(context, Section::Telemetry)
}

/// The problems and warnings of one section, and which of its variables are set.
fn section(context: &Context, section: Section) -> Verdict {
    let mut problems = context.audit.problems_of(section).peekable();
    if problems.peek().is_some() {
        return Verdict::of_problems(problems);
    }
    let (warnings, remedy) = context.audit.warned_of(section);
    let source = &context.request.source;
    let set: Vec<&str> = VARIABLES
        .iter()
        .filter(|one| one.section == section)
        .flat_map(|one| [Some(one.name), one.alias])
        .flatten()
        .filter(|name| is_set(source, name))
        .collect();
    let fine = match set.len() {
        0 => "defaults".to_owned(),
        1..=4 => format!("{} set", set.join(", ")),
        count => format!("{count} variables set"),
    };
    Verdict::warn_if_any(&warnings, remedy, Verdict::pass(fine))
}

fn is_set(source: &Source, name: &str) -> bool {
    source.origin(name).is_some() || source.origin(&format!("{name}_FILE")).is_some()
}

fn cors(context: &Context) -> Verdict {
    let verdict = section(context, Section::Cors);
    let audit = &context.audit;
    if verdict.outcome != Outcome::Pass || audit.environment == Environment::Development {
        return verdict;
    }
    let origins = &audit.http.cors_origins;
    let example = || {
        Remedy::note(
            "list the https origins of your browsers' pages: todoctl config set CORS_ORIGINS=https://app.example.com",
        )
    };
    if origins.is_empty() {
        return Verdict::warn(
            "CORS_ORIGINS is empty: browsers may not call the API from other origins",
            example(),
        );
    }
    let doubtful: Vec<&str> = origins
        .iter()
        .map(String::as_str)
        .filter(|one| one.starts_with("http://"))
        .collect();
    if doubtful.is_empty() {
        return verdict;
    }
    let mut by_kind: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for origin in doubtful {
        let local = origin.contains("//localhost") || origin.contains("//127.");
        by_kind
            .entry(if local {
                "is a development machine"
            } else {
                "is not encrypted"
            })
            .or_default()
            .push(origin);
    }
    let said: Vec<String> = by_kind
        .into_iter()
        .map(|(what, origins)| format!("{} {what}", origins.join(", ")))
        .collect();
    let others: Vec<&str> = origins
        .iter()
        .map(String::as_str)
        .filter(|one| !one.starts_with("http://"))
        .collect();
    let remedy = if others.is_empty() {
        example()
    } else {
        Remedy::note("if no page there calls the API any more:")
            .then(Remedy::set("CORS_ORIGINS", others.join(",")))
    };
    Verdict::warn(said.join("; "), remedy)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::diagnostics::context::Request;

    /// A variable in a section that no check looks at fails here: `config check` would pass
    /// although `serve` does not start.
    #[tokio::test]
    async fn a_problem_with_any_variable_fails_a_check() {
        for variable in VARIABLES.iter() {
            let context = Context::new(Request {
                source: Source::with_unreadable(variable.name),
                broken: None,
                clock: Clock::system(),
                replicas: 1,
                file_must_exist: false,
                tries_remedies: false,
            });
            let is_failed = |check: &Check| match check.run {
                Run::Now(run) => run(&context).outcome == Outcome::Fail,
                _ => false,
            };
            let limit = Duration::from_secs(1);
            let is_found = CHECKS.iter().any(is_failed)
                || secrets::secrets(&context, limit).await.outcome == Outcome::Fail;
            assert!(is_found, "no check reports a wrong {}", variable.name);
        }
    }
}
