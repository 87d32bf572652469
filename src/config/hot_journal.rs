//! A rollback journal that is left beside a SQLite file ("Database File Format", section 3): of a
//! change that was interrupted, or of another state of the file. SQLite copies either into the file.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::process::{Flock, FlockType, fcntl_getlk};

use super::beside::{has_hot_journal, is_open_here, journal_path, wal_path};
use super::database_header::{HEADER_BYTES, Header};
use super::ownership::{move_away, unused_name};
use super::remedy::Remedy;

/// A change writes its journal before the file, and both within moments, unless it takes this long.
const OLDER: Duration = Duration::from_secs(10 * 60);

/// The begin of a journal's header, and the size of what is read of it.
const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
const JOURNAL_HEADER: usize = 28;

/// As many records as the journal has room for.
const COUNT_BY_SIZE: u32 = u32::MAX;

/// A journal that would damage the file, if SQLite undid with it what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtherJournal {
    database: PathBuf,
    journal: PathBuf,
    sign: Sign,
}

/// What shows that a journal is of another state of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// The file has been changed so often since it was made, or was another one.
    Counters {
        journal: u32,
        file: u32,
    },
    /// The file has a write-ahead log, and a journal is then made only to set that up or to end it.
    WalMode,
    Older(Duration),
}

impl OtherJournal {
    /// `None` if there is no journal, or one that SQLite should use.
    pub(crate) fn beside(database: &Path) -> Option<Self> {
        if !has_hot_journal(database) || is_open_here(database) {
            return None;
        }
        let file = database.is_file().then(|| File::open(database).ok())??;
        // The change has not ended.
        if is_locked_to_write(&file) {
            return None;
        }
        let header = Header::of(database)?;
        let path = journal_path(database);
        let journal = Journal::read(&path)?;
        let age = file
            .metadata()
            .and_then(|found| found.modified())
            .ok()
            .and_then(|changed| changed.duration_since(journal.changed).ok());
        let has_log = std::fs::metadata(wal_path(database)).is_ok_and(|log| log.len() > 0);
        let sign = journal.sign(&header, has_log, age.unwrap_or_default())?;
        Some(Self {
            database: database.to_owned(),
            journal: path,
            sign,
        })
    }

    /// Takes the journal away from the file.
    pub(crate) fn remedy(&self) -> Remedy {
        let keep = Remedy::note(
            "this keeps the journal under another name; the file stays as it is, and has everything:",
        );
        let Sign::Older(_) = self.sign else {
            return keep.then(move_away(&self.journal));
        };
        let old = unused_name(&self.journal, ".old");
        keep.then(move_away(&self.journal))
            .then(
                Remedy::command("sqlite3")
                    .arg(&self.database)
                    .arg("PRAGMA quick_check"),
            )
            .or(Remedy::note(
                "only if that does not print ok: the journal is of this file after all, put it back, and SQLite undoes the interrupted change:",
            )
            .then(Remedy::command("mv -n").arg(old).arg(&self.journal))
            .then(
                Remedy::command("sqlite3")
                    .arg(&self.database)
                    .arg("PRAGMA quick_check"),
            ))
    }
}

impl fmt::Display for OtherJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the rollback journal {} is of another state of {}, and SQLite would damage the file with it: ",
            self.journal.display(),
            self.database.display()
        )?;
        match self.sign {
            Sign::Counters { journal, file } => write!(
                f,
                "it was made at change {journal}, and the file is at change {file}"
            ),
            Sign::WalMode => {
                f.write_str("the file is in WAL mode, in which no change makes such a journal")
            }
            Sign::Older(age) => write!(
                f,
                "it is {} min older than the file, as when another copy of the file took its place",
                age.as_secs() / 60
            ),
        }
    }
}

/// Keeps copies of the file and its journal, and lets SQLite undo the interrupted change. The copies
/// belong together, too.
pub(crate) fn undo_interrupted(database: &Path) -> Remedy {
    let copy = unused_name(database, ".before");
    Remedy::command("cp -pn")
        .arg(database)
        .arg(&copy)
        .joined(" && cp -pn")
        .arg(journal_path(database))
        .arg(journal_path(&copy))
        .joined(" && sqlite3")
        .arg(database)
        .arg("PRAGMA quick_check")
}

/// What a journal tells about the file before the change.
#[derive(Debug)]
struct Journal {
    /// The header of the first page, if the change was about to write that page.
    header: Option<Header>,
    has_other_pages: bool,
    changed: SystemTime,
}

impl Journal {
    /// `None` for a file that SQLite would not use as a journal.
    fn read(path: &Path) -> Option<Self> {
        let file = path.is_file().then(|| File::open(path).ok())??;
        let found = file.metadata().ok()?;
        let mut journal = Self {
            header: None,
            has_other_pages: false,
            changed: found.modified().ok()?,
        };
        let mut at = 0;
        let mut sizes = None;
        let mut begin = [0; JOURNAL_HEADER];
        // A change that needs more memory than SQLite's cache begins another part.
        while file.read_exact_at(&mut begin, at).is_ok() && begin.starts_with(&MAGIC) {
            // Those of the first part count.
            let (sector, page) = *sizes.get_or_insert((number(&begin, 20), number(&begin, 24)));
            if sector < 32 || page < 512 {
                return None;
            }
            let (sector, record) = (u64::from(sector), u64::from(page) + 8);
            let first = at + sector;
            let room = found.len().saturating_sub(first) / record;
            let records = match number(&begin, 8) {
                COUNT_BY_SIZE => room,
                count => room.min(count.into()),
            };
            for index in 0..records {
                journal.add(&file, first + index * record)?;
                if journal.is_known() {
                    return Some(journal);
                }
            }
            at = (first + records * record).next_multiple_of(sector);
        }
        sizes.map(|_| journal)
    }

    /// Reads the record at this offset.
    fn add(&mut self, file: &File, at: u64) -> Option<()> {
        let mut page = [0; 4];
        file.read_exact_at(&mut page, at).ok()?;
        if u32::from_be_bytes(page) == 1 {
            let mut header = [0; HEADER_BYTES];
            file.read_exact_at(&mut header, at + 4).ok()?;
            self.header = Header::from_bytes(header);
        } else {
            self.has_other_pages = true;
        }
        Some(())
    }

    fn is_known(&self) -> bool {
        self.header.is_some() && self.has_other_pages
    }

    /// What shows that the journal is of another state than a file with this header, which was
    /// written so long after it.
    fn sign(&self, file: &Header, has_log: bool, age: Duration) -> Option<Sign> {
        if let Some(before) = &self.header {
            let (journal, file) = (before.changes(), file.changes());
            if file != journal && file != journal.wrapping_add(1) {
                return Some(Sign::Counters { journal, file });
            }
        }
        if file.is_in_wal_mode() && (has_log || !self.is_of_mode(file)) {
            return Some(Sign::WalMode);
        }
        (age > OLDER).then_some(Sign::Older(age))
    }

    /// Whether a change that sets the mode of a file, which is in WAL mode now, may have made the
    /// journal.
    fn is_of_mode(&self, file: &Header) -> bool {
        let Some(before) = &self.header else {
            return false;
        };
        if before.is_in_wal_mode() {
            // About to leave the mode.
            return file.changes() == before.changes() && !self.has_other_pages;
        }
        // It has entered the mode by itself, or a file in that mode was restored into it, which counts
        // as a change of the schema.
        let is_restored = file.schema() == before.schema().wrapping_add(1);
        file.changes() == before.changes().wrapping_add(1) && (!self.has_other_pages || is_restored)
    }
}

fn number(bytes: &[u8; JOURNAL_HEADER], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Whether a process is in the middle of a change ("File Locking And Concurrency", section 3):
/// it holds the lock PENDING or RESERVED.
fn is_locked_to_write(file: &File) -> bool {
    let mut lock = Flock::from(FlockType::WriteLock);
    lock.start = 0x4000_0000;
    lock.length = 2;
    fcntl_getlk(file, &lock).is_ok_and(|holder| holder.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 512;
    const OTHER: u32 = 5;

    fn page(mode: u8, changes: u32) -> Vec<u8> {
        page_of(mode, changes, 3)
    }

    fn page_of(mode: u8, changes: u32, schema: u32) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        page[40..44].copy_from_slice(&schema.to_be_bytes());
        page[..16].copy_from_slice(b"SQLite format 3\0");
        page[18..20].fill(mode);
        page[24..28].copy_from_slice(&changes.to_be_bytes());
        page
    }

    /// A journal in parts, each with these pages.
    fn journal(parts: &[Vec<(u32, Vec<u8>)>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in parts {
            let begin = bytes.len();
            bytes.extend(MAGIC);
            let count = u32::try_from(part.len()).unwrap();
            for value in [count, 0, 9, 512, 512] {
                bytes.extend(value.to_be_bytes());
            }
            bytes.resize(begin + 512, 0);
            for (number, page) in part {
                bytes.extend(number.to_be_bytes());
                bytes.extend(page);
                bytes.extend([0; 4]);
            }
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes
    }

    fn sign(file: &[u8], parts: &[Vec<(u32, Vec<u8>)>], log: &[u8]) -> Option<Sign> {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("todo.db");
        std::fs::write(journal_path(&database), journal(parts)).unwrap();
        std::fs::write(&database, file).unwrap();
        std::fs::write(wal_path(&database), log).unwrap();
        OtherJournal::beside(&database).map(|found| found.sign)
    }

    #[test]
    fn journals_of_interrupted_changes() {
        let other = || (OTHER, vec![0; PAGE]);
        for (file, parts) in [
            // The header was written, or not yet, or is not in the journal yet.
            (page(1, 8), vec![vec![other(), (1, page(1, 7))]]),
            (page(1, 7), vec![vec![other()], vec![(1, page(1, 7))]]),
            (page(1, 7), vec![vec![other()]]),
            // The mode was about to change, or had changed.
            (page(2, 8), vec![vec![(1, page(1, 7))]]),
            (page(2, 7), vec![vec![(1, page(2, 7))]]),
            (page(1, 8), vec![vec![(1, page(2, 7))]]),
            // A restore of a file in WAL mode into one without.
            (page_of(2, 8, 4), vec![vec![(1, page(1, 7)), other()]]),
        ] {
            assert_eq!(sign(&file, &parts, b""), None, "{:?}", &file[18..28]);
        }
    }

    #[test]
    fn journals_of_other_states() {
        let other = || (OTHER, vec![0; PAGE]);
        for (file, parts, log) in [
            (page(2, 7), vec![vec![other()]], &b""[..]),
            (page(2, 7), vec![vec![(1, page(2, 7)), other()]], b""),
            (page(2, 8), vec![vec![(1, page(1, 7))]], b"a log"),
            // The copy had left WAL mode, and the file has been changed as often since.
            (page(2, 8), vec![vec![(1, page(1, 7)), other()]], b""),
            (page(2, 7), vec![vec![(1, page(1, 7))]], b""),
        ] {
            let found = sign(&file, &parts, log);
            assert_eq!(found, Some(Sign::WalMode), "{:?}", &file[18..28]);
        }
        for changes in [6, 9, 700] {
            let parts = [vec![other(), other()], vec![(1, page(1, 7))]];
            let found = sign(&page(1, changes), &parts, b"");
            let counters = Sign::Counters {
                journal: 7,
                file: changes,
            };
            assert_eq!(found, Some(counters));
        }
    }

    #[test]
    fn a_file_that_this_process_has_open_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("todo.db");
        std::fs::write(&database, page(1, 9)).unwrap();
        std::fs::write(journal_path(&database), journal(&[vec![(1, page(1, 7))]])).unwrap();
        assert!(OtherJournal::beside(&database).is_some());
        let _open = File::open(&database).unwrap();
        assert_eq!(OtherJournal::beside(&database), None);
    }
}
