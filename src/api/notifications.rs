//! `/notifications`: contract section 4. No route here reads a body.

use http::{Method, StatusCode};
use serde::Serialize;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::domain::Notification;

use super::call::{Call, answered, json, no_content};
use super::context::ApiContext;
use super::error::ApiError;
use super::input::{self, NotificationPath, Sources};
use super::request::{endpoint, with};
use super::route_table::{NOTIFICATION_READ, NOTIFICATIONS, NOTIFICATIONS_READ_ALL};

/// How many notifications a list shows.
const NEWEST: i64 = 50;

/// Every route below `/notifications`.
pub(super) fn routes(context: &ApiContext) -> BoxedFilter<(Response,)> {
    let list = endpoint(&NOTIFICATIONS, Method::GET)
        .and(with(context))
        .then(|head, context| {
            answered(head, context, |call| async move {
                list_notifications(&call).await
            })
        });
    let read = endpoint(&NOTIFICATION_READ, Method::PATCH)
        .and(with(context))
        .then(|head, context| {
            answered(head, context, |call| async move { mark_read(&call).await })
        });
    let read_all = endpoint(&NOTIFICATIONS_READ_ALL, Method::POST)
        .and(with(context))
        .then(|head, context| {
            answered(
                head,
                context,
                |call| async move { mark_all_read(&call).await },
            )
        });
    list.or(read).unify().or(read_all).unify().boxed()
}

/// A user's newest notifications.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Notifications {
    /// The 50 newest, newest first.
    notifications: Vec<Notification>,
    /// All that are unread, also beyond the list.
    unread_count: i64,
}

/// Lists the 50 newest notifications.
#[utoipa::path(
    get, path = "/notifications/", tag = "notifications", security(("bearer" = []), ("bearer" = [], "user" = [])),
    responses((status = 200, description = "The newest notifications", body = Notifications)),
)]
pub(super) async fn list_notifications(call: &Call) -> Result<Response, ApiError> {
    let store = &call.context.store;
    let list = store.notifications(&call.caller.user, NEWEST).await?;
    json(
        StatusCode::OK,
        &Notifications {
            notifications: list.notifications,
            unread_count: list.unread,
        },
    )
}

/// Marks a notification as read; repeating it changes nothing.
#[utoipa::path(
    patch, path = "/notifications/{notification_id}/read", tag = "notifications", security(("bearer" = []), ("bearer" = [], "user" = [])),
    responses((status = 200, description = "The notification as it now is", body = Notification)),
)]
pub(super) async fn mark_read(call: &Call) -> Result<Response, ApiError> {
    let segment = call.head.parameter();
    let sources = Sources {
        path: &[("notification_id", segment)],
        ..Sources::default()
    };
    let (path, (), ()) = input::read::<NotificationPath, (), ()>(&sources)?;
    let notification = match path.notification_id.number() {
        Some(id) => {
            let store = &call.context.store;
            store.mark_notification_read(&call.caller.user, id).await?
        }
        None => None,
    };
    match notification {
        Some(notification) => json(StatusCode::OK, &notification),
        None => Err(ApiError::notification_not_found(segment)),
    }
}

/// Marks all notifications as read.
#[utoipa::path(
    post, path = "/notifications/read-all", tag = "notifications", security(("bearer" = []), ("bearer" = [], "user" = [])),
    responses((status = 204, description = "All are read")),
)]
pub(super) async fn mark_all_read(call: &Call) -> Result<Response, ApiError> {
    let store = &call.context.store;
    store.mark_all_notifications_read(&call.caller.user).await?;
    Ok(no_content())
}
