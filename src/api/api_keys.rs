//! `/api/user-api-keys`: contract section 5.

use bytes::Buf;
use futures_util::Stream;
use http::{Method, StatusCode};
use serde::Serialize;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::domain::{ProviderKey, Timestamp};

use super::auth::CallerKind;
use super::call::{Access, Call, answered_for, json, json_body};
use super::context::ApiContext;
use super::error::ApiError;
use super::input::{self, SaveKey, Sources};
use super::limits::Allowance;
use super::request::{endpoint, with};
use super::route_table::{USER_API_KEY_CURRENT, USER_API_KEYS};

/// How often a user may try to save a key in an hour.
const MAX_ATTEMPTS: u32 = 5;

/// Every route below `/api/user-api-keys`.
pub(super) fn routes(context: &ApiContext) -> BoxedFilter<(Response,)> {
    let status = endpoint(&USER_API_KEY_CURRENT, Method::GET)
        .and(with(context))
        .then(|head, context| {
            answered_for(Access::UserOrKeyReader, head, context, |call| async move {
                key_status(&call).await
            })
        });
    let save = endpoint(&USER_API_KEYS, Method::POST)
        .and(with(context))
        .and(warp::body::stream())
        .then(|head, context, body| {
            answered_for(Access::User, head, context, |call| async move {
                save_key(&call, body).await
            })
        });
    let delete = endpoint(&USER_API_KEY_CURRENT, Method::DELETE)
        .and(with(context))
        .then(|head, context| {
            answered_for(Access::User, head, context, |call| async move {
                delete_key(&call).await
            })
        });
    status.or(save).unify().or(delete).unify().boxed()
}

/// What is known of the user's key; contract 5.1.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub struct KeyStatus {
    /// Whether one is stored. If not, everything else is null.
    configured: bool,
    /// Whose key it is.
    #[schema(required, example = "gemini")]
    provider: Option<&'static str>,
    /// Its beginning and end, for its owner; null for a service.
    #[schema(required, example = "AIza...xyz")]
    masked_key: Option<String>,
    /// The key itself, for a service; null for its owner.
    #[schema(required)]
    plaintext_key: Option<String>,
    /// `success` or `failure`: what the provider said of it.
    #[schema(required)]
    validation_status: Option<String>,
    /// When the provider was last asked.
    #[schema(required)]
    last_validated_at: Option<Timestamp>,
    /// When the user's first key was saved.
    #[schema(required)]
    created_at: Option<Timestamp>,
    /// When this one was saved.
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

/// Whether a key is stored, and which.
///
/// A service sends X-User-ID and X-Service-Auth instead of a token, and is told the key itself.
#[utoipa::path(
    get, path = "/api/user-api-keys/current", tag = "keys",
    security(("bearer" = []), ("service" = [], "user" = [])),
    responses(
        (status = 200, description = "What is known of the key", body = KeyStatus),
        (status = 500, description = "The stored key cannot be read, or another fault of the server", body = inline(super::schema::KeyStatusError)),
    ),
)]
pub(super) async fn key_status(call: &Call) -> Result<Response, ApiError> {
    let context = &call.context;
    let Some(stored) = context.store.api_key(&call.caller.user).await? else {
        return json(StatusCode::OK, &KeyStatus::default());
    };
    let key = context
        .key_cipher
        .decrypt(&stored.encrypted)
        .map_err(ApiError::key_unreadable)?;
    let for_service = call.caller.kind == CallerKind::Service;
    json(
        StatusCode::OK,
        &KeyStatus {
            configured: true,
            provider: Some(ProviderKey::PROVIDER),
            masked_key: (!for_service).then(|| key.masked()),
            plaintext_key: for_service.then(|| key.expose().to_owned()),
            validation_status: stored.validation_status,
            last_validated_at: stored.last_validated_at,
            created_at: Some(stored.created_at),
            updated_at: Some(stored.updated_at),
        },
    )
}

/// Saves a key once the provider accepts it; five attempts an hour.
#[utoipa::path(
    post, path = "/api/user-api-keys", tag = "keys", security(("bearer" = [])),
    responses(
        (status = 201, description = "The key is saved, in place of an older one", body = KeySaved),
        (status = 400, description = "Not the form of a key, or the provider did not accept it; the text says why", body = super::error_body::PlainError),
    ),
)]
pub(super) async fn save_key<S, B>(call: &Call, body: S) -> Result<Response, ApiError>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let context = &call.context;
    let user = &call.caller.user;
    let body = json_body(call, body).await?;
    let sources = Sources {
        body: body.as_ref(),
        ..Sources::default()
    };
    let ((), (), save) = input::read::<(), (), SaveKey>(&sources)?;
    let attempts = context.store.count_attempt(user).await?;
    if attempts.count > i64::from(MAX_ATTEMPTS) {
        context
            .metrics
            .rate_limited
            .with_label_values(&["key"])
            .inc();
        let spent = Allowance::used_up(MAX_ATTEMPTS.into(), attempts.ends_at, context.clock.now());
        return Err(ApiError::too_many(
            "Too many attempts to save an API key",
            &spent,
        ));
    }
    let key = save
        .into_key()
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    context
        .key_provider
        .probe(&key)
        .await
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let encrypted = context.key_cipher.encrypt(&key, context.clock.now());
    context.store.save_api_key(user, &encrypted).await?;
    json(
        StatusCode::CREATED,
        &KeySaved {
            success: true,
            message: "API key saved",
            masked_key: key.masked(),
        },
    )
}

/// Deletes the user's key.
#[utoipa::path(
    delete, path = "/api/user-api-keys/current", tag = "keys", security(("bearer" = [])),
    responses(
        (status = 200, description = "It is gone", body = KeyDeleted),
        (status = 404, description = "No key is stored", body = super::error_body::PlainError),
    ),
)]
pub(super) async fn delete_key(call: &Call) -> Result<Response, ApiError> {
    if !call.context.store.delete_api_key(&call.caller.user).await? {
        return Err(ApiError::key_not_found());
    }
    json(
        StatusCode::OK,
        &KeyDeleted {
            success: true,
            message: "API key deleted",
        },
    )
}
