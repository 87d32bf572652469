//! Where a database is that is not where it should be.

use std::path::{Path, PathBuf};

use super::beside::{secrets_directory, wal_path};
use super::database_header::is_database;
use super::in_the_way::OF_SERVICE;
use super::other_places::url;
use super::ownership::{here, move_away, writable};
use super::remedy::Remedy;

/// How the folder of the database at `path` gets to be writable. Where it does not exist, `DATABASE_URL`
/// may lead to the wrong one, and then nothing that can be pasted makes an empty database.
pub(crate) fn writable_folder(path: &Path) -> Remedy {
    let folder = here(path.parent().unwrap_or(path));
    let remedy = writable(folder);
    let is_created = remedy.commands().any(|one| one.starts_with("install -d"));
    let (Ok(whole), Ok(current)) = (std::path::absolute(path), std::env::current_dir()) else {
        return remedy;
    };
    if folder.exists() || !is_created {
        return remedy;
    }
    let near = beside_folder(&whole).into_iter().next();
    let meant = near.as_ref().map(|found| {
        Remedy::note(format!(
            "{} is a database: if it is that of the service, correct DATABASE_URL: todoctl config set DATABASE_URL={}",
            found.display(),
            url(found)
        ))
    });
    let of_working_directory = folder.is_relative().then(|| {
        Remedy::note(format!(
            "the path in DATABASE_URL is relative, and the working directory is {}: {} is meant here; start the daemon in the folder of the service (WorkingDirectory= in a unit), or name the whole path",
            current.display(),
            whole.display()
        ))
    });
    let is_doubtful = near.is_some() || (folder.is_relative() && current == Path::new("/"));
    let create = if is_doubtful {
        let folder = whole.parent().unwrap_or(&whole);
        let commands = writable(folder);
        let commands: Vec<&str> = commands.commands().collect();
        Remedy::note(format!(
            "only for a new service, as root: {}",
            commands.join(" && ")
        ))
    } else {
        Remedy::note("if the service had tasks, correct DATABASE_URL; for a new one:").then(remedy)
    };
    Remedy::default()
        .then(of_working_directory)
        .then(meant)
        .then(create)
}

/// The databases of the same name in the folders beside that of `path`.
fn beside_folder(path: &Path) -> Vec<PathBuf> {
    let named = || Some((path.parent()?, path.file_name()?));
    let Some((folder, name)) = named() else {
        return Vec::new();
    };
    let around = folder.parent().map(folders_in).unwrap_or_default();
    let around = around.into_iter().filter(|one| one != folder);
    let files = around.map(|one| one.join(name));
    files.filter(|file| is_database(file)).collect()
}

/// The same in the folders below that of `path`, as after `cp -r backup/data data`, where data exists.
fn below_folder(path: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Vec::new();
    };
    let files = folders_in(folder).into_iter().map(|one| one.join(name));
    files.filter(|file| is_database(file)).collect()
}

/// Those of them that are no other service's: their folder has the same name, or nothing else is there but
/// the files of the database.
fn below_alone(path: &Path) -> Vec<PathBuf> {
    let folder = here(path.parent().unwrap_or(path));
    let name = path.file_name().unwrap_or_default();
    let entries = || folder.read_dir().into_iter().flatten().flatten();
    let is_alone = |below: &Path| {
        entries().map(|entry| entry.file_name()).all(|entry| {
            OF_SERVICE.iter().any(|own| entry == *own)
                || Some(entry.as_os_str()) == below.file_name()
                || entry
                    .as_encoded_bytes()
                    .starts_with(name.as_encoded_bytes())
        })
    };
    let mut found = below_folder(path);
    found.retain(|one| {
        let below = one.parent().unwrap_or(one);
        below.file_name() == folder.file_name() || is_alone(below)
    });
    found
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = here(folder).read_dir().into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = entries
        .map(|entry| folder.join(entry.file_name()))
        .filter(|one| one.is_dir())
        .collect();
    all.sort();
    all
}

/// The only one of them. Of several, a person has to choose.
fn only(mut found: Vec<PathBuf>) -> Option<PathBuf> {
    let one = found.pop()?;
    found.is_empty().then_some(one)
}

/// A database that is probably the one that `path`, which does not exist, should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meant {
    /// The folder of the `.env` file has it, at the place that it has in a folder that is gone.
    Renamed(PathBuf),
    /// It is one folder deeper.
    Deeper(PathBuf),
    /// Its folder does not exist, and this is in one beside it: that of the service, or one with a
    /// similar name.
    Beside(PathBuf),
}

impl Meant {
    pub(crate) fn instead_of(path: &Path, env_file: Option<&Path>) -> Option<Self> {
        let service = env_file.and_then(service_of);
        let service = service.as_deref();
        let has_folder = path.parent().is_some_and(|folder| here(folder).exists());
        let renamed = || in_service(path, service?).find(|(gone, _)| is_gone(gone));
        if let Some((_, found)) = renamed() {
            return Some(Self::Renamed(found));
        }
        if has_folder {
            return only(below_alone(path)).map(Self::Deeper);
        }
        let whole = std::path::absolute(path).ok()?;
        let mut found = beside_folder(&whole);
        found.retain(|one| {
            service.is_some_and(|service| one.starts_with(service)) || is_similar(&whole, one)
        });
        only(found).map(Self::Beside)
    }
}

/// What may be meant instead of `path`, which is there.
pub(crate) fn may_be_meant(path: &Path, env_file: &Path) -> Vec<PathBuf> {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let Some(service) = service_of(env_file) else {
        return Vec::new();
    };
    let of_service = in_service(&whole, &service).map(|(_, found)| found);
    let mut found: Vec<PathBuf> = of_service.chain(below_alone(&whole)).collect();
    let beside = beside_folder(&whole).into_iter();
    found.extend(beside.filter(|one| one.starts_with(&service) || is_similar(&whole, one)));
    found.retain(|one| *one != whole);
    found.sort();
    found.dedup();
    found
}

/// The folder of the `.env` file.
pub(crate) fn service_of(env_file: &Path) -> Option<PathBuf> {
    let whole = std::path::absolute(env_file).ok()?;
    whole.parent().map(Path::to_owned)
}

/// The databases in the folder of the service that have the end of `path`, and which folder that one
/// stands for. The longest end comes first.
fn in_service<'a>(
    path: &'a Path,
    service: &'a Path,
) -> impl Iterator<Item = (&'a Path, PathBuf)> + use<'a> {
    let above = path.ancestors().skip(1).filter(|_| path.is_absolute());
    let folders: Vec<&Path> = above.collect();
    folders.into_iter().rev().filter_map(move |folder| {
        let found = service.join(path.strip_prefix(folder).ok()?);
        (folder != service && is_database(&found)).then_some((folder, found))
    })
}

fn is_gone(path: &Path) -> bool {
    path.symlink_metadata().is_err()
}

/// Whether the name of one folder may be a misspelling of the other, and not the next of a series.
fn is_similar(one: &Path, other: &Path) -> bool {
    let folder = |path: &Path| path.parent()?.file_name()?.to_str().map(str::to_owned);
    let (Some(one), Some(other)) = (folder(one), folder(other)) else {
        return false;
    };
    let without_digits = |name: &str| name.replace(|sign: char| sign.is_ascii_digit(), "");
    without_digits(&one) != without_digits(&other)
        && one.len().max(other.len()) > 3
        && strsim::damerau_levenshtein(&one, &other) == 1
}

/// How the database at `path`, which is missing, gets there, as far as others are near.
pub(crate) fn found_again(path: &Path) -> Option<Remedy> {
    if let Some(found) = only(below_folder(path))
        && !wal_path(path).exists()
    {
        return Some(
            Remedy::note("a database of this name is in a directory below it:")
                .then(moved_up(&found, path)),
        );
    }
    let directory = path.parent()?;
    let around = here(directory).read_dir().ok()?.flatten();
    let changed = |file: &PathBuf| file.metadata().and_then(|found| found.modified()).ok();
    let newest = around
        .map(|entry| directory.join(entry.file_name()))
        .filter(|file| is_database(file))
        .max_by_key(changed)?;
    Some(Remedy::note(format!(
        "the newest database beside it; if it is a backup of it: {}",
        Remedy::command("cp -p").arg(newest).arg(path)
    )))
}

/// Moves a database with its log and its secrets to where it should be, and replaces nothing.
pub(crate) fn moved_up(found: &Path, path: &Path) -> Remedy {
    let files = [
        (wal_path(found), wal_path(path)),
        (secrets_directory(found), secrets_directory(path)),
        (found.to_owned(), path.to_owned()),
    ];
    let moved = files
        .iter()
        .filter(|(from, to)| from.exists() && is_gone(to));
    moved.fold(Remedy::default(), |all, (from, to)| {
        all.then(Remedy::command("mv -n").arg(from).arg(to))
    })
}

/// Copies a database to a place from which its files were moved away. Its secrets replace newer ones,
/// with which nothing of it can be read.
pub(crate) fn copied_up(found: &Path, path: &Path) -> Remedy {
    let secrets = secrets_directory(path);
    let has_secrets = secrets_directory(found).exists() && secrets.exists();
    let away = has_secrets.then(|| move_away(&secrets));
    let files = [wal_path(found), secrets_directory(found), found.to_owned()];
    let to = here(path.parent().unwrap_or(path)).join("");
    let files = files.iter().filter(|file| file.exists());
    Remedy::default()
        .then(away)
        .then(files.fold(Remedy::command("cp -rp"), Remedy::arg).arg(to))
}
