//! Files that `NAME_FILE` variables name.

use std::path::{Path, PathBuf};

use super::ownership::here;
use super::remedy::Remedy;
use super::source::read_secret_file;
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
    let path = Path::new(text);
    let is_in_directory = path.parent().is_some_and(Path::is_dir);
    let is_like_path = text.starts_with(['/', '.', '~']) || is_in_directory;
    !path.exists() && text.len() >= SHORTEST_VALUE && (!is_like_path || text.contains("://"))
}

/// Names of files are shorter, and secrets longer.
const SHORTEST_VALUE: usize = 20;

/// What to do about a file that has no value of `name`.
pub(super) fn written(path: &Path, name: &str) -> Remedy {
    if path.starts_with("%d") {
        return Remedy::note(format!(
            "%d is the directory of credentials in a unit file of systemd alone: put Environment={name}_FILE={} there, and take it out of here",
            path.display()
        ));
    }
    // Docker creates a directory where a mounted file does not exist.
    let directory = path.is_dir().then(|| Remedy::command("rmdir").arg(path));
    Remedy::default().then(directory).then(Remedy::note(format!(
        "write the value of {name} into {}, alone, and let only its user read it",
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

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
