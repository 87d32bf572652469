//! How requests run together on one connection.

use std::mem;

use crate::store::error::StoreError;
use crate::store::pool::{Lease, Pool};
use crate::store::row::QueryResult;
use crate::store::work::{self, Statement};

use super::requests::{Outcome, Request};
use super::statement::{Answers, Several};

/// A statement for some of the requests.
struct Part {
    statement: Statement,
    /// How its rows are split among them; `None` for the statement of one request.
    answers: Option<Answers>,
    /// Their positions.
    requests: Vec<usize>,
}

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
    let writes = requests.iter().any(|request| request.work.writes());
    let Ok(parts) = parts(requests) else {
        lease.put_back();
        return all_alone(requests);
    };
    let results = match &*parts {
        [Part { statement, .. }] => {
            let result = work::on(pool, lease, &statement.sql, &statement.args, writes).await;
            result.map(|result| vec![result])
        }
        parts => {
            let statements: Vec<_> = parts.iter().map(|part| &part.statement).collect();
            work::group(pool, lease, &statements).await
        }
    };
    match results {
        Ok(results) => distribute(requests.len(), parts, results, writes),
        Err(error) => match requests {
            [_] if !work::is_worth_repeating(&error, writes) => vec![Outcome::Failed(error)],
            _ if writes && work::may_be_done(&error) => fail(requests, &error),
            // Each would wait for the same lock, one after the other.
            _ if error.is_file_locked() => fail(requests, &error),
            _ => all_alone(requests),
        },
    }
}

/// One statement for all that do the same, where there is one for several requests.
fn parts(requests: &mut [Request]) -> Result<Vec<Part>, sqlx::Error> {
    let mut left: Vec<usize> = (0..requests.len()).collect();
    let mut parts = Vec::new();
    while let Some(&first) = left.first() {
        let several = requests[first].work.several();
        let is_same =
            |other: Option<Several>| several.zip(other).is_some_and(|(one, other)| one.is(other));
        let (same, others): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|&index| index == first || is_same(requests[index].work.several()));
        left = others;
        parts.push(match several {
            Some(several) if same.len() > 1 => part(requests, same, several)?,
            _ => single(&mut requests[first], first),
        });
    }
    Ok(parts)
}

fn single(request: &mut Request, position: usize) -> Part {
    Part {
        statement: Statement {
            sql: request.work.single(),
            args: mem::take(&mut request.args),
            deadline: request.deadline,
        },
        answers: None,
        requests: vec![position],
    }
}

fn part(
    requests: &mut [Request],
    positions: Vec<usize>,
    several: Several,
) -> Result<Part, sqlx::Error> {
    let mut rows = Vec::with_capacity(positions.len());
    let mut deadline = requests[positions[0]].deadline;
    for &position in &positions {
        let request = &mut requests[position];
        deadline = deadline.min(request.deadline);
        rows.push(mem::take(&mut request.args));
    }
    let (sql, args) = several.with(rows)?;
    let statement = Statement {
        sql,
        args,
        deadline,
    };
    Ok(Part {
        statement,
        answers: Some(several.answers),
        requests: positions,
    })
}

fn distribute(
    count: usize,
    parts: Vec<Part>,
    results: Vec<QueryResult>,
    writes: bool,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    outcomes.resize_with(count, || Outcome::Alone);
    for (part, result) in parts.into_iter().zip(results) {
        let split = match part.answers {
            None => Ok(vec![Some(result)]),
            Some(answers) => answers.split(result, part.requests.len()),
        };
        match split {
            Ok(answers) => {
                for (position, answer) in part.requests.into_iter().zip(answers) {
                    outcomes[position] = answer.map_or(Outcome::Alone, Outcome::Done);
                }
            }
            // The store looks for what was created.
            Err(error) if writes => {
                let error = StoreError::Undecided(error);
                for position in part.requests {
                    outcomes[position] = Outcome::Failed(error.repeated());
                }
            }
            Err(_) => {}
        }
    }
    outcomes
}

/// The outcomes of requests whose statement may have been sent, or may not.
pub(super) fn after_panic(requests: &[Request]) -> Vec<Outcome> {
    let error = StoreError::Undecided(sqlx::Error::WorkerCrashed);
    let outcome = |request: &Request| {
        if request.work.writes() {
            Outcome::Failed(error.repeated())
        } else {
            Outcome::Alone
        }
    };
    requests.iter().map(outcome).collect()
}

fn fail(requests: &[Request], error: &StoreError) -> Vec<Outcome> {
    requests
        .iter()
        .map(|_| Outcome::Failed(error.repeated()))
        .collect()
}

fn all_alone(requests: &[Request]) -> Vec<Outcome> {
    requests.iter().map(|_| Outcome::Alone).collect()
}
