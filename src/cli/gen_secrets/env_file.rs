//! Writing secrets into a `.env` file without changing anything else in it.

use std::fs;
use std::io;
use std::path::Path;

use crate::cli::hint::Hint;
use crate::cli::own_file::OwnFile;
use crate::config::env_file::assignments;
use crate::config::{Secret, SecretName, is_placeholder};

/// What happened to one secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    /// It was missing, empty or a placeholder, and now has a value.
    Written,
    /// Its value was kept.
    Kept,
    /// `NAME_FILE` is set, so the value is in another file.
    InFile,
}

/// A secret's name and its new value.
type Value = (&'static str, Secret);

/// Writes every missing, empty or placeholder value of `values` into the file, and makes it
/// readable for its owner only. The file is created if it does not exist, and replaced in one
/// step: a reader sees the old one or the new one.
pub(super) fn fill(path: &Path, values: &[Value]) -> Result<Vec<(&'static str, Filled)>, Hint> {
    rewrite(path, values, |_, assignment| assignment.is_real())
}

/// The same, but real values are replaced too; except a usable encryption key, because stored
/// provider keys are encrypted with it.
pub(super) fn replace(path: &Path, values: &[Value]) -> Result<Vec<(&'static str, Filled)>, Hint> {
    rewrite(path, values, is_usable_encryption_key)
}

fn is_usable_encryption_key(name: &str, assignment: &Assignment) -> bool {
    name == SecretName::EncryptionKey.as_str()
        && SecretName::EncryptionKey.fault(&assignment.value).is_none()
}

/// `keep` decides which values stay.
fn rewrite(
    path: &Path,
    values: &[Value],
    keep: impl Fn(&str, &Assignment) -> bool,
) -> Result<Vec<(&'static str, Filled)>, Hint> {
    let place = path.display();
    let failed = |error: io::Error, what: &str| {
        Hint::of(
            error,
            format!("{place} cannot be {what}"),
            format!(
                "choose a regular file of this user, in an existing directory that it may write to, instead of {place}"
            ),
        )
    };
    // A symbolic link stays: the file that it points to is replaced.
    let own = OwnFile::at(path).map_err(|error| failed(error, "written"))?;
    let old = match fs::read_to_string(own.path()) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error, "read")),
    };
    let (new, outcome) = filled(&old, values, keep);
    if !reads_back(&new, values, &outcome) {
        return Err(Hint::new(
            format!(
                "{place} was not changed: one of the values to replace spans several lines, or contains quotes or characters that readers interpret differently"
            ),
            format!("delete the lines of that value from {place}, then run the same command again"),
        ));
    }
    own.write(new.as_bytes(), 0o600)
        .map_err(|error| failed(error, "written"))?;
    Ok(outcome)
}

/// Whether a reader of the file gets every value that was written.
fn reads_back(text: &str, values: &[Value], outcome: &[(&'static str, Filled)]) -> bool {
    let Ok(read) = assignments(text) else {
        return false;
    };
    let pairs = values.iter().zip(outcome);
    pairs
        .filter(|(_, (_, state))| *state == Filled::Written)
        .all(|((name, value), _)| read.get(*name).is_some_and(|got| got == value.expose()))
}

/// The file's text with the new values.
fn filled(
    text: &str,
    values: &[Value],
    keep: impl Fn(&str, &Assignment) -> bool,
) -> (String, Vec<(&'static str, Filled)>) {
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let mut outcome = Vec::new();
    for (name, value) in values {
        let file_name = format!("{name}_FILE");
        let of = |wanted: &str| -> Vec<(usize, Assignment)> {
            lines
                .iter()
                .enumerate()
                .filter_map(|(index, line)| Some((index, Assignment::of(line, wanted)?)))
                .collect()
        };
        let found = of(name);
        let state = if found.iter().any(|(_, one)| keep(name, one)) {
            Filled::Kept
        } else if of(&file_name).iter().any(|(_, one)| one.is_real()) {
            Filled::InFile
        } else {
            Filled::Written
        };
        outcome.push((*name, state));
        if state != Filled::Written {
            continue;
        }
        // Readers differ in which of several assignments counts, so all get the value.
        for (index, assignment) in &found {
            lines[*index] = format!(
                "{}{}{}",
                assignment.before,
                value.expose(),
                assignment.after
            );
        }
        if found.is_empty() {
            if let Some(last) = lines.last_mut()
                && !last.ends_with('\n')
            {
                last.push_str(line_end);
            }
            lines.push(format!("{name}={}{line_end}", value.expose()));
        }
    }
    (lines.concat(), outcome)
}

/// A line `NAME=value`, with the text around the value.
#[derive(Debug, PartialEq, Eq)]
struct Assignment {
    before: String,
    value: String,
    after: String,
}

impl Assignment {
    /// The assignment to `name`, if `line` is one.
    fn of(line: &str, name: &str) -> Option<Self> {
        let (left, right) = line.split_once('=')?;
        let words = left.trim();
        let words = words.strip_prefix("export ").map_or(words, str::trim);
        if words.trim_start_matches('\u{feff}') != name {
            return None;
        }
        let blank = right.len() - right.trim_start_matches([' ', '\t']).len();
        let (blank, rest) = right.split_at(blank);
        let end = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => rest[1..].find(quote).map_or(rest.len(), |end| end + 2),
            // A # begins a comment after white space, and directly after the =.
            _ => rest
                .find([' ', '\t', '\r', '\n'])
                .unwrap_or(rest.len())
                .min(if rest.starts_with('#') { 0 } else { rest.len() }),
        };
        let (value, after) = rest.split_at(end);
        let space = if after.starts_with('#') { " " } else { "" };
        Some(Self {
            before: format!("{left}={blank}"),
            value: value.trim_matches(['"', '\'']).to_owned(),
            after: format!("{space}{after}"),
        })
    }

    fn is_real(&self) -> bool {
        !self.value.trim().is_empty() && !is_placeholder(&self.value)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn values() -> Vec<Value> {
        vec![("A", Secret::new("new-a")), ("B", Secret::new("new-b"))]
    }

    #[track_caller]
    fn check(old: &str, new: &str, a: Filled, b: Filled) {
        let (text, outcome) = filled(old, &values(), |_, one| one.is_real());
        assert_eq!(text, new);
        assert_eq!(outcome, [("A", a), ("B", b)]);
    }

    #[test]
    fn missing_ones_are_appended() {
        check("", "A=new-a\nB=new-b\n", Filled::Written, Filled::Written);
        check(
            "X=1",
            "X=1\nA=new-a\nB=new-b\n",
            Filled::Written,
            Filled::Written,
        );
        check(
            "X=1\r\n",
            "X=1\r\nA=new-a\r\nB=new-b\r\n",
            Filled::Written,
            Filled::Written,
        );
    }

    #[test]
    fn empty_and_placeholder_values_are_filled_in_place() {
        check(
            "# head\nB=change-me # why\nexport A = ''\n# A=x\n",
            "# head\nB=new-b # why\nexport A = new-a\n# A=x\n",
            Filled::Written,
            Filled::Written,
        );
        check(
            "A=# why\nB=<token>\n",
            "A=new-a # why\nB=new-b\n",
            Filled::Written,
            Filled::Written,
        );
    }

    #[test]
    fn real_values_are_replaced_on_request() {
        let old = "A='weak' # why\nB_FILE=/b\n";
        let (text, outcome) = filled(old, &values(), is_usable_encryption_key);
        assert_eq!(text, "A=new-a # why\nB_FILE=/b\n");
        assert_eq!(outcome, [("A", Filled::Written), ("B", Filled::InFile)]);
    }

    #[test]
    fn a_usable_encryption_key_stays() {
        let name = SecretName::EncryptionKey.as_str();
        let values = [(name, Secret::new("new"))];
        let good = format!("{name}=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n");
        let (text, outcome) = filled(&good, &values, is_usable_encryption_key);
        assert_eq!((text, outcome[0].1), (good, Filled::Kept));
        let (text, _) = filled(&format!("{name}=x\n"), &values, is_usable_encryption_key);
        assert_eq!(text, format!("{name}=new\n"));
    }

    #[test]
    fn real_values_stay() {
        let old = "A=\"real # value\"\nB=x\n";
        check(old, old, Filled::Kept, Filled::Kept);
        check(
            "A=\nA=real\nB=1",
            "A=\nA=real\nB=1",
            Filled::Kept,
            Filled::Kept,
        );
        check(
            "A=\nA=change-me\nB=1\n",
            "A=new-a\nA=new-a\nB=1\n",
            Filled::Written,
            Filled::Kept,
        );
        check(
            "A_FILE=/run/a\nB=1\n",
            "A_FILE=/run/a\nB=1\n",
            Filled::InFile,
            Filled::Kept,
        );
        check(
            "AA=1\nB=1\n",
            "AA=1\nB=1\nA=new-a\n",
            Filled::Written,
            Filled::Kept,
        );
    }

    #[test]
    fn the_file_is_replaced_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("real");
        fs::write(&path, "X=1\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let link = directory.path().join(".env");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        fill(&link, &values()).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "X=1\nA=new-a\nB=new-b\n"
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        let error = fill(directory.path(), &values()).unwrap_err();
        assert!(error.to_string().ends_with("cannot be written"));
    }
}
