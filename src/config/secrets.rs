//! The secrets that todoctl has of its own: their rules, and how new ones are made.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::source::read_secret_file;
use super::{Secret, SqliteTarget};

/// A secret that `todoctl gen-secrets` can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretName {
    /// Keys the HMAC under which session tokens are stored.
    SessionHashSecret,
    /// What trusted services send as their bearer token.
    ServiceAuthToken,
    /// Signs user tokens.
    JwtSecret,
    /// Encrypts provider keys; a Fernet key.
    EncryptionKey,
}

/// Shorter secrets are weak (in bytes; RFC 7518, section 3.2 wants as much for HS256).
const MIN_BYTES: usize = 32;

/// Secrets with fewer distinct characters are weak.
const MIN_DISTINCT: usize = 10;

impl SecretName {
    /// All of them, in the order of `.env.example`.
    pub const ALL: [Self; 4] = [
        Self::SessionHashSecret,
        Self::ServiceAuthToken,
        Self::JwtSecret,
        Self::EncryptionKey,
    ];

    /// The variable's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SessionHashSecret => "SESSION_HASH_SECRET",
            Self::ServiceAuthToken => "SERVICE_AUTH_TOKEN",
            Self::JwtSecret => "JWT_SECRET",
            Self::EncryptionKey => "ENCRYPTION_KEY",
        }
    }

    /// The variable that holds the value before this one.
    pub(super) fn previous(self) -> &'static str {
        match self {
            Self::SessionHashSecret => "SESSION_HASH_SECRET_PREVIOUS",
            Self::ServiceAuthToken => "SERVICE_AUTH_TOKEN_PREVIOUS",
            Self::JwtSecret => "JWT_SECRET_PREVIOUS",
            Self::EncryptionKey => "ENCRYPTION_KEY_PREVIOUS",
        }
    }

    /// A new value: 64 hex digits, or a Fernet key.
    pub fn generate(self) -> Result<Secret, getrandom::Error> {
        if self == Self::EncryptionKey {
            return Ok(Secret::new(fernet::Fernet::generate_key()));
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Secret::new(hex::encode(bytes)))
    }

    /// How a value of `variable` that is not good enough becomes one; `file` is the env file,
    /// where it comes from there.
    pub(super) fn remedy(self, variable: &str, value: &Secret, file: Option<&Path>) -> String {
        if variable == self.previous() {
            return match file {
                Some(file) => format!("delete the line {variable}=… from {}", file.display()),
                None => format!("unset {variable}"),
            };
        }
        let name = self.as_str();
        let write = file.map_or_else(String::new, |file| format!(" --write {}", file.display()));
        if self == Self::EncryptionKey && self.fault(value.expose()).is_none() {
            return format!(
                "call it {name}_PREVIOUS, so that stored provider keys stay readable, then: todoctl gen-secrets --only {name}{write}"
            );
        }
        let replace = if file.is_some() { " --replace" } else { "" };
        format!("todoctl gen-secrets --only {name}{replace}{write}")
    }

    /// What makes the value unusable everywhere; `None` if nothing does.
    pub(super) fn fault(self, value: &str) -> Option<&'static str> {
        match self {
            Self::EncryptionKey if is_placeholder(value) => {
                Some("is still a placeholder, and a Fernet key is wanted")
            }
            Self::EncryptionKey if fernet::Fernet::new(value).is_none() => {
                Some("is not a Fernet key (32 bytes in URL-safe base64, 44 characters)")
            }
            Self::ServiceAuthToken if !value.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Some("holds characters that no Authorization header can carry")
            }
            _ => None,
        }
    }
}

/// What makes a secret guessable; `None` if nothing does.
pub(super) fn weakness(value: &str) -> Option<String> {
    if is_placeholder(value) {
        return Some("is still a placeholder".to_owned());
    }
    if value.len() < MIN_BYTES {
        return Some(format!("is shorter than {MIN_BYTES} bytes"));
    }
    let mut characters: Vec<char> = value.chars().collect();
    characters.sort_unstable();
    characters.dedup();
    (characters.len() < MIN_DISTINCT)
        .then(|| format!("has fewer than {MIN_DISTINCT} distinct characters"))
}

/// Whether a value stands where a real one should be, as in `.env.example`.
#[must_use]
pub fn is_placeholder(value: &str) -> bool {
    let value = value.trim().to_ascii_lowercase();
    let begins = |words: &[&str]| words.iter().any(|word| value.starts_with(word));
    let ends = |words: &[&str]| words.iter().any(|word| value.ends_with(word));
    begins(&[
        "change-me",
        "changeme",
        "change_me",
        "replace-me",
        "replace_me",
    ]) || (value.starts_with('<') && value.ends_with('>'))
        || (begins(&["your-", "your_"]) && ends(&["-here", "_here", "secret", "key", "token"]))
}

/// The file of a generated secret: in `secrets/`, beside the database.
#[must_use]
pub fn generated_secret_path(database: &SqliteTarget, name: &str) -> PathBuf {
    let directory = database.path.parent().unwrap_or(Path::new(""));
    directory.join("secrets").join(name)
}

/// Reads a generated secret, or makes it at the first start.
///
/// Two processes that start at once end with the same secret. The error is text
/// without any value.
pub(super) fn generated(database: &SqliteTarget, name: SecretName) -> Result<Secret, String> {
    let path = generated_secret_path(database, name.as_str());
    if !path.exists() {
        let value = name
            .generate()
            .map_err(|error| format!("the system gives no random numbers: {error}"))?;
        write_new(&path, &value)
            .map_err(|error| format!("cannot be written to {}: {error}", path.display()))?;
    }
    let value = read_secret_file(&path.display().to_string())?;
    if let Some(fault) = name.fault(&value) {
        return Err(format!("in {} {fault}", path.display()));
    }
    Ok(Secret::new(value))
}

/// Writes the whole file under another name first, so that a crash leaves no half of a secret.
fn write_new(path: &Path, value: &Secret) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    if !directory.is_dir() {
        if let Some(parent) = directory.parent() {
            fs::create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    let mut file = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
    writeln!(file, "{}", value.expose())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => fs::File::open(directory)?.sync_all(),
        // Another process was faster: its secret is the one.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_secrets_obey_the_rules() {
        for name in SecretName::ALL {
            let (one, two) = (name.generate().unwrap(), name.generate().unwrap());
            assert_ne!(one.expose(), two.expose());
            assert_eq!(weakness(one.expose()), None);
            assert_eq!(name.fault(one.expose()), None);
            let length = if name == SecretName::EncryptionKey {
                44
            } else {
                64
            };
            assert_eq!(one.expose().len(), length);
        }
    }

    #[test]
    fn placeholders() {
        for value in [
            "change-me-x",
            "<your token>",
            "your-secret-key",
            "YOUR_TOKEN_HERE",
            "changeme",
        ] {
            assert!(is_placeholder(value), "{value}");
        }
        for value in ["yourself-and-i-have-9-lives-ok", "5f0c1d2e", "x-change-me"] {
            assert!(!is_placeholder(value), "{value}");
        }
    }

    /// Contract 10.8: known and weak secrets.
    #[test]
    fn weak_ones() {
        assert!(weakness("short").is_some());
        assert!(weakness(&"ab".repeat(40)).is_some());
        assert!(weakness("0123456789abcdef0123456789abcde").is_some());
        assert_eq!(weakness("0123456789abcdef0123456789abcdef"), None);
    }

    #[test]
    fn generated_once_and_for_the_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let database = SqliteTarget {
            path: directory.path().join("data/todo.db"),
        };
        let name = SecretName::ServiceAuthToken;
        let values: Vec<String> = std::thread::scope(|scope| {
            let start = || generated(&database, name).unwrap().expose().to_owned();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(values.iter().all(|value| *value == values[0]));
        let path = generated_secret_path(&database, name.as_str());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::write(&path, "").unwrap();
        assert!(generated(&database, name).unwrap_err().contains("empty"));
    }
}
