//! The secrets of the daemons, and how the clients identify themselves.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use clap::ValueEnum;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;

use crate::workload::FIRST_USER;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Caller {
    /// The service token and X-User-ID.
    Service,
    /// A JWT of each user.
    Jwt,
    /// A session token of each user, which is looked up in the database.
    Session,
}

impl Caller {
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Jwt => "JWT",
            Self::Session => "session",
        }
    }
}

/// Random for each run.
pub struct Secrets {
    pub service: String,
    session: String,
    jwt: String,
    encryption: String,
}

fn random(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|_| fastrand::u8(..)).collect()
}

impl Secrets {
    pub fn new() -> Self {
        Self {
            service: hex::encode(random(32)),
            session: hex::encode(random(32)),
            jwt: hex::encode(random(32)),
            encryption: URL_SAFE.encode(random(32)),
        }
    }

    pub fn environment(&self) -> [(&'static str, &str); 4] {
        [
            ("SERVICE_AUTH_TOKEN", &self.service),
            ("SESSION_HASH_SECRET", &self.session),
            ("JWT_SECRET", &self.jwt),
            ("ENCRYPTION_KEY", &self.encryption),
        ]
    }

    /// What the database stores for the token of a user's session.
    pub fn session_hash(&self, user: u64) -> String {
        hex::encode(sign(&self.session, session_token(user).as_bytes()))
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "the daemon compares with the real time"
    )]
    fn jwt(&self, user: u64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        let until = now + 24 * 3600;
        let claims = format!(r#"{{"sub":"{user}","iat":{now},"exp":{until},"type":"access"}}"#);
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(sign(&self.jwt, signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

fn session_token(user: u64) -> String {
    format!("benchmark-session-of-the-user-{user}")
}

fn sign(secret: &str, text: &[u8]) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        unreachable!("HMAC takes keys of any length")
    };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// The headers of each user's requests.
pub struct Credentials(Vec<String>);

impl Credentials {
    pub fn new(caller: Caller, secrets: &Secrets, users: u64) -> Self {
        let headers = |number| {
            let user = FIRST_USER + number;
            match caller {
                Caller::Service => format!(
                    "Authorization: Bearer {}\r\nX-User-ID: {user}\r\n",
                    secrets.service
                ),
                Caller::Jwt => format!("Authorization: Bearer {}\r\n", secrets.jwt(user)),
                Caller::Session => format!("Authorization: Bearer {}\r\n", session_token(user)),
            }
        };
        Self((0..users).map(headers).collect())
    }

    /// The headers of the user `FIRST_USER + number`.
    pub fn headers(&self, number: u64) -> &str {
        usize::try_from(number).map_or("", |index| &self.0[index])
    }
}
