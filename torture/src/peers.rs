//! Services beside the database: Redis, the auth server, the mail provider.

use fastrand::Rng;
use serde_json::json;
use tokio::sync::Mutex;

use crate::round::text_of;
use crate::support::auth_peer::{AuthPeer, TestKey};
use crate::support::http_peer::{Answer, HttpPeer};
use crate::support::mail_peer::MailPeer;
use crate::support::redis::RedisServer;

/// When tokens were issued and when they expire: 2020 and 2099, so that they are valid also for
/// clocks that are days ahead or behind.
const TOKENS_LAST: std::ops::Range<u64> = 1_577_836_800..4_070_908_800;

/// The limit of a user's requests: they are counted, and nobody is refused.
pub const REQUESTS_PER_MINUTE: u64 = 100_000_000;

pub struct Peers {
    pub redis: Option<Mutex<RedisServer>>,
    pub auth: Option<AuthPeer>,
    pub mail: MailPeer,
    /// Accepts every provider key.
    key_provider: HttpPeer,
}

impl Peers {
    /// Redis and the auth server are in every other world.
    pub async fn start(rng: &mut Rng) -> Self {
        let redis = rng
            .bool()
            .then(|| Mutex::new(tokio::task::block_in_place(RedisServer::start)));
        let auth = if rng.bool() {
            let peer = AuthPeer::start().await;
            peer.publish(&[&TestKey::ed25519()]);
            Some(peer)
        } else {
            None
        };
        Self {
            redis,
            auth,
            mail: MailPeer::start().await,
            key_provider: HttpPeer::answering(Answer::Json(200, json!({ "models": [] }))).await,
        }
    }

    /// The daemons' settings.
    pub async fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("RESEND_API_URL", self.mail.url().to_string()),
            ("RESEND_API_KEY", "re_torture".to_owned()),
            ("EMAIL_FROM", "Todo <todo@example.com>".to_owned()),
            ("GEMINI_API_URL", self.key_provider.url.clone()),
            ("RATE_LIMIT_PER_MINUTE", REQUESTS_PER_MINUTE.to_string()),
        ];
        if let Some(redis) = &self.redis {
            settings.push(("REDIS_URL", redis.lock().await.url()));
        }
        if let Some(auth) = &self.auth {
            settings.push(("AUTH_SERVER_URL", auth.url.to_string()));
        }
        settings
    }

    /// A session of the auth server that ends soon.
    pub fn sign_in(&self, user: &str, ends: i64) -> Option<String> {
        let token = format!("short-session-of-{user}");
        self.auth.as_ref()?.vouch(&token, user, &text_of(ends));
        Some(token)
    }

    /// What each user sends as its bearer token: a JWT of the auth server, a session of it, or
    /// `None` for the service token.
    pub fn tokens(&self, users: &[String]) -> Vec<Option<String>> {
        let Some(auth) = &self.auth else {
            return vec![None; users.len()];
        };
        let key = TestKey::ed25519();
        let token = |(index, user): (usize, &String)| match index % 3 {
            0 => None,
            1 => Some(key.sign(&json!({
                "sub": user, "iat": TOKENS_LAST.start, "exp": TOKENS_LAST.end, "iss": auth.origin(),
            }))),
            _ => {
                let token = format!("session-of-{user}");
                auth.vouch(&token, user, "2099-01-01T00:00:00.000Z");
                Some(token)
            }
        };
        users.iter().enumerate().map(token).collect()
    }
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").finish_non_exhaustive()
    }
}
