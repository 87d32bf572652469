//! Checks of secrets: set and strong, different, in files that only their user may read.

use std::path::Path;
use std::time::Duration;

use crate::config::{
    Barrier, Origin, Problem, Remedy, SecretName, Section, Source, is_placeholder,
    jwt_from_sign_in_service, replace_secret, respelt,
};
use crate::diagnostics::context::Context;
use crate::diagnostics::fix::Fix;
use crate::diagnostics::verdict::Verdict;

use super::{file_modes, hidden_secrets, in_use, kept_secrets, lost_secrets};

/// Where orchestrators mount secrets, with modes that the operator does not choose.
const MOUNTED: &str = "/run/secrets/";

/// Missing, placeholder, weak, set twice.
pub(super) async fn secrets(context: &Context, limit: Duration) -> Verdict {
    let audit = &context.audit;
    let problems: Vec<&Problem> = audit.problems_of(Section::Secrets).collect();
    if !problems.is_empty() {
        let needed = in_use::problems(context, limit).await;
        let needed = needed.iter().flatten();
        let replaced: Vec<&Problem> = problems
            .iter()
            .map(|one| {
                let mut needed = needed.clone();
                needed
                    .find(|other| other.variable == one.variable && other.message == one.message)
                    .unwrap_or(one)
            })
            .collect();
        return Verdict::of_problems(replaced).with_fixes(respell(&context.request.source));
    }
    let (mut warnings, mut remedy) = audit.warned_of(Section::Secrets);
    if let Some((hidden, advice)) = hidden_secrets::hidden(context) {
        warnings.push(hidden);
        remedy = remedy.then(advice);
    }
    let is_set = |name: SecretName| audit.secrets.iter().any(|(one, _)| *one == name.as_str());
    if !is_set(SecretName::JwtSecret) && audit.services.auth_server_url.is_none() {
        warnings.push("neither JWT_SECRET nor AUTH_SERVER_URL is set: user tokens are answered with 401, POST /api/auth/refresh with 503".to_owned());
        remedy = remedy.then(jwt_from_sign_in_service()).then(Remedy::note(
            "or name the auth server: todoctl config set AUTH_SERVER_URL=https://auth.example.com",
        ));
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
    Verdict::warn_if_any(&warnings, remedy, Verdict::pass(text))
}

/// Which of two equal secrets is replaced: first those that no other service knows.
const REPLACED_FIRST: [SecretName; 4] = [
    SecretName::SessionHashSecret,
    SecretName::EncryptionKey,
    SecretName::ServiceAuthToken,
    SecretName::JwtSecret,
];

/// For an encryption key in the `.env` file.
fn respell(source: &Source) -> Option<Fix> {
    let name = SecretName::EncryptionKey.as_str();
    let is_in_file = source.origin(name) == Some(Origin::File);
    let is_other_spelling = respelt(name, source.get(name)?).is_some();
    (is_in_file && is_other_spelling).then(|| Fix::Respell(vec![name.to_owned()]))
}

/// A secret that leaks must not expose what another one protects. The previous value of a secret
/// is on its way out, so it may be another one's.
pub(super) fn differ(context: &Context) -> Verdict {
    let audit = &context.audit;
    let value_of = |name: &str| {
        let mut values = audit.secrets.iter();
        let value = values.find_map(|(one, value)| (*one == name).then(|| value.expose()));
        // What only marks where a value belongs is none.
        value.filter(|value| !is_placeholder(value))
    };
    let mut equal = Vec::new();
    let mut remedy = Remedy::default();
    for (index, name) in REPLACED_FIRST.into_iter().enumerate() {
        let name = name.as_str();
        let Some(value) = value_of(name) else {
            continue;
        };
        let previous = format!("{name}_PREVIOUS");
        if value_of(&previous) == Some(value) {
            equal.push(format!("{name} is the same as {previous}"));
            remedy = remedy.then(Remedy::unset(previous));
        }
        let mut others = REPLACED_FIRST[index + 1..]
            .iter()
            .map(|other| other.as_str());
        if let Some(other) = others.find(|other| value_of(other) == Some(value)) {
            equal.push(format!("{name} is the same as {other}"));
            remedy = remedy.then(replace_secret(&context.request.source, name));
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
        remedy,
    )
}

/// Other users must not read them, and nobody delete them.
pub(super) fn files(context: &Context) -> Verdict {
    if let Some(verdict) = lost_secrets::lost(context) {
        return verdict;
    }
    if let Some(verdict) = kept_secrets::deleted(context) {
        return verdict;
    }
    let audit = &context.audit;
    let daemon = file_modes::daemon(context);
    let (mut said, mut remedy, mut fixes) = (Vec::new(), Remedy::default(), Vec::new());
    let judged = audit.secret_files.iter();
    // The volume of a pod is mounted read-only, and what is among a daemon's mounts is from a unit or a
    // container.
    let is_given = |path: &Path| {
        path.starts_with(MOUNTED)
            || path.starts_with("/proc")
            || matches!(Barrier::of(path), Some(Barrier::Mount(_)))
    };
    let env_file = context.request.source.file();
    let mut closed = Vec::new();
    for path in judged.filter(|path| !is_given(path)) {
        let taken = env_file.and_then(|file| file_modes::taken_from_daemon(file, path));
        if let Some((user, advice)) = taken {
            closed.push(format!(
                "{} cannot be read by user {user}, as whom the daemon runs: its next start fails",
                path.display()
            ));
            remedy = remedy.then(advice);
        } else if let Some(open) = file_modes::open_to_others(path, 0o007, daemon.as_ref()) {
            said.push(format!("{} has mode {:04o}", path.display(), open.mode));
            remedy = remedy.then(open.remedy);
            fixes.extend(open.fix);
        }
    }
    if said.is_empty() && closed.is_empty() {
        return Verdict::pass(match audit.secret_files.len() {
            0 => "no secret comes from a file".to_owned(),
            count => format!("{count} files, readable only by their user"),
        });
    }
    if !said.is_empty() {
        closed.push(format!(
            "{}: every user of this machine may read it",
            said.join("; ")
        ));
    }
    Verdict::warn(closed.join("; "), remedy).with_fixes(fixes)
}
