//! A disk that loses its power: what was synced is there, the rest may be.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::recording::Event;

const SECTOR: usize = 512;

/// Numbers from a seed.
pub struct Random(pub u64);

impl Random {
    /// `SplitMix64`.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

/// The files of one directory. A file is known by its inode, because its name may be used again.
#[derive(Default)]
pub struct Disk<'e> {
    files: HashMap<u64, File<'e>>,
    /// The names that are on the disk.
    names: BTreeMap<&'e str, u64>,
    /// Changes of names, in their order, that are not.
    renamed: Vec<(usize, &'e str, Option<u64>)>,
    /// The changes that a sync began with, by thread and inode.
    syncing: HashMap<(u64, u64), usize>,
    changes: usize,
}

#[derive(Default)]
struct File<'e> {
    synced: Vec<u8>,
    /// Changes, in their order, that are not synced.
    pending: Vec<(usize, &'e Event)>,
}

/// What becomes of the changes that are not synced.
#[derive(Debug, Clone, Copy)]
pub enum Loss {
    All,
    Nothing,
    /// Of each file, the changes after one of them.
    Rest,
    /// Any of them, in whole or in sectors.
    Any,
}

impl<'e> Disk<'e> {
    pub fn apply(&mut self, event: &'e Event) {
        self.changes += 1;
        match event {
            Event::Write { inode, path, .. } | Event::Truncate { inode, path, .. } => {
                if self.current_name(path) != Some(*inode) {
                    self.renamed.push((self.changes, path, Some(*inode)));
                }
                let file = self.files.entry(*inode).or_default();
                file.pending.push((self.changes, event));
            }
            Event::Unlink { path } => self.renamed.push((self.changes, path, None)),
            Event::SyncBegins { thread, inode, .. } => {
                self.syncing.insert((*thread, *inode), self.changes);
            }
            Event::SyncEnds {
                thread,
                inode,
                is_directory,
                ..
            } => {
                // A recording may lack the beginning.
                if let Some(began) = self.syncing.remove(&(*thread, *inode)) {
                    self.sync(*inode, *is_directory, began);
                }
            }
            Event::Answer { .. } => {}
        }
    }

    fn current_name(&self, path: &str) -> Option<u64> {
        let newest = self.renamed.iter().rev().find(|(_, name, _)| *name == path);
        match newest {
            Some((_, _, inode)) => *inode,
            None => self.names.get(path).copied(),
        }
    }

    fn sync(&mut self, inode: u64, is_directory: bool, before: usize) {
        if is_directory {
            let renamed = self
                .renamed
                .partition_point(|(number, ..)| *number <= before);
            for (_, name, inode) in self.renamed.drain(..renamed) {
                rename(&mut self.names, name, inode);
            }
        } else if let Some(file) = self.files.get_mut(&inode) {
            let done = file
                .pending
                .partition_point(|(number, _)| *number <= before);
            for (_, event) in file.pending.drain(..done) {
                change(&mut file.synced, event, |_| true);
            }
        }
    }

    /// Writes into `directory` what may be found there after a loss of power at this moment.
    pub fn rebuild(&self, directory: &Path, loss: Loss, random: &mut Random) {
        let kept = |count: usize, random: &mut Random| match loss {
            Loss::All => 0,
            Loss::Nothing => count,
            Loss::Rest | Loss::Any => random.below(count + 1),
        };
        let mut names = self.names.clone();
        // File systems keep the order of changes of names.
        for (_, name, inode) in &self.renamed[..kept(self.renamed.len(), random)] {
            rename(&mut names, name, *inode);
        }
        for (path, inode) in names {
            let mut bytes = Vec::new();
            if let Some(file) = self.files.get(&inode) {
                bytes.clone_from(&file.synced);
                let most = if matches!(loss, Loss::Any) {
                    file.pending.len()
                } else {
                    kept(file.pending.len(), random)
                };
                for (_, event) in &file.pending[..most] {
                    let (whole, torn) = (random.below(2) == 0, random.below(4) == 0);
                    change(&mut bytes, event, |_| match loss {
                        Loss::Any if torn => random.below(2) == 0,
                        Loss::Any => whole,
                        _ => true,
                    });
                }
            }
            let name = Path::new(path).file_name().unwrap();
            std::fs::write(directory.join(name), bytes).unwrap();
        }
    }
}

fn rename<'e>(names: &mut BTreeMap<&'e str, u64>, name: &'e str, inode: Option<u64>) {
    match inode {
        Some(inode) => names.insert(name, inode),
        None => names.remove(name),
    };
}

/// Makes a change, as far as its sectors are kept.
fn change(bytes: &mut Vec<u8>, event: &Event, mut is_kept: impl FnMut(usize) -> bool) {
    match event {
        Event::Write { offset, data, .. } => {
            let mut at = *offset;
            let mut rest = data.as_slice();
            while !rest.is_empty() {
                let length = (SECTOR - at % SECTOR).min(rest.len());
                let (part, behind) = rest.split_at(length);
                if is_kept(at) {
                    if bytes.len() < at + length {
                        bytes.resize(at + length, 0);
                    }
                    bytes[at..at + length].copy_from_slice(part);
                }
                at += length;
                rest = behind;
            }
        }
        Event::Truncate { size, .. } if is_kept(*size) => bytes.resize(*size, 0),
        _ => {}
    }
}
