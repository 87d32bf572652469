//! todoctl's own secrets: their declarations and rules, and how new ones are generated.

use super::environment::Environment;
use super::key_material::is_key_of_pair;
use super::secret::Secret;
use super::strength::{is_placeholder, weakness};
use super::variable::{Kind, Optional, Section, Variable};

/// A secret that `todoctl gen-secrets` can generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretName {
    SessionHashSecret,
    ServiceAuthToken,
    JwtSecret,
    EncryptionKey,
}

/// The length of a generated secret that is not the encryption key.
pub(super) const HEX_DIGITS: usize = 64;

/// The declaration of a secret: its variable, and the one for its previous value.
pub(super) struct Declaration {
    pub current: Optional<Secret>,
    pub previous: Optional<Secret>,
    /// Whether todoctl works without it. A required secret is generated for SQLite.
    pub required: bool,
}

const fn secret(name: &'static str, help: &'static str) -> Optional<Secret> {
    Variable::new(Section::Secrets, name, help)
        .kind(Kind::Secret)
        .optional(|text| Ok(Secret::new(text)))
}

const PREVIOUS: &str = "The previous value, still accepted while you replace the secret.";

static SESSION_HASH_SECRET: Declaration = Declaration {
    current: secret(
        "SESSION_HASH_SECRET",
        "Key of the hashes under which session tokens are stored.",
    ),
    previous: secret("SESSION_HASH_SECRET_PREVIOUS", PREVIOUS),
    required: true,
};

static SERVICE_AUTH_TOKEN: Declaration = Declaration {
    current: secret(
        "SERVICE_AUTH_TOKEN",
        "Bearer token of trusted services, which also send X-User-ID.",
    ),
    previous: secret("SERVICE_AUTH_TOKEN_PREVIOUS", PREVIOUS),
    required: true,
};

static JWT_SECRET: Declaration = Declaration {
    current: secret(
        "JWT_SECRET",
        "Signs user tokens (HS256); the sign-in service has the same value. Not set: such tokens \
         are refused.",
    ),
    previous: secret("JWT_SECRET_PREVIOUS", PREVIOUS),
    required: false,
};

static ENCRYPTION_KEY: Declaration = Declaration {
    current: secret(
        "ENCRYPTION_KEY",
        "Encrypts stored provider keys; a Fernet key. If it is lost, they cannot be decrypted.",
    ),
    previous: secret(
        "ENCRYPTION_KEY_PREVIOUS",
        "Previous keys, separated by commas: stored provider keys are still decrypted with them.",
    ),
    required: true,
};

impl SecretName {
    /// In the order of `.env.example`.
    pub const ALL: [Self; 4] = [
        Self::SessionHashSecret,
        Self::ServiceAuthToken,
        Self::JwtSecret,
        Self::EncryptionKey,
    ];

    pub(super) fn declaration(self) -> &'static Declaration {
        match self {
            Self::SessionHashSecret => &SESSION_HASH_SECRET,
            Self::ServiceAuthToken => &SERVICE_AUTH_TOKEN,
            Self::JwtSecret => &JWT_SECRET,
            Self::EncryptionKey => &ENCRYPTION_KEY,
        }
    }

    /// The variable's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.declaration().current.variable.name
    }

    /// The name of the variable with the previous value.
    #[must_use]
    pub fn previous(self) -> &'static str {
        self.declaration().previous.variable.name
    }

    /// A new value: [`HEX_DIGITS`], or a Fernet key.
    pub(crate) fn generate(self) -> Result<Secret, getrandom::Error> {
        if self == Self::EncryptionKey {
            return Ok(Secret::new(fernet::Fernet::generate_key()));
        }
        let mut bytes = [0; HEX_DIGITS / 2];
        getrandom::fill(&mut bytes)?;
        Ok(Secret::new(hex::encode(bytes)))
    }

    /// Whether provider keys may be encrypted with this value.
    pub(super) fn is_usable_encryption_key(self, value: Option<&str>) -> bool {
        self == Self::EncryptionKey && value.is_some_and(|value| self.fault(value).is_none())
    }

    /// Whether the value can be used in every environment.
    pub(crate) fn is_strong(self, value: &str) -> bool {
        self.fault(value).is_none() && weakness(value).is_none()
    }

    /// What makes the value unusable in every environment, as a predicate.
    pub(crate) fn fault(self, value: &str) -> Option<&'static str> {
        match self {
            Self::EncryptionKey if is_placeholder(value) => {
                Some("is a placeholder, not a Fernet key")
            }
            Self::EncryptionKey if fernet::Fernet::new(value).is_none() => {
                Some("is not a Fernet key (32 bytes in URL-safe base64, 44 characters)")
            }
            Self::SessionHashSecret | Self::ServiceAuthToken | Self::JwtSecret
                if is_key_of_pair(value) =>
            {
                Some(
                    "is a key of a key pair (PEM, DER, SSH or JWK) or a certificate, not a shared secret: who has the public key would know it",
                )
            }
            Self::ServiceAuthToken if !value.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Some("contains characters that are not allowed in an Authorization header")
            }
            _ => None,
        }
    }
}

/// Where the previous value of a secret belongs.
#[derive(Debug)]
pub(crate) struct Previous {
    pub(crate) variable: &'static str,
    /// Whether there may be several, separated by commas.
    pub(crate) is_list: bool,
}

/// Where `old` is kept when the variable `name` gets another value; `None` if the program reads
/// no previous value of it, or would refuse this one.
pub(crate) fn keeps_previous(name: &str, old: &str, environment: Environment) -> Option<Previous> {
    let secret = SecretName::ALL
        .into_iter()
        .find(|secret| secret.as_str() == name)?;
    let is_weak = secret != SecretName::EncryptionKey && weakness(old).is_some();
    // Callers have a weak value where it is accepted.
    let is_accepted = environment == Environment::Development && !is_placeholder(old);
    let is_usable = secret.fault(old).is_none() && (!is_weak || is_accepted);
    is_usable.then(|| Previous {
        variable: secret.previous(),
        is_list: secret == SecretName::EncryptionKey,
    })
}

/// The variables of all secrets, then those of their previous values.
pub(super) fn variables() -> impl Iterator<Item = &'static Variable> {
    let all = || SecretName::ALL.into_iter().map(SecretName::declaration);
    let current = all().map(|one| &one.current.variable);
    current.chain(all().map(|one| &one.previous.variable))
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
                HEX_DIGITS
            };
            assert_eq!(one.expose().len(), length);
        }
    }
}
