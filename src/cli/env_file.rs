//! Changing a `.env` file without touching anything else in it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::env_file::assignments;
use crate::config::{
    Remedy, SecretName, Variable, is_placeholder, keeps_previous, nearest, respelt,
};

use super::hint::Hint;
use super::own_file::OwnFile;

mod line;

use line::{Assignment, commented, quoted};

/// A `.env` file and the changes to it, which [`EnvFile::save`] writes in one step.
#[derive(Debug)]
pub(crate) struct EnvFile {
    own: OwnFile,
    /// As the user named it.
    place: PathBuf,
    text: String,
    /// What a reader of the file has to get in the end.
    values: BTreeMap<String, String>,
}

impl EnvFile {
    /// Reads the file, which need not exist. A symbolic link stays: the file that it points to is
    /// changed. Fails if that is no regular file of this user.
    pub(crate) fn open(path: &Path) -> Result<Self, Hint> {
        let own = OwnFile::at(path).map_err(|error| failed(path, error, "written"))?;
        let text = match fs::read_to_string(own.path()) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(path, error, "read")),
        };
        Ok(Self {
            own,
            place: path.to_owned(),
            // What cannot be read is found when the file is saved.
            values: assignments(&text).unwrap_or_default(),
            text,
        })
    }

    /// The text with the changes.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The value that a reader gets.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Whether a line assigns something to `name` that is neither empty nor a placeholder.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.found(name).iter().any(|(_, one)| one.is_real())
    }

    /// Gives `name` the value in every line that assigns it, because readers differ in which one
    /// counts; in a new line if there is none.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), value.to_owned());
        let written = quoted(value);
        let found = self.found(name);
        let mut lines: Vec<String> = self.lines();
        for (index, assignment) in &found {
            lines[*index] = format!("{}{written}{}", assignment.before, assignment.after);
        }
        self.text = lines.concat();
        if found.is_empty() {
            self.append(&format!("{name}={written}"));
        }
    }

    fn append(&mut self, line: &str) {
        let line_end = if self.text.contains("\r\n") {
            "\r\n"
        } else {
            "\n"
        };
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push_str(line_end);
        }
        self.text.push_str(line);
        self.text.push_str(line_end);
    }

    /// Gives a variable another value. No value of one of todoctl's own secrets is lost: the old
    /// one is kept as `NAME_PREVIOUS` if the program can use it there, so that what was made with
    /// it stays valid, and in a comment otherwise. Returns whether a comment was written.
    pub(crate) fn rotate(&mut self, name: &str, value: &str) -> bool {
        let old = self.values.get(name).cloned();
        let is_previous = old.is_some_and(|old| self.keep_as_previous(name, &old, value));
        let found = self.found(name);
        let lines = self.lines();
        let is_kept = |position: usize, old: &str| {
            (position == 0 && is_previous)
                || old == value
                || value.ends_with(&format!(",{old}"))
                || respelt(name, old).is_some_and(|old| old == value)
        };
        let mut lost: Vec<String> = Vec::new();
        if is_own_secret(name) {
            for (position, (index, one)) in found.iter().enumerate() {
                if one.is_real() && !is_kept(position, &one.value) {
                    lost.push(commented(&lines[*index]));
                }
            }
        }
        self.set(name, value);
        let is_commented = !lost.is_empty();
        if let Some((first, _)) = found.first() {
            let mut lines = self.lines();
            lines.splice(first..first, lost);
            self.text = lines.concat();
        }
        is_commented
    }

    /// Keeps the old value of a secret that is replaced elsewhere, as [`EnvFile::rotate`] does.
    pub(crate) fn keep(&mut self, name: &str, old: &str, new: &str) -> bool {
        let is_real = !old.is_empty() && !is_placeholder(old);
        let is_same = old == new || respelt(name, old).is_some_and(|old| old == new);
        if !is_real || is_same || self.keep_as_previous(name, old, new) || !is_own_secret(name) {
            return false;
        }
        for line in old.lines() {
            self.append(&format!("#{name}={line}"));
        }
        true
    }

    fn keep_as_previous(&mut self, name: &str, old: &str, new: &str) -> bool {
        let old = respelt(name, old).unwrap_or_else(|| old.to_owned());
        let Some(previous) = keeps_previous(name, &old).filter(|_| old != new) else {
            return false;
        };
        // A variable and its file must not both be set.
        if self.has(&format!("{}_FILE", previous.variable)) {
            return false;
        }
        let earlier = self.values.get(previous.variable);
        let kept = match earlier.filter(|_| previous.is_list) {
            Some(earlier) if !earlier.trim().is_empty() => format!("{old},{earlier}"),
            _ => old,
        };
        self.rotate(previous.variable, &kept);
        true
    }

    /// Without a byte-order mark, and with the line ends of Unix.
    pub(crate) fn set_plain_line_ends(&mut self) {
        self.text = self
            .text
            .trim_start_matches('\u{feff}')
            .replace("\r\n", "\n");
    }

    /// Removes every line that assigns something to `name`.
    pub(crate) fn remove(&mut self, name: &str) {
        self.replace_lines(name, |_, _| String::new());
    }

    /// As [`EnvFile::remove`], but the lines with values of todoctl's own secrets become comments.
    /// Returns whether there is one.
    pub(crate) fn retire(&mut self, name: &str) -> bool {
        let is_secret = is_own_secret(name);
        let mut is_commented = false;
        self.replace_lines(name, |line, one| {
            if is_secret && one.is_real() {
                is_commented = true;
                commented(line)
            } else {
                String::new()
            }
        });
        is_commented
    }

    fn replace_lines(&mut self, name: &str, mut new: impl FnMut(&str, &Assignment) -> String) {
        self.values.remove(name);
        let mut lines = self.lines();
        for (index, one) in self.found(name) {
            lines[index] = new(&lines[index], &one);
        }
        self.text = lines.concat();
    }

    /// Makes the file readable for its owner only, and replaces it in one step: a reader sees the
    /// old one or the new one.
    pub(crate) fn save(self) -> Result<(), Hint> {
        let place = self.place.display();
        if assignments(&self.text).ok().as_ref() != Some(&self.values) {
            return Err(Hint::new(
                format!(
                    "{place} was not changed: one of its values spans several lines, or contains quotes or characters that readers interpret differently"
                ),
                Remedy::note(format!(
                    "put each value of {place} into one line, in single quotes if it has spaces, # or quotes"
                )),
            ));
        }
        self.own
            .write(self.text.as_bytes(), 0o600)
            .map_err(|error| failed(&self.place, error, "written"))
    }

    fn lines(&self) -> Vec<String> {
        self.text.split_inclusive('\n').map(str::to_owned).collect()
    }

    /// The lines that assign something to `name`.
    fn found(&self, name: &str) -> Vec<(usize, Assignment)> {
        let lines = self.text.split_inclusive('\n').enumerate();
        lines
            .filter_map(|(index, line)| Some((index, Assignment::of(line, name)?)))
            .collect()
    }
}

fn failed(path: &Path, error: io::Error, what: &str) -> Hint {
    let place = path.display();
    Hint::of(
        error,
        format!("{place} cannot be {what}"),
        Remedy::note(format!(
            "choose a regular file of this user, in an existing directory that it may write to, instead of {place}"
        )),
    )
}

/// Whether the variable, or the one that a misspelt name probably means, holds one of todoctl's
/// own secrets: if one is lost, nobody can issue it again.
fn is_own_secret(name: &str) -> bool {
    let known = match Variable::of(name) {
        Some(variable) => Some(variable.name),
        None => nearest(name),
    };
    known.is_some_and(|known| {
        let current = known.strip_suffix("_PREVIOUS").unwrap_or(known);
        SecretName::ALL
            .into_iter()
            .any(|secret| secret.as_str() == current)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A file with `text`, in a directory that is deleted with the value.
    fn file(text: &str) -> (tempfile::TempDir, EnvFile) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".env");
        fs::write(&path, text).unwrap();
        let file = EnvFile::open(&path).unwrap();
        (directory, file)
    }

    #[track_caller]
    fn check(old: &str, change: impl FnOnce(&mut EnvFile), new: &str) {
        let (directory, mut file) = file(old);
        change(&mut file);
        file.save().unwrap();
        let path = directory.path().join(".env");
        assert_eq!(fs::read_to_string(path).unwrap(), new);
    }

    #[test]
    fn values_are_set_in_their_place_or_appended() {
        let set = |file: &mut EnvFile| {
            file.set("A", "new");
            file.set("B", "Todo <a@b.c>");
        };
        check("", set, "A=new\nB='Todo <a@b.c>'\n");
        check("X=1", set, "X=1\nA=new\nB='Todo <a@b.c>'\n");
        check("X=1\r\n", set, "X=1\r\nA=new\r\nB='Todo <a@b.c>'\r\n");
        check(
            "# head\nB=1 # why\nexport A = ''\n# A=x\nA=2\n",
            set,
            "# head\nB='Todo <a@b.c>' # why\nexport A = new\n# A=x\nA=new\n",
        );
        check(
            "AA=1\n",
            |file| file.set("A", "it's $5"),
            "AA=1\nA=\"it's \\$5\"\n",
        );
    }

    #[test]
    fn lines_are_removed() {
        let remove = |file: &mut EnvFile| file.remove("A");
        check("X=1\nexport A=1\n# A\nA=2\n", remove, "X=1\n# A\n");
        check("X=1\n", remove, "X=1\n");
    }

    #[test]
    fn a_usable_old_secret_is_kept() {
        let strong = "0123456789abcdef0123456789abcdef";
        check(
            &format!("JWT_SECRET={strong}\n"),
            |file| assert!(!file.rotate("JWT_SECRET", "new")),
            &format!("JWT_SECRET=new\nJWT_SECRET_PREVIOUS={strong}\n"),
        );
        check(
            "JWT_SECRET=change-me\nPORT=1\n",
            |file| {
                file.rotate("JWT_SECRET", "new");
                file.rotate("PORT", "2");
            },
            "JWT_SECRET=new\nPORT=2\n",
        );
        let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        check(
            &format!("ENCRYPTION_KEY={key}\nENCRYPTION_KEY_PREVIOUS=older\n"),
            |file| assert!(!file.rotate("ENCRYPTION_KEY", "new")),
            &format!("ENCRYPTION_KEY=new\nENCRYPTION_KEY_PREVIOUS={key},older\n"),
        );
    }

    #[test]
    fn a_secret_that_cannot_be_used_is_kept_in_a_comment() {
        let strong = "0123456789abcdef0123456789abcdef";
        check(
            "A=1\nexport ENCRYPTION_KEY='a key' # of the old service",
            |file| assert!(file.rotate("ENCRYPTION_KEY", "new")),
            "A=1\n#export ENCRYPTION_KEY='a key' # of the old service\nexport ENCRYPTION_KEY=new # of the old service",
        );
        check(
            "SERVICE_AUTH_TOKEN=short\nSERVICE_AUTH_TOKEN=other\n",
            |file| assert!(file.rotate("SERVICE_AUTH_TOKEN", "other")),
            "#SERVICE_AUTH_TOKEN=short\nSERVICE_AUTH_TOKEN=other\nSERVICE_AUTH_TOKEN=other\n",
        );
        // A second rotation, and a previous value that is in a file of its own.
        check(
            &format!("JWT_SECRET={strong}\nJWT_SECRET_PREVIOUS=older\n"),
            |file| {
                file.rotate("JWT_SECRET", "new");
            },
            &format!("JWT_SECRET=new\n#JWT_SECRET_PREVIOUS=older\nJWT_SECRET_PREVIOUS={strong}\n"),
        );
        check(
            &format!("JWT_SECRET={strong}\nJWT_SECRET_PREVIOUS_FILE=f\n"),
            |file| assert!(file.rotate("JWT_SECRET", "new")),
            &format!("#JWT_SECRET={strong}\nJWT_SECRET=new\nJWT_SECRET_PREVIOUS_FILE=f\n"),
        );
        for name in ["ENCRYPTION_KEY_PREVIOUS", "JWT_SECRT"] {
            check(
                &format!("A=1\n{name}=x"),
                |file| assert!(file.retire(name)),
                &format!("A=1\n#{name}=x\n"),
            );
        }
        check(
            "ENCRYPTION_KEY=change-me\nPORT=1\n",
            |file| {
                assert!(!file.rotate("ENCRYPTION_KEY", "new"));
                assert!(!file.retire("PORT"));
            },
            "ENCRYPTION_KEY=new\n",
        );
        check(
            "",
            |file| assert!(file.keep("ENCRYPTION_KEY", "a key", "new")),
            "#ENCRYPTION_KEY=a key\n",
        );
    }

    #[test]
    fn what_cannot_be_read_back_is_not_written() {
        for text in ["A='one\ntwo'\n", "A=1\nB='open\n"] {
            let (directory, mut file) = file(text);
            file.set("A", "new");
            assert!(file.save().is_err(), "{text}");
            let path = directory.path().join(".env");
            assert_eq!(fs::read_to_string(path).unwrap(), text);
        }
    }

    #[test]
    fn real_values() {
        let (_directory, file) = file("A=\"real # value\"\nB=change-me\nC=# why\nD=\n");
        assert!(file.has("A"));
        for name in ["B", "C", "D", "E"] {
            assert!(!file.has(name), "{name}");
        }
    }

    #[test]
    fn the_file_is_replaced_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("real");
        fs::write(&path, "X=1\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let link = directory.path().join(".env");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut file = EnvFile::open(&link).unwrap();
        file.set("A", "new");
        file.save().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "X=1\nA=new\n");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        let error = EnvFile::open(directory.path()).unwrap_err();
        assert!(error.to_string().ends_with("cannot be written"));
    }
}
