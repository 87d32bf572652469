//! Reading a `.env` file.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use super::error::{ConfigError, Problem, Warning};
use super::ownership::readable;
use super::remedy::{Remedy, gen_secrets};
use super::shell::shell_word;
use super::text_file::{self, Unread};

fn error(path: &Path, message: impl Into<String>, remedy: Remedy) -> ConfigError {
    ConfigError {
        problems: vec![Problem {
            variable: path.display().to_string(),
            message: message.into(),
            remedy,
        }],
    }
}

/// The file's text; `None` if the file does not exist and is not `required`.
pub(super) fn read(path: &Path, required: bool) -> Result<Option<String>, ConfigError> {
    match text_file::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(Unread::Utf16) => Err(error(path, text_file::UTF_16, text_file::from_utf16(path))),
        Err(Unread::Unusable(why)) => Err(error(
            path,
            why,
            Remedy::note(format!(
                "save {} as UTF-8 text, with one NAME=value per line",
                path.display()
            )),
        )),
        Err(Unread::Io(cause)) if cause.kind() == ErrorKind::NotFound => match path.read_link() {
            Ok(target) => Err(dangling(path, &target)),
            Err(_) if !required => Ok(None),
            Err(_) => Err(error(
                path,
                format!("cannot be read: {cause}"),
                Remedy::note("write that file, or name another one with --env-file"),
            )),
        },
        Err(Unread::Io(cause)) if cause.kind() == ErrorKind::IsADirectory => Err(error(
            path,
            "is a directory, not a file; Docker creates one where a mounted file does not exist",
            Remedy::note(format!(
                "put the file in its place: it was probably not copied, or its mount is missing; new secrets end all sessions, and what is encrypted cannot be read with them\nonly for a new service, without data: {} && {}",
                Remedy::command("rmdir").arg(path),
                gen_secrets(path)
            )),
        )),
        Err(Unread::Io(cause)) => Err(error(
            path,
            format!("cannot be read: {cause}"),
            readable(path),
        )),
    }
}

/// A link whose destination is gone is no file that was never written: without it the daemon
/// would start with other settings, and so with an empty database.
fn dangling(path: &Path, target: &Path) -> ConfigError {
    error(
        path,
        format!("is a link to {}, which does not exist", target.display()),
        Remedy::note(format!(
            "mount or restore {}; only if the file is not wanted any more: rm {}",
            path.parent().unwrap_or(path).join(target).display(),
            shell_word(path)
        )),
    )
}

/// The file's names and values, and the lines that Docker reads differently.
pub(crate) fn parse(
    path: &Path,
    text: &str,
) -> Result<(BTreeMap<String, String>, Vec<Warning>), ConfigError> {
    // The library's error is not shown: it repeats the line, which may contain a secret.
    let values = assignments(text).map_err(|cause| invalid(path, text, &cause))?;
    let warnings = docker_differences(path, text, &values);
    Ok((values, warnings))
}

/// The names and values in the text of a `.env` file.
pub(crate) fn assignments(text: &str) -> Result<BTreeMap<String, String>, dotenvy::Error> {
    let text = text.trim_start_matches('\u{feff}');
    let mut values = BTreeMap::new();
    for item in dotenvy::from_read_iter(text.as_bytes()) {
        let (name, value) = item?;
        // As in dotenvy, the first of several assignments counts.
        values.entry(name).or_insert(value);
    }
    Ok(values)
}

/// Says which line is wrong without repeating it.
fn invalid(path: &Path, text: &str, cause: &dotenvy::Error) -> ConfigError {
    let line = match cause {
        dotenvy::Error::LineParse(line, _) => text
            .lines()
            // Of a value that is wrong, the library tells the value alone.
            .position(|candidate| {
                !candidate.trim().is_empty()
                    && (line.starts_with(candidate) || candidate.ends_with(line.as_str()))
            }),
        _ => None,
    };
    let place = line.map_or_else(String::new, |index| format!(" in line {}", index + 1));
    error(
        path,
        format!("has an error{place}: not NAME=value, or a quote is not closed"),
        Remedy::note(format!(
            "correct that line of {}; a value with spaces, # or quotes needs single quotes around it",
            path.display()
        )),
    )
}

/// `docker run --env-file` takes everything after `=` literally, quotes and comments too.
fn docker_differences(path: &Path, text: &str, values: &BTreeMap<String, String>) -> Vec<Warning> {
    let place = path.display();
    let mut warnings = Vec::new();
    let mut warn = |name: &str, message: String, remedy: Remedy| {
        warnings.push(Warning {
            variable: name.to_owned(),
            message,
            remedy,
        });
    };
    let mut first_lines = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        if line.starts_with('#') {
            continue;
        }
        let name = name.trim().trim_start_matches("export ").trim();
        // Within a value of several lines, what looks like a name may be a secret.
        if !values.contains_key(name) {
            continue;
        }
        let number = index + 1;
        let first = *first_lines.entry(name.to_owned()).or_insert(number);
        if first != number {
            warn(
                name,
                format!(
                    "is set in line {first} and again in line {number} of {place}: todoctl uses the first value, Docker the last"
                ),
                Remedy::note(format!(
                    "delete the line of {name} in {place} that is not meant: {first} or {number}"
                )),
            );
        }
        if has_expansion(value) {
            warn(
                name,
                format!(
                    "has $ in line {number} of {place}: the value of a variable, or nothing, takes the place of the name after it"
                ),
                Remedy::note(format!(
                    "where the $ of {name} is meant as it is, put the value into single quotes"
                )),
            );
            continue;
        }
        let signs = [
            ('$', "$"),
            ('#', "#"),
            ('"', "a double quote"),
            ('\'', "a single quote"),
        ];
        let mut found: Vec<&str> = signs
            .into_iter()
            .filter(|_| !needs_its_quotes(value))
            .filter_map(|(sign, called)| value.contains(sign).then_some(called))
            .collect();
        if !line.starts_with(&format!("{name}=")) {
            found.push("export or white space before the =");
        }
        if !found.is_empty() {
            warn(
                name,
                format!(
                    "has {} in line {number} of {place}, which `docker run --env-file` reads differently (it does not know quotes, comments, variables and export)",
                    found.join(" and ")
                ),
                // One for all lines, in the check of the file.
                Remedy::default(),
            );
        }
    }
    warnings
}

/// Whether the value is in single quotes and cannot be written without: `todoctl config set` writes
/// it so. Where Docker keeps the quotes, the daemon's environment has them, which is a check of its
/// own.
fn needs_its_quotes(value: &str) -> bool {
    let inner = value
        .trim()
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''));
    let needs = |sign: char| sign.is_whitespace() || "#$\"\\`".contains(sign);
    inner.is_some_and(|inner| !inner.contains('\'') && inner.contains(needs))
}

/// Whether a $ in the value begins the name of a variable: outside of single quotes, and not after a
/// backslash.
pub(crate) fn has_expansion(value: &str) -> bool {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let mut signs = value.trim_start().chars().peekable();
    while let Some(sign) = signs.next() {
        let next = signs.peek();
        let begins_name =
            next.is_some_and(|next| next.is_ascii_alphanumeric() || matches!(next, '_' | '{'));
        match sign {
            _ if is_escaped => is_escaped = false,
            '\\' if !is_quoted => is_escaped = true,
            '\'' => is_quoted = !is_quoted,
            '#' if !is_quoted => return false,
            '$' if !is_quoted && begins_name => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(BTreeMap<String, String>, Vec<Warning>), ConfigError> {
        parse(Path::new(".env"), text)
    }

    #[test]
    fn files_are_read_as_people_write_them() {
        let (values, _) =
            parsed("\u{feff}# a comment\r\nPORT=9000\r\nexport HOST='0.0.0.0'\r\nPORT=1\r\n")
                .unwrap();
        assert_eq!(values["PORT"], "9000");
        assert_eq!(values["HOST"], "0.0.0.0");
    }

    #[test]
    fn a_path_in_a_command_is_quoted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("my env");
        std::fs::create_dir(&path).unwrap();
        let error = read(&path, true).unwrap_err();
        let word = format!("'{}'", path.display());
        let remedy = error.problems[0].remedy.to_string();
        let anew = format!("rmdir {word} && todoctl gen-secrets --write {word}");
        assert!(remedy.ends_with(&anew), "{remedy}");
        assert!(
            remedy.lines().all(|line| line.starts_with("# ")),
            "{remedy}"
        );
    }

    #[test]
    fn a_dangling_link_is_no_missing_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".env");
        assert_eq!(read(&path, false).unwrap(), None);
        std::os::unix::fs::symlink("secrets/todo.env", &path).unwrap();
        for required in [true, false] {
            let error = read(&path, required).unwrap_err().to_string();
            assert!(
                error.contains("is a link to secrets/todo.env, which does not exist"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_wrong_line_is_named_but_not_repeated() {
        let error = parsed("PORT=1\nJWT_SECRET='canary\n").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("line 2"), "{text}");
        assert!(!text.contains("canary"));
    }

    #[test]
    fn lines_that_docker_reads_differently() {
        let (_, warnings) =
            parsed("A=plain\nB='quoted'\nC=a#b\n# D='x'\nE=a$HOME\nF='Todo <a@b>'\nG=\"a b\"\n")
                .unwrap();
        let named: Vec<&str> = warnings.iter().map(|one| one.variable.as_str()).collect();
        assert_eq!(named, ["B", "C", "E", "G"]);
    }

    #[test]
    fn values_that_the_reader_puts_in() {
        for value in ["a$HOME", "\"a${HOME}b\"", "$1"] {
            assert!(has_expansion(value), "{value}");
        }
        for value in [
            "'a$HOME'",
            "a\\$HOME",
            "a$",
            "a$ b",
            "x # costs $5",
            "plain",
        ] {
            assert!(!has_expansion(value), "{value}");
        }
    }

    #[test]
    fn the_line_of_a_wrong_value_is_named() {
        let text = parsed("PORT=1\nEMAIL_FROM=Todo App\n")
            .unwrap_err()
            .to_string();
        assert!(text.contains("line 2"), "{text}");
        assert!(!text.contains("Todo App"), "{text}");
    }
}
