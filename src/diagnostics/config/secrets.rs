//! The secrets: whether they are there, whether they differ, who may read their files.

use std::os::unix::fs::PermissionsExt as _;

use crate::config::{Audit, SecretName, Section, Source};
use crate::diagnostics::check::{Outcome, Verdict};

use super::section;

/// Where orchestrators put secrets, with modes of their own choice.
const MOUNTED: &str = "/run/secrets/";

/// Missing, placeholder, weak, set twice.
pub(super) fn secrets(source: &Source, audit: &Audit) -> Verdict {
    let verdict = section(source, audit, Section::Secrets);
    if verdict.outcome != Outcome::Pass {
        return verdict;
    }
    let jwt = SecretName::JwtSecret.as_str();
    let has_jwt = audit.secrets.iter().any(|(name, _)| *name == jwt);
    if !has_jwt && audit.services.auth_server_url.is_none() {
        return Verdict::warn(
            "JWT_SECRET is not set and there is no AUTH_SERVER_URL: user tokens are answered 401, and POST /api/auth/refresh 503",
            "JWT_SECRET=… (the sign-in service's own), or AUTH_SERVER_URL=https://auth.example.com"
                .to_owned(),
        );
    }
    let mut names: Vec<&str> = audit.secrets.iter().map(|(name, _)| *name).collect();
    names.retain(|name| SecretName::ALL.iter().any(|one| one.as_str() == *name));
    let mut text = format!("{} of 4 are there and strong enough", names.len());
    if !audit.missing_secrets().is_empty() {
        let missing = audit.missing_secrets().iter();
        let names: Vec<&str> = missing.map(|one| one.as_str()).collect();
        text += &format!("; generated at the first start: {}", names.join(", "));
    }
    Verdict::pass(text)
}

/// One that leaks must not open what another protects.
pub(super) fn differ(audit: &Audit) -> Verdict {
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
                format!("unset {name}: it holds no other value than the one in use")
            });
        }
    }
    if equal.is_empty() {
        return Verdict::pass(match audit.secrets.len() {
            0 => "none is set".to_owned(),
            count => format!("{count} values, no two the same"),
        });
    }
    Verdict::warn(
        format!("{}: whoever learns one has both", equal.join("; ")),
        remedies.join("\n"),
    )
}

/// Nobody else should read them.
pub(super) fn files(audit: &Audit) -> Verdict {
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
            open.push((path.display().to_string(), mode));
        }
    }
    if open.is_empty() {
        return Verdict::pass(match audit.secret_files.len() {
            0 => "no secret comes from a file".to_owned(),
            count => format!("{count} files, none open to every user"),
        });
    }
    let said: Vec<String> = open
        .iter()
        .map(|(path, mode)| format!("{path} has mode {mode:04o}"))
        .collect();
    let paths: Vec<&str> = open.iter().map(|(path, _)| path.as_str()).collect();
    Verdict::warn(
        format!(
            "{}: every user of this machine may read it",
            said.join("; ")
        ),
        format!("chmod 600 {}", paths.join(" ")),
    )
}
