//! Encryption of stored provider keys: Fernet tokens, compatible with Python's `cryptography`
//! (AES-128-CBC and HMAC-SHA256, in URL-safe base64).

use fernet::Fernet;

use crate::config::{RotatingSecret, Secret};
use crate::domain::{EncryptedKey, ProviderKey, Timestamp};

/// The latest time that a token may have. The crate adds a minute, which must not overflow.
const ANY_TIME: u64 = u64::MAX - 60;

/// A configured key is not a Fernet key.
#[derive(Debug, thiserror::Error)]
#[error("ENCRYPTION_KEY or ENCRYPTION_KEY_PREVIOUS is not a Fernet key")]
pub struct CipherKeyError;

/// No configured key decrypts the stored token.
#[derive(Debug, thiserror::Error)]
#[error("a stored provider key cannot be decrypted: is ENCRYPTION_KEY the one it was stored with?")]
pub struct UndecipherableError;

/// Encrypts with the current key, decrypts with that one and previous ones.
#[derive(Clone)]
pub struct KeyCipher {
    keys: Vec<Fernet>,
}

impl KeyCipher {
    /// With `ENCRYPTION_KEY` and its previous values.
    pub fn new(keys: &RotatingSecret) -> Result<Self, CipherKeyError> {
        let keys = keys.all().map(Secret::expose).map(Fernet::new);
        Ok(Self {
            keys: keys.collect::<Option<_>>().ok_or(CipherKeyError)?,
        })
    }

    /// Decrypts with those of `keys` that are Fernet keys.
    pub(crate) fn to_read<'a>(keys: impl Iterator<Item = &'a Secret>) -> Option<Self> {
        let keys: Vec<Fernet> = keys.filter_map(|key| Fernet::new(key.expose())).collect();
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// Encrypts with the current key; the token contains `now` in plain text.
    #[must_use]
    pub fn encrypt(&self, key: &ProviderKey, now: Timestamp) -> EncryptedKey {
        let seconds = u64::try_from(now.unix_seconds()).unwrap_or(0);
        // `new` put the current key first.
        EncryptedKey::new(self.keys[0].encrypt_at_time(key.expose().as_bytes(), seconds))
    }

    /// Decrypts with the key that fits.
    ///
    /// The token's time is ignored, as in Python: the clock of the machine that wrote it may
    /// have been wrong.
    pub fn decrypt(&self, token: &EncryptedKey) -> Result<ProviderKey, UndecipherableError> {
        self.keys
            .iter()
            .find_map(|key| key.decrypt_at_time(token.as_str(), None, ANY_TIME).ok())
            .and_then(|plain| String::from_utf8(plain).ok())
            .map(ProviderKey::stored)
            .ok_or(UndecipherableError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plaintext of the tokens below.
    const PLAIN: &str = "AIzaSyPython-wrote-this-key-0123456789xyz";

    // Written by cryptography 50.0.2: Fernet(KEY).encrypt(PLAIN), then the same ten
    // years in the future, then under another key.
    const KEY: &str = "-ChFqFqk2QRDcbpz2THMoadUhrGfLLJeq1y-iKZb0fw=";
    const TOKEN: &str = "gAAAAABrBjyvkEzLqVfRqFM7Fpg0UdX6IqtdH_BUnBC1hQawvqhEfY8Qgujuo_vMfiXYiGFfdbQ4qmhy4wWUZz9Jgip_RUNiyd-D95IKiVym7xZgqBVPO0k1SwH4HNs-7PBnTQat0TGq";
    const FUTURE: &str = "gAAAAAB90j-vyAJO-qJx0hZ023TtJF3oGISqvYJpLr0iU4vOlnEoUTNhVXqcBEw4wwe0gl5HmbLvhOvRfaREQhXab0xCoSBrsQHY1Jr6C40W8BvsVZxadxAh0yqJcXHkT9nBQ13LcPcS";
    const OLD_KEY: &str = "F_Si5OlS5GM_4f_vHZDaTZhjZIRw7YlUbRZnJ5M1BIs=";
    const OLD_TOKEN: &str = "gAAAAABrBjyv3oshvZo2QBdqRbBzKR4YIDaHYvh7-RRfUzqdDD7GSuPyq4LpRmgQfGexBmc73WIEqBAPBDFC3AWDPCJ2px5YKO9SEsTvcd1-182UCXfOgBWzWfusMwCL08EybCEOIstj";

    fn cipher(current: &str, previous: &[&str]) -> KeyCipher {
        KeyCipher::new(&RotatingSecret {
            current: Secret::new(current),
            previous: previous.iter().copied().map(Secret::new).collect(),
        })
        .unwrap()
    }

    fn read(cipher: &KeyCipher, token: &str) -> Option<String> {
        let token = EncryptedKey::new(token.to_owned());
        let key = cipher.decrypt(&token).ok()?;
        Some(key.expose().to_owned())
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Contract 9.1: rows that Python's `cryptography` wrote stay readable.
    #[test]
    fn tokens_of_python() {
        let cipher = cipher(KEY, &[]);
        assert_eq!(read(&cipher, TOKEN).as_deref(), Some(PLAIN));
        assert_eq!(read(&cipher, FUTURE).as_deref(), Some(PLAIN));
        assert_eq!(read(&cipher, OLD_TOKEN), None);
    }

    /// As Python's `MultiFernet`: previous keys still decrypt, the current one encrypts.
    #[test]
    fn previous_keys() {
        let rotated = cipher(KEY, &[OLD_KEY]);
        assert_eq!(read(&rotated, TOKEN).as_deref(), Some(PLAIN));
        assert_eq!(read(&rotated, OLD_TOKEN).as_deref(), Some(PLAIN));
        let new = rotated.encrypt(&ProviderKey::stored(PLAIN), at("2031-01-02T03:04:05Z"));
        assert_eq!(
            read(&cipher(KEY, &[]), new.as_str()).as_deref(),
            Some(PLAIN)
        );
        assert_eq!(read(&cipher(OLD_KEY, &[]), new.as_str()), None);
    }

    #[test]
    fn damaged_tokens() {
        let cipher = cipher(KEY, &[]);
        let mut flipped = TOKEN.to_owned();
        flipped.replace_range(60..61, if &TOKEN[60..61] == "A" { "B" } else { "A" });
        for token in ["", "gAAAAA", &flipped, &TOKEN[..TOKEN.len() - 8], PLAIN] {
            assert_eq!(read(&cipher, token), None, "{token}");
        }
    }

    /// Contract 10.19: the longest key fits the column, one byte more would not.
    #[test]
    fn the_longest_key_fits_its_column() {
        let cipher = cipher(KEY, &[]);
        let length = |bytes| {
            let key = ProviderKey::stored("k".repeat(bytes));
            cipher
                .encrypt(&key, at("2031-01-02T03:04:05Z"))
                .as_str()
                .len()
        };
        assert!(length(ProviderKey::MAX_BYTES) <= 500);
        assert!(length(ProviderKey::MAX_BYTES + 1) > 500);
    }

    #[test]
    fn no_fernet_key() {
        let wrong = RotatingSecret {
            current: Secret::new(KEY),
            previous: vec![Secret::new("too short")],
        };
        assert!(KeyCipher::new(&wrong).is_err());
    }
}
