//! Sessions, refresh tokens, provider keys and mail addresses.

use std::time::Duration;

use crate::config::RotatingSecret;
use crate::domain::EncryptedKey;
use crate::store::auth_sessions::RefreshTokenHash;
use crate::store::database::Store;
use crate::store::outbox::Accounts;
use crate::store::sessions::{NewSession, SessionHash};

use super::fault::{TrialFault, same, seen, stored};
use super::sample::Sample;

const SESSIONS: &str = "todoctl_sessions";
const KEYS: &str = "user_api_keys";
const HOUR: Duration = Duration::from_secs(3600);

pub(super) async fn session(store: &Store, sample: &Sample) -> Result<(), TrialFault> {
    let secrets = RotatingSecret {
        current: sample.secret(),
        previous: Vec::new(),
    };
    let session = NewSession {
        hash: SessionHash::new(&secrets.current, &sample.id),
        user: sample.user.clone(),
        label: Some("todoctl doctor".to_owned()),
        expires_at: sample.now.saturating_add(HOUR),
    };
    let id = stored(SESSIONS, store.create_session(&session).await)?;
    let user = store.session_user(&secrets, &sample.id).await?;
    let user = seen(SESSIONS, user)?;
    same(SESSIONS, &[("user_id", user == sample.user)])?;
    if !store.revoke_session(id).await? {
        return Err(TrialFault::Swallowed(SESSIONS));
    }
    Ok(())
}

/// The table is the auth server's, so the trial stores nothing there.
pub(super) async fn refresh(store: &Store, sample: &Sample) -> Result<(), TrialFault> {
    let hash = RefreshTokenHash::new(&sample.id);
    store.refresh_token(&hash).await?;
    store.forget_refresh_tokens(&[hash]).await?;
    Ok(())
}

pub(super) async fn provider_key(store: &Store, sample: &Sample) -> Result<(), TrialFault> {
    let user = &sample.user;
    let attempts = stored("todoctl_attempts", store.count_attempt(user).await)?;
    same("todoctl_attempts", &[("attempts", attempts.count == 1)])?;
    let key = EncryptedKey::new(sample.id.clone());
    store.save_api_key(user, &key).await?;
    let kept = seen(KEYS, store.api_key(user).await?)?;
    same(
        KEYS,
        &[("encrypted_key", kept.encrypted.as_str() == key.as_str())],
    )?;
    if !store.delete_api_key(user).await? {
        return Err(TrialFault::Swallowed(KEYS));
    }
    Ok(())
}

pub(super) async fn addresses(store: &Store, sample: &Sample) -> Result<(), TrialFault> {
    if store.accounts().await? == Accounts::Ready {
        store.addresses(&[sample.user.as_str()]).await?;
    }
    Ok(())
}
