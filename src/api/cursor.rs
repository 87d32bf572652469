//! Cursors: a position in a user's list, as a text that means nothing to clients.
//!
//! Seven bytes of a hash over the position and the user are with it. They keep
//! no secret: a position leads nobody to another's tasks. They tell a cursor of
//! this list from one that was cut off, altered or given to somebody else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::{Timestamp, UserId};
use crate::store::TaskPosition;

/// The first byte: what the bytes behind it are.
const VERSION: u8 = 1;

/// Version, creation time in microseconds, id.
const POSITION: usize = 1 + 8 + 8;

const CHECK: usize = 7;

/// The cursor for `position` in the list of `user`.
pub(super) fn write(position: TaskPosition, user: &UserId) -> String {
    let mut bytes = Vec::with_capacity(POSITION + CHECK);
    bytes.push(VERSION);
    bytes.extend(position.created_at.micros().to_be_bytes());
    bytes.extend(position.id.to_be_bytes());
    let check = check(&bytes, user);
    bytes.extend(check);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The position that [`write()`] made `text` of, for the same user.
pub(super) fn read(text: &str, user: &UserId) -> Option<TaskPosition> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (position, sum) = bytes.split_at_checked(POSITION)?;
    if position[0] != VERSION || sum != check(position, user) {
        return None;
    }
    let (micros, id) = position[1..].split_at(8);
    Some(TaskPosition {
        created_at: Timestamp::from_micros(i64::from_be_bytes(micros.try_into().ok()?)).ok()?,
        id: i64::from_be_bytes(id.try_into().ok()?),
    })
}

fn check(position: &[u8], user: &UserId) -> [u8; CHECK] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(position);
    hasher.update(user.as_str().as_bytes());
    let mut check = [0; CHECK];
    hasher.finalize_xof().fill(&mut check);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contract 13: a cursor is read back, and only as it was written, by whom it was written for.
    #[test]
    fn round_trip_and_tampering() {
        let alice = UserId::new("alice").unwrap();
        for (micros, id) in [
            (0, 1),
            (-62_135_596_800_000_000, i64::MAX),
            (253_402_300_799_999_999, 7),
        ] {
            let position = TaskPosition {
                created_at: Timestamp::from_micros(micros).unwrap(),
                id,
            };
            let text = write(position, &alice);
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
