//! Where else the file of a SQLite URL may have been meant to be.

use std::path::{Path, PathBuf};

use super::beside::resolved;
use super::database_header::is_database;
use super::ownership::here;
use super::reader::Reader;
use super::remedy::Remedy;

/// Hosts of this machine, which a URL of a SQLite file does not name.
const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The first folder of a relative path, where it is no folder that anybody wants.
fn misread(path: &Path) -> Option<(&str, &'static str)> {
    let first = path.iter().next()?.to_str()?;
    if first == "~" {
        Some((first, "only a shell takes it for your home directory"))
    } else if HOSTS.contains(&first) {
        Some((first, "a SQLite file has no host"))
    } else {
        None
    }
}

/// Warns of a path that begins with `~` or with a host, which are names of folders here.
pub(super) fn warn_of_folder(reader: &mut Reader<'_>, name: &'static str, path: &Path) {
    let Some((folder, why)) = misread(path) else {
        return;
    };
    let found = other_places(path, None)
        .into_iter()
        .find(|one| is_database(one));
    let remedy = match found {
        Some(meant) => Remedy::note(format!(
            "{} is a database; this names it; restart the daemon afterwards, and look for what was stored meanwhile in {}",
            meant.display(),
            path.display()
        ))
        .then(Remedy::set(name, url(&meant))),
        None => Remedy::note(format!(
            "stop the daemon, move {} to where the database should be, and name that whole path in {name}, as in sqlite:///var/lib/todoctl/todo.db",
            here(path.parent().unwrap_or(path)).display()
        )),
    };
    reader.warn(
        name,
        format!(
            "begins with {folder}, which is a folder of that name in the working directory here ({why})"
        ),
        remedy,
    );
}

/// The URL of a file.
pub(crate) fn url(file: &Path) -> String {
    format!("sqlite://{}", file.display())
}

/// The files that the same text names for another program, in another working directory, or with
/// another number of slashes; `env_file` is where the text is from.
pub(crate) fn other_places(path: &Path, env_file: Option<&Path>) -> Vec<PathBuf> {
    let mut places = Vec::new();
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if path.is_absolute() {
        places.extend(path.strip_prefix("/").map(whole));
    } else {
        places.push(Path::new("/").join(path));
        let folder = env_file.and_then(Path::parent);
        places.extend(folder.map(|folder| whole(&folder.join(path))));
    }
    if let Some((folder, _)) = misread(path)
        && let Ok(rest) = path.strip_prefix(folder)
    {
        places.extend([whole(rest), Path::new("/").join(rest)]);
        places.extend(std::env::home_dir().map(|home| home.join(rest)));
    }
    let own = resolved(path);
    let is_other = |place: &PathBuf| resolved(place).canonicalize().ok() != own.canonicalize().ok();
    places.retain(|place| place.is_file() && is_other(place));
    places.dedup();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_nobody_wants() {
        let folder = |path| misread(Path::new(path)).map(|(folder, _)| folder);
        assert_eq!(folder("~/todo.db"), Some("~"));
        assert_eq!(folder("localhost/data/todo.db"), Some("localhost"));
        for path in ["data/todo.db", "/~/todo.db", "~todo.db", "my ~/todo.db"] {
            assert_eq!(folder(path), None, "{path}");
        }
    }

    #[test]
    fn only_other_files_that_exist() {
        let own = tempfile::tempdir().unwrap();
        let env_file = own.path().join(".env");
        let other = own.path().join("todo.db");
        let of = |path: &Path| other_places(path, Some(&env_file));
        assert_eq!(of(Path::new("todo.db")), Vec::<PathBuf>::new());
        std::fs::write(&other, "").unwrap();
        assert_eq!(of(Path::new("todo.db")), std::slice::from_ref(&other));
        assert_eq!(of(&other), Vec::<PathBuf>::new());
    }
}
