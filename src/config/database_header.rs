//! The first bytes of a SQLite file ("Database File Format", section 1.3).

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The begin of every database.
const MAGIC: &[u8] = b"SQLite format 3\0";

const SMALLEST_PAGE: u16 = 512;

/// Payload fractions, which are always these.
const FRACTIONS: [u8; 3] = [64, 32, 32];

/// Whether the file begins as a database does.
pub(crate) fn is_database(file: &Path) -> bool {
    first_bytes(file).is_some_and(|begin| begin.starts_with(MAGIC))
}

/// Whether everything in the header but its first 16 bytes is that of a database.
pub(crate) fn has_damaged_magic(file: &Path) -> bool {
    first_bytes(file).is_some_and(|begin| {
        let page = u16::from_be_bytes([begin[16], begin[17]]);
        // The largest page has no room in 16 bits, and is written as 1.
        let is_page = page == 1 || page >= SMALLEST_PAGE && page.is_power_of_two();
        let is_version = |version: &u8| matches!(version, 1 | 2);
        !begin.starts_with(MAGIC)
            && is_page
            && begin[18..20].iter().all(is_version)
            && begin[21..24] == FRACTIONS
    })
}

/// How many whole pages a file has, and how many its header says, if the end is missing.
pub(crate) fn missing_pages(file: &Path) -> Option<(u64, u64)> {
    let begin = first_bytes(file)?;
    let number =
        |at: usize| u32::from_be_bytes([begin[at], begin[at + 1], begin[at + 2], begin[at + 3]]);
    // Another number of changes: an old program has written the file, and not the number of pages.
    if !begin.starts_with(MAGIC) || number(24) != number(92) {
        return None;
    }
    let page = match u16::from_be_bytes([begin[16], begin[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let found = file.metadata().ok()?.len().checked_div(page)?;
    let whole = u64::from(number(28));
    (found < whole).then_some((found, whole))
}

fn first_bytes(file: &Path) -> Option<[u8; 100]> {
    // Opening a pipe would wait for its other end.
    let mut file = file.is_file().then(|| File::open(file).ok()).flatten()?;
    let mut begin = [0; 100];
    file.read_exact(&mut begin).ok()?;
    Some(begin)
}
