//! Key ids of tokens for which the auth server has no key.

use std::collections::VecDeque;

/// Clients choose the ids: so many are remembered, if they are no longer than [`LONGEST`].
const MOST: usize = 64;
const LONGEST: usize = 128;

/// Ids that a set of keys did not have which was fetched because of them, the newest last.
#[derive(Debug, Default)]
pub(super) struct AbsentIds(VecDeque<String>);

impl AbsentIds {
    pub fn contains(&self, id: &str) -> bool {
        self.0.iter().any(|one| one == id)
    }

    pub fn add(&mut self, id: &str) {
        if id.len() > LONGEST || self.contains(id) {
            return;
        }
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(id.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_ids_are_kept() {
        let mut absent = AbsentIds::default();
        for number in 0..=MOST {
            absent.add(&number.to_string());
            absent.add("64");
        }
        absent.add(&"x".repeat(LONGEST + 1));
        assert_eq!(absent.0.len(), MOST);
        assert!(absent.contains("63"));
        assert!(!absent.contains("0"));
    }
}
