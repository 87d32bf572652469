//! `/api/user-api-keys`: contract section 5.

use http::StatusCode;
use serde::Serialize;

use crate::domain::{ProviderKey, Timestamp};

use super::allowance::Allowance;
use super::auth::CallerKind;
use super::endpoint::{Call, Inputs};
use super::error::{ApiError, RateLimit};
use super::input::SaveKey;
use super::reply::Reply;

/// Attempts to save a key that a user has in an hour.
const MAX_ATTEMPTS: u32 = 5;

/// The user's key; contract 5.1.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub struct KeyStatus {
    /// Whether a key is stored. If not, every other field is null.
    configured: bool,
    /// The provider that issued it.
    #[schema(required, example = "gemini")]
    provider: Option<&'static str>,
    /// Its beginning and end, if its owner asks; null for a service.
    #[schema(required, example = "AIza...xyz")]
    masked_key: Option<String>,
    /// The key itself, if a service asks; null for its owner.
    #[schema(required)]
    plaintext_key: Option<String>,
    /// `success` or `failure`: the provider's last answer about it.
    #[schema(required)]
    validation_status: Option<String>,
    /// When the provider was last asked.
    #[schema(required)]
    last_validated_at: Option<Timestamp>,
    /// When the user saved a key for the first time.
    #[schema(required)]
    created_at: Option<Timestamp>,
    /// When this key was saved.
    #[schema(required)]
    updated_at: Option<Timestamp>,
}

/// A key was saved.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct KeySaved {
    /// Always true.
    success: bool,
    /// For people.
    message: &'static str,
    /// The key's beginning and end.
    #[schema(example = "AIza...xyz")]
    masked_key: String,
}

/// A key was deleted.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct KeyDeleted {
    /// Always true.
    success: bool,
    /// For people.
    message: &'static str,
}

pub(super) async fn key_status(call: Call, _: Inputs) -> Result<Reply, ApiError> {
    let context = &call.context;
    let Some(stored) = context.store.api_key(&call.caller.user).await? else {
        return Ok(Reply::json(StatusCode::OK, &KeyStatus::default())?);
    };
    let key = context
        .key_cipher
        .decrypt(&stored.encrypted)
        .map_err(ApiError::KeyUnreadable)?;
    let for_service = call.caller.kind == CallerKind::Service;
    let status = KeyStatus {
        configured: true,
        provider: Some(ProviderKey::PROVIDER),
        masked_key: (!for_service).then(|| key.masked()),
        plaintext_key: for_service.then(|| key.expose().to_owned()),
        validation_status: stored.validation_status,
        last_validated_at: stored.last_validated_at,
        created_at: Some(stored.created_at),
        updated_at: Some(stored.updated_at),
    };
    Ok(Reply::json(StatusCode::OK, &status)?)
}

/// The steps of contract 5.2. An attempt counts once its fields are valid.
pub(super) async fn save_key(
    call: Call,
    inputs: Inputs<(), (), SaveKey>,
) -> Result<Reply, ApiError> {
    let context = &call.context;
    let user = &call.caller.user;
    let attempts = context.store.count_attempt(user).await?;
    if attempts.count > i64::from(MAX_ATTEMPTS) {
        let limited = context.metrics.rate_limited.with_label_values(&["key"]);
        limited.inc();
        let now = context.clock.now();
        return Err(ApiError::RateLimited {
            limit: RateLimit::KeyAttempts,
            allowance: Allowance::used_up(MAX_ATTEMPTS.into(), attempts.ends_at, now),
        });
    }
    let key = inputs.body.into_key().map_err(ApiError::ProviderKeyForm)?;
    if let Err(error) = context.key_provider.probe(&key).await {
        if let Some(reason) = error.obstacle() {
            let clients = &context.metrics.clients;
            clients.key_obstacle(reason, context.clock.now());
        }
        return Err(ApiError::ProviderKeyRejected(error));
    }
    let encrypted = context.key_cipher.encrypt(&key, context.clock.now());
    context.store.save_api_key(user, &encrypted).await?;
    let saved = KeySaved {
        success: true,
        message: "API key saved",
        masked_key: key.masked(),
    };
    Ok(Reply::json(StatusCode::CREATED, &saved)?)
}

pub(super) async fn delete_key(call: Call, _: Inputs) -> Result<Reply, ApiError> {
    if !call.context.store.delete_api_key(&call.caller.user).await? {
        return Err(ApiError::KeyNotFound);
    }
    let deleted = KeyDeleted {
        success: true,
        message: "API key deleted",
    };
    Ok(Reply::json(StatusCode::OK, &deleted)?)
}
