//! How large a SQLite file gets when its write-ahead log is copied into it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::config::wal_path;

/// "WAL File Format" (<https://www.sqlite.org/fileformat2.html#walformat>).
const HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

/// Bytes that the file has after the newest change in its log; `None` where there is no log, or no
/// change in it.
pub(crate) fn size_with_log(database: &Path) -> Option<u64> {
    let log = File::open(wal_path(database)).ok()?;
    let mut header = [0; 32];
    log.read_exact_at(&mut header, 0).ok()?;
    let number = |bytes: &[u8], at: usize| -> Option<u32> {
        Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
    };
    let page = u64::from(number(&header, 8)?).max(1);
    let frames = log.metadata().ok()?.len().checked_sub(HEADER)? / (FRAME_HEADER + page);
    // What an earlier use of the log has left behind has other salts.
    (0..frames).rev().find_map(|frame| {
        let mut found = [0; 24];
        let at = HEADER + frame * (FRAME_HEADER + page);
        log.read_exact_at(&mut found, at).ok()?;
        let pages = number(&found, 4).filter(|pages| *pages > 0)?;
        (found[8..16] == header[16..24]).then_some(u64::from(pages) * page)
    })
}
