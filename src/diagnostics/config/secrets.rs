//! Checks of secrets: set and strong, different, in files that only their user may read.

use std::os::unix::fs::PermissionsExt as _;

use crate::config::{Problem, SecretName, Section, Warning, shell_word};
use crate::diagnostics::context::Context;
use crate::diagnostics::fix::Fix;
use crate::diagnostics::verdict::Verdict;

/// Where orchestrators mount secrets, with modes that the operator does not choose.
const MOUNTED: &str = "/run/secrets/";

/// Missing, placeholder, weak, set twice.
pub(super) fn secrets(context: &Context) -> Verdict {
    let audit = &context.audit;
    let problems: Vec<&Problem> = audit.problems_of(Section::Secrets).collect();
    if !problems.is_empty() {
        return Verdict::of_problems(problems);
    }
    let as_text = |one: &Warning| one.to_string();
    let mut warnings: Vec<String> = audit.warnings_of(Section::Secrets).map(as_text).collect();
    let mut remedies = Vec::new();
    let is_set = |name: SecretName| audit.secrets.iter().any(|(one, _)| *one == name.as_str());
    if !is_set(SecretName::JwtSecret) && audit.services.auth_server_url.is_none() {
        warnings.push("neither JWT_SECRET nor AUTH_SERVER_URL is set: user tokens are answered with 401, POST /api/auth/refresh with 503".to_owned());
        remedies.push(
            "JWT_SECRET=… (the sign-in service's own), or AUTH_SERVER_URL=https://auth.example.com"
                .to_owned(),
        );
    }
    let count = SecretName::ALL
        .into_iter()
        .filter(|name| is_set(*name))
        .count();
    let mut text = format!("{count} of {} set", SecretName::ALL.len());
    let missing = audit.missing_secrets();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|one| one.as_str()).collect();
        text += &format!("; todoctl serve creates {}", names.join(", "));
    }
    Verdict::warn_if_any(&warnings, &remedies, Verdict::pass(text))
}

/// A secret that leaks must not expose what another one protects.
pub(super) fn differ(context: &Context) -> Verdict {
    let audit = &context.audit;
    let mut equal = Vec::new();
    let mut remedies = Vec::new();
    for (index, (name, value)) in audit.secrets.iter().enumerate() {
        let mut before = audit.secrets[..index].iter();
        if let Some((other, _)) = before.find(|(_, one)| one.expose() == value.expose()) {
            equal.push(format!("{name} is the same as {other}"));
            let base = name.trim_end_matches("_PREVIOUS");
            remedies.push(if base == *name {
                format!("todoctl gen-secrets --only {name}")
            } else {
                format!("unset {name}: it has the same value as the secret in use")
            });
        }
    }
    if equal.is_empty() {
        return Verdict::pass(match audit.secrets.len() {
            0 => "no secret is set".to_owned(),
            count => format!("{count} values, all different"),
        });
    }
    Verdict::warn(
        format!("{}: who learns one of them knows both", equal.join("; ")),
        remedies.join("\n"),
    )
}

/// Other users must not read them.
pub(super) fn files(context: &Context) -> Verdict {
    let audit = &context.audit;
    let mut open = Vec::new();
    for path in &audit.secret_files {
        let Ok(found) = std::fs::metadata(path) else {
            continue;
        };
        if !found.is_file() {
            continue;
        }
        let mode = found.permissions().mode() & 0o777;
        if mode & 0o007 != 0 && !path.starts_with(MOUNTED) {
            open.push((path, mode));
        }
    }
    if open.is_empty() {
        return Verdict::pass(match audit.secret_files.len() {
            0 => "no secret comes from a file".to_owned(),
            count => format!("{count} files, readable only by their user"),
        });
    }
    let said: Vec<String> = open
        .iter()
        .map(|(path, mode)| format!("{} has mode {mode:04o}", path.display()))
        .collect();
    let words: Vec<String> = open.iter().map(|(path, _)| shell_word(path)).collect();
    Verdict::warn(
        format!(
            "{}: every user of this machine may read it",
            said.join("; ")
        ),
        format!("chmod 600 {}", words.join(" ")),
    )
    .with_fixes(
        open.iter()
            .filter_map(|(path, _)| Fix::without_mode(path, 0o007)),
    )
}
