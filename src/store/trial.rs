//! A trial of what the daemon does, with its own methods and in a transaction that is rolled
//! back.
//!
//! Nothing stays: no row, no lock, no mail. A value of each sequence is used up. The user has a
//! name of its own, and due dates lie in the past, so that neither another session waits for a
//! row of the trial nor the trial takes a row of somebody else.

use std::time::Duration;

use crate::clock::Clock;
use crate::config::DatabaseConfig;
use crate::domain::Task;

use super::arg::args;
use super::connect_error::ConnectError;
use super::database::Store;
use super::dialect::Dialect;
use super::error::StoreError;
use super::sql::Sql;

mod accounts;
mod fault;
mod reminding;
mod sample;
mod working;

pub(crate) use fault::TrialFault;
use sample::Sample;

/// How long closing the connection may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Tables whose rows are looked for by the users that own them.
const TABLES: [&str; 4] = [
    "tasks",
    "notifications",
    "user_api_keys",
    "todoctl_sessions",
];

/// One operation of the daemon, and how it ended.
#[derive(Debug)]
pub(crate) struct Tried {
    /// What the daemon does, such as `create a task`.
    pub(crate) operation: &'static str,
    pub(crate) outcome: Result<(), TrialFault>,
}

/// Tries the operations of the daemon on the database of `config`, in the daemon's order. The
/// operations after a connection or a time limit failed are left out.
pub(crate) async fn try_out(
    config: &DatabaseConfig,
    clock: &Clock,
) -> Result<Vec<Tried>, ConnectError> {
    let store = Store::connect_for_trial(config, clock.clone()).await?;
    let mut trial = Trial {
        store: &store,
        tried: Vec::new(),
        ended: false,
    };
    trial.run().await;
    let tried = trial.tried;
    match tokio::time::timeout(CLOSE_LIMIT, store.end_trial()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the trial's connection is gone"),
        Err(_) => tracing::debug!("the trial's connection does not answer"),
    }
    Ok(tried)
}

struct Trial<'a> {
    store: &'a Store,
    tried: Vec<Tried>,
    /// Nothing more is tried.
    ended: bool,
}

impl Trial<'_> {
    async fn run(&mut self) {
        let store = self.store;
        let sample = Sample::new(store.now());
        self.step("see the rows of users", see_rows(store)).await;
        let created = self
            .step("create a task", working::create(store, &sample))
            .await;
        if let Some(task) = &created {
            self.on_task(&sample, task).await;
        }
        self.step(
            "create a task once (Idempotency-Key)",
            working::create_once(store, &sample),
        )
        .await;
        self.step("look up a session", accounts::session(store, &sample))
            .await;
        self.step("look up a refresh token", accounts::refresh(store, &sample))
            .await;
        self.step(
            "keep a provider key",
            accounts::provider_key(store, &sample),
        )
        .await;
        self.step("read mail addresses", accounts::addresses(store, &sample))
            .await;
        if let Some(task) = &created {
            self.step("delete a task", working::delete(store, &sample, task))
                .await;
            let other = self
                .step("create another task", working::create(store, &sample))
                .await;
            if let Some(task) = &other {
                let work = working::delete_several(store, &sample, task);
                self.step("delete several tasks", work).await;
            }
        }
    }

    async fn on_task(&mut self, sample: &Sample, task: &Task) {
        let store = self.store;
        self.step("read a task", working::read(store, sample, task))
            .await;
        self.step("list tasks", working::list(store, sample, task))
            .await;
        self.step("search tasks", working::search(store, sample, task))
            .await;
        self.step("change a task", working::change(store, sample, task))
            .await;
        let reminded = self
            .step(
                "remind of a due task",
                reminding::remind(store, sample, task),
            )
            .await;
        if reminded.is_some() {
            self.step("send a mail", reminding::send(store)).await;
            let newest = self
                .step("list notifications", reminding::list(store, sample))
                .await;
            if let Some(newest) = newest {
                let work = reminding::mark_read(store, sample, newest);
                self.step("mark notifications as read", work).await;
            }
        }
        self.step("complete a task", working::complete(store, sample, task))
            .await;
    }

    async fn step<T>(
        &mut self,
        operation: &'static str,
        work: impl Future<Output = Result<T, TrialFault>>,
    ) -> Option<T> {
        if self.ended {
            return None;
        }
        let (value, outcome) = match work.await {
            Ok(value) => (Some(value), Ok(())),
            Err(fault) => (None, Err(fault)),
        };
        self.ended = outcome.as_ref().is_err_and(TrialFault::ends_trial);
        self.tried.push(Tried { operation, outcome });
        value
    }
}

/// Compares what the role sees with what the server counts, where row-level security applies.
async fn see_rows(store: &Store) -> Result<(), TrialFault> {
    if store.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    let mut hidden = Vec::new();
    for table in TABLES {
        let question = format!(
            "SELECT count(*) > 0 AS hidden FROM pg_catalog.pg_class AS c
             WHERE c.oid = to_regclass('{table}') AND row_security_active(c.oid)
               AND greatest(c.reltuples, pg_catalog.pg_stat_get_live_tuples(c.oid)) > 0
               AND NOT EXISTS (SELECT FROM {table})"
        );
        let answer = store.read(&Sql::Built(question.into()), &args![]).await?;
        if answer.value("hidden").map_err(StoreError::from)? {
            hidden.push(table);
        }
    }
    if hidden.is_empty() {
        Ok(())
    } else {
        Err(TrialFault::Hidden(hidden))
    }
}
