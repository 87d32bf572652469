//! `/notifications`: contract section 4.

use http::StatusCode;
use serde::Serialize;

use crate::domain::Notification;

use super::endpoint::{Call, Inputs};
use super::error::ApiError;
use super::input::NotificationPath;
use super::reply::Reply;

/// The number of notifications in a list.
const NEWEST: i64 = 50;

/// A user's newest notifications.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Notifications {
    /// The 50 newest, newest first.
    notifications: Vec<Notification>,
    /// The number of all unread notifications, listed or not.
    unread_count: i64,
}

pub(super) async fn list_notifications(call: Call, _: Inputs) -> Result<Reply, ApiError> {
    let store = &call.context.store;
    let list = store.notifications(&call.caller.user, NEWEST).await?;
    let answer = Notifications {
        notifications: list.notifications,
        unread_count: list.unread,
    };
    Ok(Reply::json(StatusCode::OK, &answer)?)
}

pub(super) async fn mark_read(
    call: Call,
    inputs: Inputs<NotificationPath>,
) -> Result<Reply, ApiError> {
    let (store, user) = (&call.context.store, &call.caller.user);
    let id = inputs.path.notification_id;
    let notification = match id.number() {
        Some(number) => store.mark_notification_read(user, number).await?,
        None => None,
    };
    match notification {
        Some(notification) => Ok(Reply::json(StatusCode::OK, &notification)?),
        None => Err(ApiError::notification_not_found(&id)),
    }
}

pub(super) async fn mark_all_read(call: Call, _: Inputs) -> Result<Reply, ApiError> {
    let store = &call.context.store;
    store.mark_all_notifications_read(&call.caller.user).await?;
    Ok(Reply::no_content())
}
