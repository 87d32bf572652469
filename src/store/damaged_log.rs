//! A write-ahead log that is damaged in its middle ("WAL-mode File Format", section 4).
//!
//! After a crash SQLite applies the log up to the first frame that is not whole, without a word: what
//! follows is usually the rest of a change that was not finished, or of an earlier log.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{Flock, FlockType, fcntl_getlk};

use crate::config::{Remedy, here, index_path, is_open_here, page_bytes, unused_name, wal_path};

const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The last bit tells whether the checksums are of big-endian numbers.
const MAGIC: u32 = 0x377f_0682;

/// What is appended to the name of the log for a copy.
const SUFFIX: &str = ".damaged";

/// Of the index of the log: every process that has the database open holds this byte ("WAL-mode File
/// Format", section 2.3).
const IN_USE: u64 = 128;

/// A log whose frames up to its damaged one are all that SQLite takes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DamagedLog {
    database: PathBuf,
    log: PathBuf,
    /// The first frame that is not whole, counted from 1; 0 for the header.
    frame: u64,
    frames: u64,
    /// The changes behind it.
    changes: u64,
}

impl DamagedLog {
    /// Looks at the log of a database that no process has open. `None` if one has, or if the log is
    /// whole as far as can be known.
    ///
    /// The newest change may not have reached the disk as a whole when the power failed, and was
    /// not answered as done then. Each change is on the disk before the next one is written, so one
    /// with two more behind its damaged frame was.
    pub(crate) fn of(database: &Path) -> Option<Self> {
        if !has_unused_log(database) {
            return None;
        }
        let log = wal_path(database);
        let file = File::open(&log).ok()?;
        let found = Walk::of(BufReader::new(file), page_bytes(database)?).ok()??;
        Some(Self {
            database: database.to_owned(),
            log,
            frame: found.broken,
            frames: found.frames,
            changes: found.changes,
        })
    }

    /// Copies the log, for its owner alone.
    pub(super) fn keep(&self) -> io::Result<PathBuf> {
        let copy = unused_name(&self.log, SUFFIX);
        let mut options = OpenOptions::new();
        let mut to = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&copy)?;
        io::copy(&mut File::open(&self.log)?, &mut to)?;
        to.sync_all()?;
        Ok(copy)
    }

    /// Keeps the log, and lets SQLite take what is whole of it.
    pub(crate) fn remedy(&self) -> Remedy {
        Remedy::note(
            "this keeps the log under another name, and copies what is whole of it into the file:",
        )
        .then(
            Remedy::command("cp -pn")
                .arg(&self.log)
                .arg(unused_name(&self.log, SUFFIX))
                .joined(" && sqlite3")
                .arg(&self.database)
                .arg("PRAGMA wal_checkpoint(TRUNCATE)"),
        )
    }
}

impl fmt::Display for DamagedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            log,
            frame,
            frames,
            changes,
            ..
        } = self;
        let log = log.display();
        match frame {
            0 => write!(f, "the header of {log} is damaged")?,
            frame => write!(f, "frame {frame} of {frames} of {log} is damaged")?,
        }
        write!(
            f,
            ": SQLite takes nothing from there on, so that {changes} changes are lost; only the newest of them may not have been answered as done"
        )
    }
}

/// Whether a crash has left a log beside a database, which no process has opened since.
pub(crate) fn has_unused_log(database: &Path) -> bool {
    let log = wal_path(database).metadata();
    let has_frames = log.is_ok_and(|log| log.is_file() && log.len() > LOG_HEADER as u64);
    has_frames && !is_open_here(database) && !is_in_use(database)
}

/// The copies of damaged logs of a database.
pub(crate) fn kept_logs(database: &Path) -> Vec<PathBuf> {
    let log = wal_path(database);
    let (Some(name), Some(directory)) = (log.file_name(), log.parent()) else {
        return Vec::new();
    };
    let begin = [name.as_encoded_bytes(), SUFFIX.as_bytes()].concat();
    let entries = std::fs::read_dir(here(directory)).into_iter().flatten();
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(&begin))
        .map(|entry| directory.join(entry.file_name()))
        .collect();
    found.sort();
    found
}

fn is_in_use(database: &Path) -> bool {
    let Ok(index) = File::open(index_path(database)) else {
        return false;
    };
    let mut lock = Flock::from(FlockType::WriteLock);
    lock.start = IN_USE;
    lock.length = 1;
    fcntl_getlk(&index, &lock).is_ok_and(|holder| holder.is_some())
}

/// Two sums, each of which the next frame continues.
type Checksum = [u32; 2];

/// What a walk through the frames has found behind the first one that is not whole.
#[derive(Debug, Default, PartialEq, Eq)]
struct Walk {
    broken: u64,
    frames: u64,
    changes: u64,
}

impl Walk {
    /// `None` if the rest of the log may be of a change that was not finished. `page` is the size of
    /// the database's pages.
    fn of(mut log: impl io::Read, page: u64) -> io::Result<Option<Self>> {
        let mut begin = [0; LOG_HEADER];
        log.read_exact(&mut begin)?;
        let header = Header::parse(&begin);
        let size = header.as_ref().map_or(page, |header| header.page);
        let is_big = header
            .as_ref()
            .map_or(cfg!(target_endian = "big"), |header| header.is_big);
        let mut salts = header.as_ref().map(|header| header.salts);
        let mut before = header.as_ref().map(|header| header.checksum);
        let mut broken = header.is_none().then_some(0);
        let mut found = Self::default();
        // The ends of changes in frames that follow each other, and the most of them.
        let (mut ends, mut most) = (0, 0);
        let size = usize::try_from(size).map_err(io::Error::other)?;
        let mut bytes = vec![0; FRAME_HEADER + size];
        while log.read_exact(&mut bytes).is_ok() {
            found.frames += 1;
            let frame = Frame::parse(&bytes);
            let is_of_log = *salts.get_or_insert(frame.salts) == frame.salts;
            let is_next = is_of_log
                && before.is_some_and(|before| frame.checksum == sum(before, &bytes, is_big));
            if !is_next {
                broken = broken.or(Some(found.frames));
                ends = 0;
            }
            if is_of_log && broken.is_some() && frame.ends_change {
                ends += 1;
                found.changes += 1;
                most = ends.max(most);
            }
            before = is_of_log.then_some(frame.checksum);
        }
        found.broken = broken.unwrap_or_default();
        Ok((most > 1).then_some(found))
    }
}

struct Header {
    is_big: bool,
    page: u64,
    salts: [u32; 2],
    checksum: Checksum,
}

impl Header {
    /// `None` if it is damaged.
    fn parse(bytes: &[u8; LOG_HEADER]) -> Option<Self> {
        let magic = number(bytes, 0);
        let is_big = magic & 1 == 1;
        let page = number(bytes, 8);
        let checksum = [number(bytes, 24), number(bytes, 28)];
        let is_whole = magic & !1 == MAGIC
            && (512..=65_536).contains(&page)
            && add([0; 2], &bytes[..24], is_big) == checksum;
        is_whole.then(|| Self {
            is_big,
            page: page.into(),
            salts: [number(bytes, 16), number(bytes, 20)],
            checksum,
        })
    }
}

struct Frame {
    ends_change: bool,
    salts: [u32; 2],
    checksum: Checksum,
}

impl Frame {
    fn parse(bytes: &[u8]) -> Self {
        Self {
            // The size of the database after the change.
            ends_change: number(bytes, 4) != 0,
            salts: [number(bytes, 8), number(bytes, 12)],
            checksum: [number(bytes, 16), number(bytes, 20)],
        }
    }
}

/// The checksum of a frame behind one with the checksum `before`.
fn sum(before: Checksum, frame: &[u8], is_big: bool) -> Checksum {
    add(
        add(before, &frame[..8], is_big),
        &frame[FRAME_HEADER..],
        is_big,
    )
}

fn add([mut first, mut second]: Checksum, bytes: &[u8], is_big: bool) -> Checksum {
    let number = |bytes: &[u8]| {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if is_big {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    };
    for pair in bytes.chunks_exact(8) {
        first = first.wrapping_add(number(pair)).wrapping_add(second);
        second = second.wrapping_add(number(&pair[4..])).wrapping_add(first);
    }
    [first, second]
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 512;

    /// A log with a frame for each of these: the salt, and whether it ends a change.
    fn log(frames: &[(u32, bool)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for value in [MAGIC, 3_007_000, 512, 0, 7, 9] {
            bytes.extend(value.to_be_bytes());
        }
        let mut checksum = add([0; 2], &bytes, false);
        bytes.extend(checksum.iter().flat_map(|one| one.to_be_bytes()));
        for (index, (salt, ends)) in frames.iter().enumerate() {
            let mut frame = Vec::new();
            for value in [
                1 + u32::try_from(index).unwrap(),
                u32::from(*ends),
                *salt,
                9,
                0,
                0,
            ] {
                frame.extend(value.to_be_bytes());
            }
            frame.extend([u8::try_from(index).unwrap(); 512]);
            checksum = sum(checksum, &frame, false);
            frame[16..20].copy_from_slice(&checksum[0].to_be_bytes());
            frame[20..24].copy_from_slice(&checksum[1].to_be_bytes());
            bytes.extend(frame);
        }
        bytes
    }

    /// The damaged frame, and the changes behind it.
    fn found(bytes: &[u8]) -> Option<(u64, u64)> {
        let walk = Walk::of(bytes, PAGE).unwrap()?;
        Some((walk.broken, walk.changes))
    }

    fn frame(number: usize) -> std::ops::Range<usize> {
        let begin = LOG_HEADER + (number - 1) * (FRAME_HEADER + 512);
        begin..begin + FRAME_HEADER + 512
    }

    const CHANGES: [(u32, bool); 8] = [
        (7, false),
        (7, true),
        (7, false),
        (7, true),
        (7, true),
        (7, false),
        (7, false),
        (7, true),
    ];

    #[test]
    fn damage_in_the_middle() {
        let whole = log(&CHANGES);
        assert_eq!(found(&whole), None);
        for at in [
            frame(3).start + 100,
            frame(3).start + 9,
            frame(3).start + 18,
        ] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            assert_eq!(found(&bytes), Some((3, 3)), "{at}");
        }
        let mut bytes = whole.clone();
        bytes[frame(3)].fill(0);
        assert_eq!(found(&bytes), Some((3, 3)));
        // The end of a change is damaged, and one change follows.
        let mut bytes = whole.clone();
        bytes[frame(5).start + 100] ^= 0x55;
        assert_eq!(found(&bytes), Some((5, 2)));
        let mut bytes = whole;
        bytes[16] ^= 0x55;
        assert_eq!(found(&bytes), Some((0, 4)));
    }

    /// The newest change did not reach the disk as a whole.
    #[test]
    fn what_a_loss_of_power_leaves() {
        let whole = log(&CHANGES);
        for number in 6..=8 {
            let mut bytes = whole.clone();
            bytes[frame(number).start + 100] ^= 0x55;
            assert_eq!(found(&bytes), None, "{number}");
            bytes[frame(number)].fill(0);
            assert_eq!(found(&bytes), None, "{number}");
            assert_eq!(found(&whole[..frame(number).start + 50]), None);
        }
    }

    #[test]
    fn what_is_left_of_an_earlier_log() {
        let mut frames = CHANGES;
        for frame in &mut frames[2..] {
            frame.0 = 6;
        }
        assert_eq!(found(&log(&frames)), None);
        // A shorter change has taken the place of one that was not finished.
        let mut bytes = log(&CHANGES);
        let other = log(&[
            (7, false),
            (7, true),
            (7, false),
            (7, true),
            (7, true),
            (7, true),
        ]);
        bytes[frame(6)].copy_from_slice(&other[frame(6)]);
        assert_eq!(found(&bytes), None);
        assert_eq!(found(&[0; 5000]), None);
    }
}
