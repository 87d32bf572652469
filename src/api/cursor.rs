//! Cursors: a position in a user's list, as a text that clients do not interpret; contract 13.
//!
//! A cursor ends with seven bytes of a hash over the position and the user. They are no security
//! measure: a position gives no access to another user's tasks. They detect a cursor that was
//! shortened, altered or given to another user.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::UserId;
use crate::store::{StoredTime, TaskPosition};

/// The first byte: the format of the bytes after it.
const VERSION: u8 = 1;

/// Version, creation time as the database holds it, id.
const POSITION: usize = 1 + 8 + 8;

const HASH: usize = 7;

/// The cursor for `position` in the list of `user`.
pub(super) fn encode(position: TaskPosition, user: &UserId) -> String {
    let mut bytes = Vec::with_capacity(POSITION + HASH);
    bytes.push(VERSION);
    bytes.extend(position.created_at.number().to_be_bytes());
    bytes.extend(position.id.to_be_bytes());
    let hash = hash(&bytes, user);
    bytes.extend(hash);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A decoded cursor, whose hash is not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignedPosition {
    position: TaskPosition,
    bytes: [u8; POSITION],
    hash: [u8; HASH],
}

impl SignedPosition {
    /// Decodes what [`encode`] wrote.
    pub fn decode(text: &str) -> Option<Self> {
        let decoded = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (bytes, hash) = decoded.split_at_checked(POSITION)?;
        let bytes: [u8; POSITION] = bytes.try_into().ok()?;
        if bytes[0] != VERSION {
            return None;
        }
        let (micros, id) = bytes[1..].split_at(8);
        Some(Self {
            position: TaskPosition {
                created_at: StoredTime::from_number(i64::from_be_bytes(micros.try_into().ok()?)),
                id: i64::from_be_bytes(id.try_into().ok()?),
            },
            bytes,
            hash: hash.try_into().ok()?,
        })
    }

    /// The position, if the cursor was written for `user`.
    pub fn verify(&self, user: &UserId) -> Option<TaskPosition> {
        (self.hash == hash(&self.bytes, user)).then_some(self.position)
    }
}

fn hash(position: &[u8], user: &UserId) -> [u8; HASH] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(position);
    hasher.update(user.as_str().as_bytes());
    let mut hash = [0; HASH];
    hasher.finalize_xof().fill(&mut hash);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, user: &UserId) -> Option<TaskPosition> {
        SignedPosition::decode(text)?.verify(user)
    }

    /// contract 13: a cursor is accepted only unaltered, and only from the user it was written for.
    #[test]
    fn round_trip_and_tampering() {
        let alice = UserId::new("alice").unwrap();
        for (micros, id) in [
            (0, 1),
            (-62_135_596_800_000_000, i64::MAX),
            (253_402_300_799_999_999, 7),
            (i64::MIN, i64::MIN),
            (i64::MAX, i64::MAX),
        ] {
            let position = TaskPosition {
                created_at: StoredTime::from_number(micros),
                id,
            };
            let text = encode(position, &alice);
            assert_eq!(read(&text, &alice), Some(position));
            assert_eq!(read(&text, &UserId::new("bob").unwrap()), None);
            assert!(
                text.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            );
            for at in 0..text.len() {
                let mut other = text.clone().into_bytes();
                other[at] = if other[at] == b'A' { b'B' } else { b'A' };
                assert_eq!(read(std::str::from_utf8(&other).unwrap(), &alice), None);
                assert_eq!(read(&text[..at], &alice), None);
            }
            assert_eq!(read(&format!("{text}A"), &alice), None);
            assert_eq!(read(&format!("{text}="), &alice), None);
        }
    }
}
