//! Secrets that the running daemon had from the `.env` file, which has lost them since.

use std::path::Path;

use crate::config::{
    DEFAULT_ENV_FILE, DatabaseTarget, SecretName, SecretPlace, has_generated_secret, put_back,
};
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{daemon_with, daemon_without_env_file};
use crate::diagnostics::verdict::Verdict;
use crate::services::last_database::LastDatabase;

/// The next start would end, or generate others.
pub(super) fn lost(context: &Context) -> Option<Verdict> {
    let source = &context.request.source;
    let pid = match source.file() {
        Some(file) => daemon_with(file)?,
        None => daemon_without_env_file()?,
    };
    let env_file = source.file().unwrap_or(Path::new(DEFAULT_ENV_FILE));
    let places = LastDatabase::read(env_file)?.secrets;
    let is_lost = |name: &SecretName| {
        let variable = name.as_str();
        let is_set =
            source.get(variable).is_some() || source.get(&format!("{variable}_FILE")).is_some();
        let is_generated = matches!(context.audit.target(), Some(DatabaseTarget::Sqlite(database)) if has_generated_secret(database, *name));
        // Tokens may be checked with the keys of the auth server instead.
        let is_needed =
            *name != SecretName::JwtSecret || context.audit.services.auth_server_url.is_none();
        places.get(variable) == Some(&SecretPlace::EnvFile) && !is_set && !is_generated && is_needed
    };
    let lost: Vec<SecretName> = SecretName::ALL.into_iter().filter(is_lost).collect();
    if lost.is_empty() {
        return None;
    }
    let names: Vec<&str> = lost.iter().map(|name| name.as_str()).collect();
    Some(Verdict::fail(
        format!(
            "the running daemon (pid {pid}) has {}, which {} has lost: after its next start services, users, sessions and provider keys of these secrets are refused",
            names.join(", "),
            env_file.display()
        ),
        put_back(source, &lost, &places, None),
    ))
}
