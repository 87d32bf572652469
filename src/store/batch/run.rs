//! How requests run together on one connection.

use std::mem;

use crate::store::arg::Array;
use crate::store::error::StoreError;
use crate::store::pool::{Lease, Pool};
use crate::store::sql::Sql;
use crate::store::work::{self, Grouped};

use super::requests::{Outcome, Request, Work};
use super::statement::Batched;

/// Runs requests that fit together, and returns their outcomes in the same order.
pub(super) async fn together(
    pool: &Pool,
    mut lease: Lease<'_>,
    requests: &mut [Request],
) -> Vec<Outcome> {
    let Some(deadline) = requests.iter().map(|request| request.deadline).min() else {
        lease.put_back();
        return Vec::new();
    };
    lease.limit(deadline);
    match requests {
        [request] => vec![one(pool, lease, request).await],
        [first, ..] => match first.work {
            Work::Shared(batched) => shared(pool, lease, batched, requests).await,
            Work::Grouped(_) => grouped(pool, lease, requests).await,
        },
        [] => Vec::new(),
    }
}

/// Runs the statement for one request.
async fn one(pool: &Pool, lease: Lease<'_>, request: &Request) -> Outcome {
    let (sql, writes) = match &request.work {
        Work::Shared(batched) => (&batched.single, batched.writes),
        Work::Grouped(sql) => (sql, true),
    };
    match work::on(pool, lease, sql, &request.args, writes).await {
        Ok(result) => Outcome::Done(result),
        Err(error) if work::is_worth_repeating(&error, writes) => Outcome::Alone,
        Err(error) => Outcome::Failed(error),
    }
}

/// Runs one statement for all requests.
async fn shared(
    pool: &Pool,
    lease: Lease<'_>,
    batched: &Batched,
    requests: &mut [Request],
) -> Vec<Outcome> {
    let args = requests
        .iter_mut()
        .map(|request| mem::take(&mut request.args));
    let args = Array::columns(args.collect());
    let several = Sql::Common(batched.several);
    match work::on(pool, lease, &several, &args, batched.writes).await {
        Ok(result) => match batched.answers.split(result, requests.len()) {
            Ok(answers) => answers
                .into_iter()
                .map(|answer| answer.map_or(Outcome::Alone, Outcome::Done))
                .collect(),
            // The store looks for what was created.
            Err(error) if batched.writes => fail(requests, &StoreError::Undecided(error)),
            Err(_) => all_alone(requests),
        },
        Err(error) if batched.writes && work::may_be_done(&error) => fail(requests, &error),
        Err(_) => all_alone(requests),
    }
}

/// Runs the statements of all requests in one transaction.
async fn grouped(pool: &Pool, lease: Lease<'_>, requests: &[Request]) -> Vec<Outcome> {
    let group: Vec<_> = requests
        .iter()
        .filter_map(|request| match &request.work {
            Work::Grouped(sql) => Some(Grouped {
                sql,
                args: &request.args,
                deadline: request.deadline,
            }),
            Work::Shared(_) => None,
        })
        .collect();
    match work::group(pool, lease, &group).await {
        Ok(results) => results.into_iter().map(Outcome::Done).collect(),
        Err(error) if work::may_be_done(&error) => fail(requests, &error),
        Err(_) => all_alone(requests),
    }
}

fn fail(requests: &[Request], error: &StoreError) -> Vec<Outcome> {
    requests
        .iter()
        .map(|_| Outcome::Failed(error.repeated()))
        .collect()
}

/// The outcomes of requests whose statement may have been sent, or may not.
pub(super) fn after_panic(requests: &[Request]) -> Vec<Outcome> {
    let error = StoreError::Undecided(sqlx::Error::WorkerCrashed);
    let outcome = |request: &Request| match request.work {
        Work::Shared(batched) if !batched.writes => Outcome::Alone,
        Work::Shared(_) | Work::Grouped(_) => Outcome::Failed(error.repeated()),
    };
    requests.iter().map(outcome).collect()
}

fn all_alone(requests: &[Request]) -> Vec<Outcome> {
    requests.iter().map(|_| Outcome::Alone).collect()
}
