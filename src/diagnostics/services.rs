//! Whether the services that the daemon uses can be reached. No credentials are sent.

use std::time::Duration;

use url::Url;

use crate::config::{GEMINI_API, RESEND_API, Secret, ServicesConfig};
use crate::services::reach::{self, ReachError, RedisAnswer};

use super::check::{Budget, Check, Name, Verdict};

const AUTH: Name = Name {
    id: "services.auth_server",
    title: "Auth server",
};
const REDIS: Name = Name {
    id: "services.redis",
    title: "Redis",
};
const MAIL: Name = Name {
    id: "services.mail",
    title: "Mail",
};
const KEYS: Name = Name {
    id: "services.key_provider",
    title: "Key provider",
};

/// Every check of the services, in order.
pub const NAMES: &[Name] = &[AUTH, REDIS, MAIL, KEYS];

const LIMIT: Duration = Duration::from_secs(5);

/// What the auth server shows to anybody: the keys that its tokens are signed with.
const JWKS: &str = "/api/auth/jwks";

/// All of them, at once.
pub async fn checks(config: &ServicesConfig, budget: Budget) -> Vec<Check> {
    let (auth, redis, mail, keys) = tokio::join!(
        auth_server(config.auth_server_url.as_ref(), budget),
        redis(config.redis_url.as_ref(), budget),
        mail(config, budget),
        key_provider(config.gemini_api_url.as_ref(), budget),
    );
    vec![auth, redis, mail, keys]
}

async fn auth_server(base: Option<&Url>, budget: Budget) -> Check {
    let Some(base) = base else {
        return AUTH.skipped("AUTH_SERVER_URL is not set");
    };
    let mut url = base.clone();
    url.set_query(None);
    url.set_path(&format!("{}{JWKS}", base.path().trim_end_matches('/')));
    let place = place(base);
    let limit = budget.limit(LIMIT);
    let work = async {
        let verdict = match reach::http(&url, limit).await {
            Ok(200) => Verdict::pass(format!("{place} shows its keys")),
            Ok(status) => Verdict::warn(
                format!(
                    "{place}{JWKS} answers {status}, not 200: tokens that it signed cannot be verified"
                ),
                format!(
                    "curl -i {place}{JWKS}; if that is another service, correct AUTH_SERVER_URL"
                ),
            ),
            Err(error) => Verdict::fail(
                format!("{place} cannot be reached: {error}"),
                format!("curl -i {place}{JWKS}; start the auth server, or correct AUTH_SERVER_URL"),
            ),
        };
        (verdict, None::<()>)
    };
    AUTH.check(limit + Duration::from_secs(1), work).await.0
}

async fn redis(url: Option<&Secret>, budget: Budget) -> Check {
    let Some(url) = url else {
        return REDIS.skipped("REDIS_URL is not set: each replica counts by itself");
    };
    let limit = budget.limit(LIMIT);
    let work = async {
        let has_password = Url::parse(url.expose())
            .is_ok_and(|url| url.password().is_some_and(|one| !one.is_empty()));
        let verdict = match (reach::redis(url, limit).await, has_password) {
            (Ok(RedisAnswer::Open), _) => Verdict::pass("answers PONG"),
            (Ok(RedisAnswer::WantsPassword), true) => {
                Verdict::pass("answers, and asks for the password")
            }
            (Ok(RedisAnswer::WantsPassword), false) => Verdict::fail(
                "asks for a password, and REDIS_URL has none",
                "REDIS_URL=redis://:PASSWORD@HOST:6379/0".to_owned(),
            ),
            (Err(error @ ReachError::SomethingElse(_)), _) => Verdict::fail(
                error.to_string(),
                "correct the host and port in REDIS_URL; rediss:// is for TLS".to_owned(),
            ),
            (Err(error), _) => Verdict::fail(
                format!("cannot be reached: {error}; until then each replica counts by itself"),
                "start Redis, correct REDIS_URL, or unset it".to_owned(),
            ),
        };
        (verdict, None::<()>)
    };
    REDIS.check(limit + Duration::from_secs(1), work).await.0
}

async fn mail(config: &ServicesConfig, budget: Budget) -> Check {
    if config.resend_api_key.is_none() {
        return MAIL.skipped("RESEND_API_KEY is not set: reminders are shown, not mailed");
    }
    let base = config
        .resend_api_url
        .clone()
        .or_else(|| Url::parse(RESEND_API).ok());
    let Some(base) = base else {
        return MAIL.skipped("no endpoint");
    };
    let place = place(&base);
    let limit = budget.limit(LIMIT);
    let work = async {
        let verdict = match reach::http(&base, limit).await {
            Ok(status) if status < 500 && config.email_from.is_none() => Verdict::warn(
                format!("{place} answers; EMAIL_FROM is not set, and the provider's own sender reaches the account's owner only"),
                "EMAIL_FROM=Todo <todo@example.com> (an address of a domain that the provider has verified)".to_owned(),
            ),
            Ok(status) if status < 500 => Verdict::pass(format!("{place} answers")),
            Ok(status) => Verdict::warn(
                format!("{place} answers {status}: mails wait until it recovers"),
                format!("curl -i {place}"),
            ),
            Err(error) => Verdict::warn(
                format!("{place} cannot be reached: {error}; mails wait until it can"),
                format!("curl -i {place}; let this machine out to it, or correct RESEND_API_URL"),
            ),
        };
        (verdict, None::<()>)
    };
    MAIL.check(limit + Duration::from_secs(1), work).await.0
}

async fn key_provider(base: Option<&Url>, budget: Budget) -> Check {
    let Some(base) = base.cloned().or_else(|| Url::parse(GEMINI_API).ok()) else {
        return KEYS.skipped("no endpoint");
    };
    let place = place(&base);
    let limit = budget.limit(LIMIT);
    let work = async {
        let verdict = match reach::http(&base, limit).await {
            Ok(status) if status < 500 => Verdict::pass(format!("{place} answers")),
            Ok(status) => Verdict::warn(
                format!(
                    "{place} answers {status}: no new provider key can be stored until it recovers"
                ),
                format!("curl -i {place}"),
            ),
            Err(error) => Verdict::warn(
                format!(
                    "{place} cannot be reached: {error}; no new provider key can be stored until it can"
                ),
                format!("curl -i {place}; let this machine out to it, or correct GEMINI_API_URL"),
            ),
        };
        (verdict, None::<()>)
    };
    KEYS.check(limit + Duration::from_secs(1), work).await.0
}

/// Scheme, host and port: a path or a query may hold more than is good to show.
fn place(url: &Url) -> String {
    url.origin().ascii_serialization()
}
