//! Where a key is that decrypts the provider keys which `ENCRYPTION_KEY` does not.

use std::path::{Path, PathBuf};

use crate::config::{
    DatabaseTarget, Origin, Remedy, Secret, SecretName, generated_secret_path, here,
    read_small_file, shell_word,
};
use crate::diagnostics::context::Context;

/// What adds the key, if it is in a comment of the `.env` file, in a copy of that file, or in the file
/// of the secret that was generated. `opens` tells whether a key is the right one.
pub(super) fn added_again(context: &Context, opens: impl Fn(&Secret) -> bool) -> Option<Remedy> {
    let source = &context.request.source;
    let name = SecretName::EncryptionKey;
    let previous = name.previous();
    let is_set = |name: &str| source.names().any(|one| one == name);
    let env_file = source.file()?;
    // Others would have to be kept beside it.
    if is_set(previous) || is_set(&format!("{previous}_FILE")) {
        return None;
    }
    let (place, shown) = in_files(env_file, &opens).or_else(|| {
        let Some(DatabaseTarget::Sqlite(file)) = context.target() else {
            return None;
        };
        let path = generated_secret_path(file, name.as_str());
        let key = read_small_file(&path).ok()?;
        let key = Secret::new(String::from_utf8(key).ok()?.trim());
        opens(&key).then(|| {
            (
                path.display().to_string(),
                Remedy::command("cat").arg(&path),
            )
        })
    })?;
    // Where the service has no key any more, this is the one.
    let has_key = context
        .audit
        .encryption_keys()
        .any(|key| name.is_strong(key.expose()))
        || source.origin(name.as_str()) == Some(Origin::Environment);
    let variable = if has_key { previous } else { name.as_str() };
    let set = Remedy::command(format!("todoctl config set {variable}=-"));
    Some(
        Remedy::note(format!(
            "{place} has the key that they were stored with; this adds it, for the daemon at its next start:"
        ))
        .then(shown.pipe(&set))
        .then(Remedy::note("then restart the daemon")),
    )
}

/// The line with the key in the `.env` file or a copy beside it, such as `.env.bak`, and what prints it.
fn in_files(env_file: &Path, opens: impl Fn(&Secret) -> bool) -> Option<(String, Remedy)> {
    let begin = env_file.file_name()?.as_encoded_bytes();
    let directory = env_file.parent()?;
    let entries = here(directory).read_dir().ok()?.flatten();
    let names = entries.map(|entry| entry.file_name());
    let mut files: Vec<PathBuf> = names
        .filter(|name| name.as_encoded_bytes().starts_with(begin))
        .map(|name| directory.join(name))
        .filter(|file| file.is_file())
        .collect();
    files.sort();
    files.iter().find_map(|file| {
        let bytes = read_small_file(file).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let number = text.lines().position(|line| {
            let key = key_in(line).map(Secret::new);
            key.is_some_and(|key| opens(&key))
        })? + 1;
        let shown = format!("sed -n '{number}s/^[^=]*=//p' {}", shell_word(file));
        let place = format!("line {number} of {}", file.display());
        Some((place, Remedy::command(shown)))
    })
}

/// The encryption key that the line sets, also in a comment.
fn key_in(line: &str) -> Option<&str> {
    let (left, right) = line.split_once('=')?;
    let words = left.trim_start_matches(['#', ' ', '\t']);
    let name = words.strip_prefix("export ").unwrap_or(words).trim();
    let names = [
        SecretName::EncryptionKey.as_str(),
        SecretName::EncryptionKey.previous(),
    ];
    names.contains(&name).then(|| right.trim())
}
