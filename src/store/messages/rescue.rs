//! Remedies for a damaged SQLite file. Whatever is left of it is copied, never changed.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::config::{
    Remedy, begin_anew, has_damaged_begin, in_place_of_database, index_path, install_for,
    missing_pages, move_away, shell_word, unused_name, wal_path, was_migrated,
};

use super::no_database::kind_of;
use super::place::Place;

/// A dump that had errors ends with ROLLBACK.
const AS_FAR_AS_READABLE: &str =
    " | sed -e 's/^INSERT INTO/INSERT OR IGNORE INTO/' -e 's/^ROLLBACK; -- due to errors/COMMIT;/'";

impl Place<'_> {
    /// Saves what can be read of a damaged file into another one.
    pub(super) fn rescue(self) -> Remedy {
        let Some(file) = self.file() else {
            return Remedy::note("stop the daemon and restore a backup of the file");
        };
        // The log of an open file may have its first page.
        if let Some(packed) = Packed::of(file) {
            return packed.unpacked(file);
        }
        let rescued = unused_name(file, ".rescued");
        Remedy::default()
            .then(truncated(file).map(Remedy::note))
            .then(Remedy::note("stop the daemon first; this saves what can be read, with everything since the last backup:"))
            .then(copied_rows(file, &rescued))
            .then(Remedy::note(format!(
                "compare the tasks in {} with what you expect before you put it in the place of {}; what is missing in it can be taken from a backup",
                rescued.display(),
                file.display()
            )))
    }

    /// What is there is kept under another name.
    pub(super) fn not_a_database(self) -> Remedy {
        let Some(file) = self.file() else {
            return Remedy::note(
                "let DATABASE_URL name a SQLite file, or a file that is not there yet",
            );
        };
        let other = in_place_of_database(file);
        if let Some(remedy) = other.as_ref().filter(|_| file.is_dir()) {
            return remedy.clone();
        }
        if has_damaged_begin(file) {
            return with_begin(file);
        }
        if let Some(packed) = Packed::of(file) {
            return packed.unpacked(file);
        }
        if was_migrated(file) {
            return Remedy::note(format!(
                "restore a backup of {}: it was the database of todoctl, and something has overwritten it",
                file.display()
            ));
        }
        if let Some(remedy) = other {
            return remedy;
        }
        let anew = anew(file);
        if let Some(kind) = kind_of(file) {
            let anew: Vec<&str> = anew.commands().collect();
            return Remedy::note(format!(
                "the file is {kind}: stop the daemon, and put the database, or a whole backup of it, there"
            ))
            .then(Remedy::note(format!(
                "only for a new service, without that data: {}",
                anew.join(" && ")
            )));
        }
        Remedy::note("it is kept under another name; a new database takes its place").then(anew)
    }
}

/// Keeps the file under another name, and makes a database in its place.
fn anew(file: &Path) -> Remedy {
    // An empty file shows that the new database is wanted: files beside it would be taken for
    // those of a lost one.
    move_away(file)
        .then(begin_anew(file))
        .then(Remedy::command("chmod 600").arg(file))
        .then(Remedy::command("todoctl migrate up"))
}

/// Makes a file again of which every row can be read.
pub(crate) fn made_again_from_rows(file: &Path) -> Remedy {
    let rescued = unused_name(file, ".rescued");
    // A log of the old file would be applied to the new one.
    let unused = Remedy::command("test ! -s").arg(wal_path(file));
    Remedy::note("stop the daemon first; this makes the file again from its rows, and keeps the damaged one; no backup is needed:")
        .then(copied_rows(file, &rescued))
        .then(Remedy::command("sqlite3").arg(&rescued).arg("PRAGMA integrity_check"))
        .then(Remedy::note("this does nothing while the daemon has its log there:"))
        .then(
            unused
                .joined(&format!(" && {}", move_away(file)))
                .joined(" && mv -n")
                .arg(&rescued)
                .arg(file),
        )
}

/// Copies the rows of a file into a new one, by way of statements. Both have tasks of all users.
fn copied_rows(file: &Path, rescued: &Path) -> Remedy {
    let text = unused_name(file, ".rescued.sql");
    // Debian's sqlite3 has no .recover. Behind a damaged page, .dump reads from the end, and so may
    // have a row twice.
    private_file(&text, file)
        .then(private_file(rescued, file))
        .then(
            Remedy::command("sqlite3")
                .arg(file)
                .arg(".dump")
                .joined(AS_FAR_AS_READABLE)
                .write_to(&text),
        )
        .then(Remedy::command("sqlite3").arg(rescued).read_from(&text))
}

/// What is missing at the end of a file.
fn truncated(file: &Path) -> Option<String> {
    let (found, whole) = missing_pages(file)?;
    Some(format!(
        "{} has {found} of {whole} pages: it was copied in part, or the disk was full; what its end had is in no other file but a backup",
        file.display()
    ))
}

/// Creates an empty file that only the owner of the database may read.
fn private_file(path: &Path, database: &Path) -> Remedy {
    let owner = database.metadata().map_or(0, |found| found.uid());
    Remedy::command(install_for(owner, "-m 600"))
        .arg("/dev/null")
        .arg(path)
}

/// A backup in another form, in the place of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packed {
    /// By this program, which unpacks it with `-dc`.
    Compressed(&'static str),
    /// Statements, as `.dump` writes them.
    Dump,
    /// Several files; the command lists them.
    Archive(&'static str),
}

/// What files of these kinds begin with.
const BEGINS: [(&[u8], Packed); 7] = [
    (&[0x1f, 0x8b], Packed::Compressed("gzip")),
    (&[0x28, 0xb5, 0x2f, 0xfd], Packed::Compressed("zstd")),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], Packed::Compressed("xz")),
    (b"BZh", Packed::Compressed("bzip2")),
    (b"PRAGMA foreign_keys=OFF;", Packed::Dump),
    (b"BEGIN TRANSACTION;", Packed::Dump),
    (b"PK\x03\x04", Packed::Archive("unzip -l")),
];

/// In the header of the first file of a tar archive.
const TAR: (usize, &[u8]) = (257, b"ustar");

impl Packed {
    fn of(file: &Path) -> Option<Self> {
        let mut begin = Vec::new();
        let opened = file.is_file().then(|| File::open(file).ok()).flatten()?;
        opened.take(512).read_to_end(&mut begin).ok()?;
        if begin
            .get(TAR.0..)
            .is_some_and(|rest| rest.starts_with(TAR.1))
        {
            return Some(Self::Archive("tar -tf"));
        }
        let known = BEGINS.iter().find(|(bytes, _)| begin.starts_with(bytes));
        known.map(|(_, kind)| *kind)
    }

    /// Makes a database of it, which takes its place.
    fn unpacked(self, file: &Path) -> Remedy {
        let new = unused_name(file, ".unpacked");
        let (what, unpack) = match self {
            Self::Compressed(program) => (
                format!("compressed by {program}"),
                Remedy::command(format!("{program} -dc"))
                    .read_from(file)
                    .write_to(&new),
            ),
            Self::Dump => (
                "a dump in SQL".to_owned(),
                Remedy::command("sqlite3").arg(&new).read_from(file),
            ),
            Self::Archive(list) => {
                return Remedy::note("the file is an archive: stop the daemon, and put the database that is in it in its place; this lists what it has:")
                    .then(Remedy::command(list).arg(file));
            }
        };
        let logs = [wal_path(file), index_path(file)]
            .into_iter()
            .filter(|log| log.exists());
        let logs = logs.fold(Remedy::default(), |all, log| all.then(move_away(&log)));
        Remedy::note(format!("the file is {what}; if the daemon runs, end it with kill -9: as it stops, it copies its log into the file; this makes a database of it, which takes its place; what was there is kept:"))
            .then(private_file(&new, file))
            .then(unpack)
            .then(Remedy::command("sqlite3").arg(&new).arg("PRAGMA integrity_check"))
            .then(move_away(file))
            .then(logs)
            .then(Remedy::command("mv -n").arg(&new).arg(file))
    }
}

/// Corrects the first bytes of a copy, which then takes the place of the file.
fn with_begin(file: &Path) -> Remedy {
    let rescued = unused_name(file, ".rescued");
    let copy = shell_word(&rescued);
    Remedy::note("only the first bytes of the database are damaged: stop the daemon; this corrects a copy, which takes its place:")
        .then(Remedy::command("cp -p").arg(file).arg(&rescued))
        .then(Remedy::command(format!(
            "printf 'SQLite format 3\\000' | dd status=none conv=notrunc of={copy}"
        )))
        .then(Remedy::command(format!(
            "printf '\\001\\001' | dd status=none conv=notrunc bs=1 seek=18 of={copy}"
        )))
        .then(Remedy::command("sqlite3").arg(&rescued).arg("PRAGMA integrity_check"))
        .then(move_away(file))
        .then(Remedy::command("mv -n").arg(&rescued).arg(file))
}
