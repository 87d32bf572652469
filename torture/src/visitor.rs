//! A user who signs in and out in every way and keeps a provider key, one request after the other, so
//! that each answer is known beforehand.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;

use crate::daemon::{JWT_SECRET, SESSION_SECRET};
use crate::database::Database;
use crate::http::{Answer, Request};
use crate::peers::REQUESTS_PER_MINUTE;
use crate::round::{Mix, Round, now, text_of};
use crate::workload::Worker;
use crate::world::World;

/// How long sessions and tokens last whose end is waited for.
const SHORT: i64 = 600_000;

/// Attempts to save a provider key that a user has in an hour.
const ATTEMPTS: usize = 5;

/// How often a token that is not valid is tried, at any of the daemons.
const TRIES: usize = 3;

pub struct Visitor {
    worker: Worker,
    database: Database,
    /// Only this process counts the user's requests, and nothing keeps it from it.
    counts_exactly: bool,
    /// The user's requests so far.
    counted: u64,
    /// A session of the auth server, until `ends`.
    signed_in: Option<String>,
    ends: i64,
}

impl Visitor {
    pub fn new(round: &Arc<Round>, world: &World, rng: Rng) -> Self {
        let mut worker = Worker::new(round, 500, Mix::Meeting, rng);
        worker.user = round.visitor();
        let ends = now() + SHORT;
        let is_alone = world.peers.redis.is_none() && world.daemons.len() == 1;
        Self {
            counts_exactly: round.limits.is_calm && is_alone,
            signed_in: world.peers.sign_in(&round.user(worker.user), ends),
            ends,
            worker,
            database: world.database.clone(),
            counted: 0,
        }
    }

    pub async fn run(mut self) {
        let limits = self.worker.round.limits;
        // With another clock, sessions and windows end at other times.
        if limits.other_days {
            return;
        }
        sleep(Duration::from_millis(self.worker.rng.u64(..150))).await;
        let (ends, signed_in) = (self.ends, self.signed_in.take());
        let short = self.add_session(ends).await;
        let (brief, brief_ends) = jwt(&self.user(), ends);
        self.use_token(short.as_deref(), ends).await;
        self.use_token(Some(&brief), ends).await;
        self.use_token(signed_in.as_deref(), ends).await;
        self.revoked().await;
        self.refreshed().await;
        for token in [short, signed_in].into_iter().flatten() {
            self.expect_refusal(&token, ends).await;
        }
        // It ends with a second, for which not every round waits.
        if limits.is_calm {
            self.expect_refusal(&brief, brief_ends).await;
        }
    }

    fn user(&self) -> String {
        self.worker.round.user(self.worker.user)
    }

    fn request(&self, method: &'static str, path: &str, token: &str) -> Request {
        let mut request = self.worker.request(method, path, None);
        request.token = Some(token.to_owned());
        request
    }

    /// Sends a request; `None` if it was not answered, or with 503.
    async fn ask(&mut self, request: &Request) -> Option<(u16, Value)> {
        let is_counted = !request.path.starts_with("/api/auth/refresh");
        self.counted += u64::from(is_counted);
        let Answer::Status { code, head, body } = self.worker.send(request).await else {
            self.counts_exactly = false;
            return None;
        };
        if matches!(code, 401 | 503) {
            // Perhaps not counted.
            self.counts_exactly = false;
        }
        // A stricter limit is told instead.
        let left = head.remaining.filter(|_| code != 429);
        let expected = REQUESTS_PER_MINUTE - self.counted;
        if left.is_some_and(|left| left < expected || self.counts_exactly && left != expected) {
            let text = format!(
                "{left:?} of {REQUESTS_PER_MINUTE} requests left after {}",
                self.counted
            );
            self.worker.round.ledger.complain(text);
        }
        (code != 503).then_some((code, body))
    }

    /// Sends a request that must be answered so, if it is answered.
    async fn expect(
        &mut self,
        request: &Request,
        codes: &[u16],
        why: &str,
    ) -> Option<(u16, Value)> {
        let (code, body) = self.ask(request).await?;
        if codes.contains(&code) {
            return Some((code, body));
        }
        let text = format!("{} {} {why}: {code} {body}", request.method, request.path);
        self.worker.round.ledger.complain(text);
        None
    }

    async fn use_token(&mut self, token: Option<&str>, ends: i64) -> Option<()> {
        let request = self.request("GET", "/tasks/?limit=1", token?);
        let (code, body) = self.ask(&request).await?;
        if code != 200 && now() < ends {
            let text = format!("a valid token was answered with {code} {body}");
            self.worker.round.ledger.complain(text);
        }
        Some(())
    }

    /// The token is not valid from a moment on.
    async fn expect_refusal(&mut self, token: &str, from: i64) {
        let left = from - now();
        sleep(Duration::from_micros(left.max(0).unsigned_abs())).await;
        let request = self.request("GET", "/tasks/?limit=1", token);
        for _ in 0..TRIES {
            self.expect(&request, &[401], "with a token that is not valid any more")
                .await;
        }
    }

    /// A session of todoctl, as `todoctl session create` stores it.
    async fn add_session(&mut self, ends: i64) -> Option<String> {
        let token = format!("todo_{:064x}", self.worker.rng.u128(..));
        let mut mac = Hmac::<Sha256>::new_from_slice(SESSION_SECRET.as_bytes()).ok()?;
        mac.update(token.as_bytes());
        let statement = format!(
            "INSERT INTO todoctl_sessions (token_hash, user_id, created_at, expires_at)
             VALUES ('{}', '{}', {}, {})",
            hex::encode(mac.finalize().into_bytes()),
            self.user(),
            self.database.time(now()),
            self.database.time(ends),
        );
        self.database.execute(&statement).await.ok()?;
        Some(token)
    }

    /// A session that is revoked after it was used.
    async fn revoked(&mut self) -> Option<()> {
        let token = self.add_session(now() + 3_600_000_000_000).await?;
        self.use_token(Some(&token), i64::MAX).await;
        let statement = format!(
            "UPDATE todoctl_sessions SET revoked_at = {} WHERE user_id = '{}'
             AND revoked_at IS NULL AND expires_at > {}",
            self.database.time(now()),
            self.user(),
            self.database.time(now() + 3_600_000_000),
        );
        self.database.execute(&statement).await.ok()?;
        self.expect_refusal(&token, 0).await;
        Some(())
    }

    /// Signs in with a refresh token, and out.
    async fn refreshed(&mut self) -> Option<()> {
        let is_calm = self.worker.round.limits.is_calm;
        let user = self.user();
        let hash = |token: &str| hex::encode(Sha256::digest(token));
        let [good, old, plain] = ["good", "old", "plain"].map(|kind| format!("{kind}-{user}"));
        for (token, stored, ends) in [
            (&good, hash(&good), "2099-01-01 00:00:00.000"),
            (&old, hash(&old), "2001-01-01 00:00:00.000"),
            (&plain, plain.clone(), "2099-01-01 00:00:00.000"),
        ] {
            let statement = format!(
                "INSERT INTO user_sessions (id, \"userId\", token, \"expiresAt\", \"createdAt\", \"updatedAt\")
                 VALUES ('{token}', '{user}', '{stored}', '{ends}', '{ends}', '{ends}')"
            );
            self.database.execute(&statement).await.ok()?;
        }
        for token in [&plain, &old, &old] {
            let request = self.refresh(token);
            self.expect(&request, &[401], "with a token that is not valid")
                .await;
        }
        let request = self.refresh(&good);
        let (_, body) = self.expect(&request, &[200], "with a valid token").await?;
        let access = body["access_token"].as_str()?.to_owned();
        self.use_token(Some(&access), i64::MAX).await;
        self.keeps_a_key(&access).await;
        let mut logout = self.request("POST", "/api/auth/logout", &access);
        logout
            .headers
            .push(("Cookie", format!("refresh_token={good}")));
        self.expect(&logout, &[200], "with a valid token").await?;
        // A failure of the database does not fail it.
        if is_calm {
            let request = self.refresh(&good);
            for _ in 0..TRIES {
                self.expect(&request, &[401], "after signing out").await;
            }
        }
        Some(())
    }

    fn refresh(&self, token: &str) -> Request {
        let mut request = self.request("POST", "/api/auth/refresh", "");
        request
            .headers
            .push(("Cookie", format!("refresh_token={token}")));
        request
    }

    /// Saves, reads and deletes a provider key; `stored` are those that may be stored.
    async fn keeps_a_key(&mut self, access: &str) -> Option<()> {
        let mut stored: Vec<Option<String>> = vec![None];
        let mut saved = 0;
        for attempt in 1..=ATTEMPTS + 1 {
            let key = format!("AIza{:032x}", self.worker.rng.u128(..));
            let mut request = self.request("POST", "/api/user-api-keys", access);
            request.body = Some(json!({ "api_key": key }));
            let codes = match (attempt > ATTEMPTS, saved == ATTEMPTS) {
                (false, _) => &[201][..],
                (true, true) => &[429],
                (true, false) => &[201, 429],
            };
            match self
                .expect(&request, codes, &format!("attempt {attempt}"))
                .await
            {
                Some((201, _)) => {
                    stored = vec![Some(key)];
                    saved += 1;
                }
                Some(_) => {}
                None => stored.push(Some(key)),
            }
            self.reads_a_key(access, &mut stored).await;
            if attempt == 2 {
                let request = self.request("DELETE", "/api/user-api-keys/current", access);
                match self.expect(&request, &[200, 404], "").await {
                    Some((200, _)) if stored != [None] => stored = vec![None],
                    Some((404, _)) if stored.contains(&None) => stored = vec![None],
                    Some(answer) => {
                        let text = format!("{answer:?} to the deletion of a key of {stored:?}");
                        self.worker.round.ledger.complain(text);
                    }
                    None => stored.push(None),
                }
                self.reads_a_key(access, &mut stored).await;
            }
        }
        Some(())
    }

    /// Reads the key as the user and as the service.
    async fn reads_a_key(&mut self, access: &str, stored: &mut Vec<Option<String>>) -> Option<()> {
        let request = self.request("GET", "/api/user-api-keys/current", access);
        let (_, body) = self.expect(&request, &[200], "with a valid token").await?;
        let masked = body["masked_key"].as_str();
        stored.retain(|key| {
            let expected = key
                .as_ref()
                .map(|key| format!("{}...{}", &key[..4], &key[key.len() - 3..]));
            expected.as_deref() == masked
        });
        let mut request = self
            .worker
            .request("GET", "/api/user-api-keys/current", None);
        request.token = None;
        request
            .headers
            .push(("X-Service-Auth", crate::daemon::TOKEN.to_owned()));
        let (_, body) = self.expect(&request, &[200], "as the service").await?;
        let shown = body["plaintext_key"].as_str().map(str::to_owned);
        stored.retain(|key| *key == shown);
        if stored.is_empty() {
            let text = format!("a provider key that was not saved, or deleted: {body}, {masked:?}");
            self.worker.round.ledger.complain(text);
        }
        Some(())
    }
}

/// A token of the sign-in service, valid until `ends` at least, and when it ends.
fn jwt(user: &str, ends: i64) -> (String, i64) {
    let ends = ends / 1_000_000 + 1;
    let claims = json!({ "sub": user, "iat": ends - 60, "exp": ends, "type": "access" });
    let key = EncodingKey::from_secret(JWT_SECRET.as_bytes());
    // Claims of texts and numbers can be encoded.
    let token = jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap_or_default();
    (token, ends * 1_000_000)
}

impl Database {
    /// A time in a statement.
    fn time(&self, micros: i64) -> String {
        match self {
            Self::Postgres { .. } => format!("timestamptz '{}'", text_of(micros)),
            Self::Sqlite(_) => micros.to_string(),
        }
    }
}
