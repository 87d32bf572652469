//! `/status`: the daemon's state as JSON, which `todoctl doctor` reads.

use http::StatusCode;

use crate::services::daemon::{DaemonStatus, DatabaseStatus, MailStatus, PoolStatus};

use super::context::ApiContext;
use super::endpoint::{Call, Inputs};
use super::error::ApiError;
use super::reply::Reply;

pub(super) async fn status(call: Call<()>, _: Inputs) -> Result<Reply, ApiError> {
    Ok(Reply::json(StatusCode::OK, &daemon_status(&call.context))?)
}

/// The state of this process.
fn daemon_status(context: &ApiContext) -> DaemonStatus {
    let jobs = &context.metrics.jobs;
    let identity = context.store.identity();
    let pools = context.store.pools().into_iter();
    DaemonStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        database: Some(DatabaseStatus {
            id: identity.row().map(str::to_owned),
            place: identity.place(),
        }),
        pools: pools
            .map(|(name, pool)| PoolStatus {
                name: name.to_owned(),
                size: pool.size,
                idle: pool.idle,
                waiting: pool.waiting,
                max: pool.max,
            })
            .collect(),
        mails: jobs.outbox_rows().map(|(pending, dead)| MailStatus {
            pending,
            dead,
            paused: jobs.outbox_paused.get() > 0,
        }),
        last_reminder_run: Some(jobs.last_reminder_run.get()).filter(|seconds| *seconds > 0),
    }
}
