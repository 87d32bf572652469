//! Files that `NAME_FILE` variables name.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::env_file::line::{Assignment, is_name, numbered};
use super::ownership::here;
use super::remedy::Remedy;
use super::respell::is_quote;
use super::secret_text::read_secret_file;
use super::source::Source;
use super::strength::is_placeholder;

/// What to do where a variable and its file are both set. A file without a value is not used.
pub(super) fn one_of_both(name: &'static str, text: &str, file_name: &str, path: &str) -> Remedy {
    let in_file = read_secret_file(Path::new(path)).ok();
    let has_value = in_file
        .as_deref()
        .is_some_and(|value| !is_placeholder(value));
    if !has_value && !is_placeholder(text) {
        return Remedy::note(format!(
            "{path} has no value, so that of {name} is used from then on"
        ))
        .then(Remedy::unset(file_name.to_owned()));
    }
    let used = if in_file.as_deref() == Some(text) {
        "both have the same value".to_owned()
    } else {
        format!("the value in {path} is used from then on")
    };
    Remedy::note(used).then(Remedy::unset(name))
}

/// The file that a path which leads to none was probably meant to lead to: nobody but a shell takes `~`
/// for a home directory, it is no URL, and another program was started in the directory of `.env`.
pub(super) fn elsewhere(path: &str, env_file: Option<&Path>) -> Option<PathBuf> {
    let bare = path.trim_matches(['"', '\'']);
    let places = [
        Some(PathBuf::from(bare)),
        bare.strip_prefix("file://").map(PathBuf::from),
        bare.strip_prefix("~/")
            .and_then(|rest| Some(std::env::home_dir()?.join(rest))),
        env_file.and_then(|file| Some(here(file.parent()?).join(bare))),
    ];
    let found = places.into_iter().flatten().find(|place| place.is_file())?;
    std::path::absolute(found)
        .ok()
        .filter(|found| found != Path::new(path))
}

/// Whether the value of a variable for the path of a file is none. It may be the secret itself.
pub(crate) fn is_no_path(text: &str) -> bool {
    if reference(text).is_some() {
        return false;
    }
    let path = Path::new(text);
    let is_in_directory = path.parent().is_some_and(Path::is_dir);
    let is_like_path = text.starts_with(['/', '.', '~']) || is_in_directory;
    !path.exists() && text.len() >= SHORTEST_VALUE && (!is_like_path || text.contains("://"))
}

/// Names of files are shorter, and secrets longer.
const SHORTEST_VALUE: usize = 20;

/// What other programs replace at the beginning of a path: a variable of a shell, or a specifier of
/// systemd. A secret is unlikely to begin so.
fn reference(path: &str) -> Option<&str> {
    let path = path.trim_start_matches(is_quote);
    let end = path.find('/').unwrap_or(path.len());
    let (first, _) = path.split_at_checked(end)?;
    let is_specifier = first.len() == 2 && first.starts_with('%');
    let name = first.strip_prefix('$').unwrap_or_default();
    let name = name.trim_matches(is_quote);
    let in_braces = name.strip_prefix('{').and_then(|one| one.strip_suffix('}'));
    let is_part = |sign: char| sign.is_ascii_uppercase() || sign.is_ascii_digit() || sign == '_';
    let is_variable = name.len() > 2 && name.chars().all(is_part) || in_braces.is_some_and(is_name);
    (is_specifier || is_variable).then_some(first.trim_matches(is_quote))
}

/// What to do about a file that has no value of `name`.
pub(super) fn written(source: &Source, path: &str, name: &str) -> Remedy {
    let file_name = format!("{name}_FILE");
    let text = as_written(source, path, &file_name);
    if let Some(reference) = reference(&text) {
        return not_replaced(source, &text, reference, &file_name);
    }
    let path = Path::new(path);
    // Docker creates a directory where a mounted file does not exist.
    let directory = path.is_dir().then(|| Remedy::command("rmdir").arg(path));
    Remedy::default().then(directory).then(Remedy::note(format!(
        "write the value of {name} into {}, alone, and let only its user read it",
        path.display()
    )))
}

/// Whether the path begins with a reference, where it is written.
pub(super) fn is_reference(source: &Source, path: &str, file_name: &str) -> bool {
    reference(&as_written(source, path, file_name)).is_some()
}

/// The path as it is written: its reader takes the names of variables that are not set here out of a
/// line of the env file.
fn as_written<'a>(source: &Source, path: &'a str, file_name: &str) -> Cow<'a, str> {
    let text = source.env_file_of(file_name).map(|_| source.text());
    let lines = numbered(text.unwrap_or_default()).into_iter();
    let mut found = lines.filter_map(|line| Assignment::of(line.text, file_name));
    let written = found.next().map(|line| line.value);
    written.map_or(Cow::Borrowed(path), Cow::Owned)
}

/// The directories of a unit's credentials, as systemd and as its services call it.
const CREDENTIALS: [&str; 3] = ["%d", "${CREDENTIALS_DIRECTORY}", "$CREDENTIALS_DIRECTORY"];

fn not_replaced(source: &Source, text: &str, reference: &str, file_name: &str) -> Remedy {
    let text = text.trim_matches(is_quote);
    let rest = text.strip_prefix(reference).unwrap_or_default();
    let place = match source.env_file_of(file_name) {
        Some(file) => file.display().to_string(),
        None => "the file or platform that sets the daemon's environment".to_owned(),
    };
    if CREDENTIALS.contains(&reference) {
        return Remedy::note(format!(
            "systemd replaces {reference} in its unit files alone, and there as %d: put Environment={file_name}=%d{rest} beside LoadCredential= in the unit file, and take {file_name} out of {place}"
        ));
    }
    let name = reference.trim_matches(['$', '{', '}']);
    let meant = source.get(name).map(|value| format!("{value}{rest}"));
    match meant.filter(|path| Path::new(path).is_file()) {
        Some(path) => Remedy::set(file_name.to_owned(), path),
        None => Remedy::note(format!(
            "nothing replaces {reference} there: write the whole path of the file in {file_name}, in {place}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_no_values() {
        for (path, expected) in [
            (
                "${CREDENTIALS_DIRECTORY}/jwt_secret.txt",
                Some("${CREDENTIALS_DIRECTORY}"),
            ),
            (
                "$CREDENTIALS_DIRECTORY/jwt_secret.txt",
                Some("$CREDENTIALS_DIRECTORY"),
            ),
            ("\"${HOME}/secrets/jwt_secret\"", Some("${HOME}")),
            (
                "${THE_FILE_OF_THE_SECRET}",
                Some("${THE_FILE_OF_THE_SECRET}"),
            ),
            ("$THE_FILE_OF_THE_SECRET", Some("$THE_FILE_OF_THE_SECRET")),
            ("%d/jwt_secret_of_the_service", Some("%d")),
            ("$2b$12$abcdefghijklmnopqrstuv", None),
            ("$pa55word/0123456789", None),
            ("0123456789$abcdef/0123456789", None),
            ("postgresql://u:p@h.example.com/d", None),
        ] {
            assert_eq!(reference(path), expected, "{path}");
            assert!(expected.is_none() || !is_no_path(path), "{path}");
        }
    }

    #[test]
    fn files_that_were_meant() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, "x").unwrap();
        let env_file = directory.path().join(".env");
        let whole = file.to_str().unwrap();
        for path in [
            "token".to_owned(),
            "./token".to_owned(),
            format!("file://{whole}"),
            format!("\"{whole}\""),
        ] {
            let found = elsewhere(&path, Some(&env_file)).unwrap();
            assert_eq!(
                found.canonicalize().unwrap(),
                file.canonicalize().unwrap(),
                "{path}"
            );
        }
        for path in ["other", "~/no such file", whole] {
            assert_eq!(elsewhere(path, Some(&env_file)), None, "{path}");
        }
    }
}
