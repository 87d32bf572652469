//! Reading a `.env` file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;

use super::error::{ConfigError, Problem, Warning};
use super::ownership::readable;
use super::remedy::{Remedy, gen_secrets};
use super::shell::shell_word;
use super::text_file::{self, Unread};
use form::{decrypting, is_of_windows};
use line::{name, numbered};
use parse::has_references_alone;

mod commented;
mod form;
pub(crate) mod line;
mod parse;

pub(crate) use commented::commented;
pub(crate) use parse::{assignments, has_expansion, is_real};

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
        Ok(text) => match decrypting(text.as_bytes()) {
            None => Ok(Some(text)),
            Some(command) => Err(encrypted(path, command)),
        },
        Err(Unread::Utf16) => Err(error(path, text_file::UTF_16, text_file::from_utf16(path))),
        Err(Unread::NotUtf8(line)) => Err(not_utf8(path, line)),
        Err(Unread::Unusable(why)) => Err(error(path, why, saved_as_text(path))),
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

fn saved_as_text(path: &Path) -> Remedy {
    Remedy::note(format!(
        "save {} as UTF-8 text, with one NAME=value per line",
        path.display()
    ))
}

/// Only what is a file of variables in the encoding of Windows is converted.
fn not_utf8(path: &Path, line: usize) -> ConfigError {
    let bytes = text_file::read_small_file(path).unwrap_or_default();
    if let Some(command) = decrypting(&bytes) {
        return encrypted(path, command);
    }
    let remedy = if is_of_windows(&bytes) {
        text_file::from_windows(path)
    } else {
        saved_as_text(path)
    };
    error(path, text_file::not_utf8(line), remedy)
}

fn encrypted(path: &Path, command: &str) -> ConfigError {
    error(
        path,
        "is encrypted",
        Remedy::note(format!(
            "put what is decrypted in the place of {}, as its deployment should do: {command}",
            path.display()
        )),
    )
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

/// The file's names and values, and what is said about them.
pub(crate) fn parse(
    path: &Path,
    text: &str,
) -> Result<(BTreeMap<String, String>, Vec<Warning>), ConfigError> {
    // The library's error is not shown: it repeats the line, which may contain a secret.
    let values = assignments(text).map_err(|cause| invalid(path, text, &cause))?;
    let warnings = expansions(path, text);
    Ok((values, warnings))
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
    if let Some((what, advice)) = line
        .and_then(|index| text.lines().nth(index))
        .and_then(form::of_line)
    {
        let advice = format!("{advice}, in {}", path.display());
        return error(
            path,
            format!("has an error{place}: {what}"),
            Remedy::note(advice),
        );
    }
    error(
        path,
        format!("has an error{place}: not NAME=value, or a quote is not closed"),
        Remedy::note(format!(
            "correct that line of {}; a value with spaces, # or quotes needs single quotes around it",
            path.display()
        )),
    )
}

/// Values with a `$` that was probably not meant as the beginning of a variable's name.
fn expansions(path: &Path, text: &str) -> Vec<Warning> {
    let place = path.display();
    let is_in_environment =
        |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let mut warnings = Vec::new();
    let mut before = BTreeSet::new();
    for line in numbered(text) {
        let Some((name, (_, value))) = name(line.text).zip(line.text.split_once('=')) else {
            continue;
        };
        let is_set = |one: &str| before.contains(one) || is_in_environment(one);
        if !has_references_alone(value, is_set) {
            warnings.push(Warning {
                variable: name.to_owned(),
                message: format!(
                    "has $ in line {} of {place}: the value of a variable, or nothing, takes the place of it and the name after it",
                    line.number
                ),
                remedy: Remedy::note(format!(
                    "where the $ of {name} is meant as it is, put the value into single quotes; a reference is written in braces, to a variable of a line before"
                )),
            });
        }
        before.insert(name);
    }
    warnings
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
    fn values_with_references() {
        let (values, warnings) = parsed(
            "USER_NAME=todo\nA=${USER_NAME}@h\nB=p$ssword\nC=${NO_SUCH_NAME}\nD='a$b'\nE=\"x\" # $5\n",
        )
        .unwrap();
        assert_eq!(values["A"], "todo@h");
        let named: Vec<&str> = warnings.iter().map(|one| one.variable.as_str()).collect();
        assert_eq!(named, ["B", "C"]);
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
