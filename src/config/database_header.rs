//! The first bytes of a SQLite file ("Database File Format", section 1.3).

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

pub(super) const HEADER_BYTES: usize = 100;

/// The begin of every database.
const MAGIC: &[u8] = b"SQLite format 3\0";

const SMALLEST_PAGE: u16 = 512;

/// Payload fractions, which are always these.
const FRACTIONS: [u8; 3] = [64, 32, 32];

/// Whether the file begins as a database does.
pub(crate) fn is_database(file: &Path) -> bool {
    first_bytes(file).is_some_and(|begin| begin.starts_with(MAGIC))
}

/// Whether only the first 20 bytes of the header of a database are damaged: its name, or the versions
/// of its format, of which there are two.
pub(crate) fn has_damaged_begin(file: &Path) -> bool {
    first_bytes(file).is_some_and(|begin| {
        let page = u16::from_be_bytes([begin[16], begin[17]]);
        // The largest page has no room in 16 bits, and is written as 1.
        let is_page = page == 1 || page >= SMALLEST_PAGE && page.is_power_of_two();
        let has_name = begin.starts_with(MAGIC);
        let has_versions = begin[18..20].iter().all(|version| matches!(version, 1 | 2));
        (has_name || has_versions)
            && !(has_name && has_versions)
            && is_page
            && begin[21..24] == FRACTIONS
    })
}

/// How many whole pages a file has, and how many its header says, if the end is missing.
pub(crate) fn missing_pages(file: &Path) -> Option<(u64, u64)> {
    let header = Header::of(file)?;
    // Another number of changes: an old program has written the file, and not the number of pages.
    if header.changes() != header.number(92) {
        return None;
    }
    let found = file
        .metadata()
        .ok()?
        .len()
        .checked_div(header.page_bytes())?;
    let whole = u64::from(header.number(28));
    (found < whole).then_some((found, whole))
}

/// Whether a database is in WAL mode; `None` if the file does not begin as a database does.
pub(crate) fn is_in_wal_mode(file: &Path) -> Option<bool> {
    Header::of(file).map(|header| header.is_in_wal_mode())
}

/// The size of the pages of a database; `None` if the file does not begin as a database does.
pub(crate) fn page_bytes(file: &Path) -> Option<u64> {
    Header::of(file).map(|header| header.page_bytes())
}

/// The header of a database.
#[derive(Debug)]
pub(super) struct Header([u8; HEADER_BYTES]);

impl Header {
    pub(super) fn of(file: &Path) -> Option<Self> {
        Self::from_bytes(first_bytes(file)?)
    }

    pub(super) fn from_bytes(bytes: [u8; HEADER_BYTES]) -> Option<Self> {
        bytes.starts_with(MAGIC).then_some(Self(bytes))
    }

    /// How often the file was changed, as far as that is counted: in WAL mode not each time.
    pub(super) fn changes(&self) -> u32 {
        self.number(24)
    }

    /// How often the schema was changed.
    pub(super) fn schema(&self) -> u32 {
        self.number(40)
    }

    pub(super) fn is_in_wal_mode(&self) -> bool {
        self.0[18] == 2
    }

    fn page_bytes(&self) -> u64 {
        match u16::from_be_bytes([self.0[16], self.0[17]]) {
            1 => 65_536,
            size => u64::from(size),
        }
    }

    fn number(&self, at: usize) -> u32 {
        let bytes = &self.0;
        u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    }
}

fn first_bytes(file: &Path) -> Option<[u8; HEADER_BYTES]> {
    // Opening a pipe would wait for its other end.
    let mut file = file.is_file().then(|| File::open(file).ok()).flatten()?;
    let mut begin = [0; HEADER_BYTES];
    file.read_exact(&mut begin).ok()?;
    Some(begin)
}
