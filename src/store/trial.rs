//! A trial of what the daemon does, with its own methods and in a transaction that is rolled
//! back.
//!
//! Nothing stays: no row, no lock, no mail. A value of each sequence is used up. The user has a
//! name of its own, and due dates lie in the past, so that neither another session waits for a
//! row of the trial nor the trial takes a row of somebody else.

use std::time::Duration;

use crate::clock::Clock;
use crate::config::DatabaseConfig;
use crate::domain::{Task, Timestamp};

use super::arg::args;
use super::connect_error::ConnectError;
use super::database::Store;
use super::dialect::Dialect;
use super::error::StoreError;
use super::known::known_message;
use super::sql::Sql;

mod accounts;
mod reminding;
mod sample;
mod working;

use sample::Sample;

/// When the sample's tasks are due: before any task of a user. Microseconds show whether a
/// column keeps them.
const DUE: i64 = 978_307_200_123_456;

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

/// What is wrong with an operation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrialFault {
    /// The database refused it, or did not answer in time.
    #[error("{}", said(.0))]
    Refused(StoreError),
    /// A statement succeeded, and its row was not stored or changed.
    #[error("the database reports success, and the row of table {0} is not stored")]
    Swallowed(&'static str),
    /// The row is not the one that was sent.
    #[error("the database stores other values than it was sent: table {table}, {columns}")]
    Altered {
        table: &'static str,
        columns: String,
    },
    /// A row that was just stored is not found.
    #[error("a row of table {0} was stored and is not found")]
    Unseen(&'static str),
    /// Row-level security hides the rows of others.
    #[error("this role sees no row of {}, and there are rows", .0.join(", "))]
    Hidden(Vec<&'static str>),
}

impl From<StoreError> for TrialFault {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

/// The database's own words, and where they come from.
fn said(error: &StoreError) -> String {
    let Some(fault) = error.postgres() else {
        return error.to_string();
    };
    let mut text = format!("{} (SQLSTATE {})", fault.message, fault.code);
    if let Some(known) = known_message(error) {
        text += &format!(": {}", known.meaning);
    }
    if let Some(place) = fault.raised_in {
        text += &format!("; raised in {place}");
    }
    text
}

impl TrialFault {
    /// Whether the operations that follow would end the same way, after as long a time.
    fn ends_trial(&self) -> bool {
        matches!(
            self,
            Self::Refused(
                StoreError::PoolTimeout { .. }
                    | StoreError::Connect(_)
                    | StoreError::ConnectionLost(_)
                    | StoreError::Undecided(_)
                    | StoreError::OutcomeUnknown(_)
                    | StoreError::Transient(_)
                    | StoreError::Closed
            )
        )
    }
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
            self.step("list notifications", reminding::read(store, sample))
                .await;
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
    if store.dialect() == Dialect::SqliteFolded {
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

/// The row of a statement that returns the one it has written.
fn stored<T>(table: &'static str, written: Result<T, StoreError>) -> Result<T, TrialFault> {
    written.map_err(|error| match error {
        StoreError::Query(sqlx::Error::RowNotFound) => TrialFault::Swallowed(table),
        error => error.into(),
    })
}

/// A row that was stored in the trial.
fn seen<T>(table: &'static str, found: Option<T>) -> Result<T, TrialFault> {
    found.ok_or(TrialFault::Unseen(table))
}

/// Fails if one of the conditions does not hold; each belongs to a column.
fn same(table: &'static str, columns: &[(&'static str, bool)]) -> Result<(), TrialFault> {
    let altered: Vec<&str> = columns
        .iter()
        .filter(|(_, is_same)| !is_same)
        .map(|(name, _)| *name)
        .collect();
    if altered.is_empty() {
        return Ok(());
    }
    Err(TrialFault::Altered {
        table,
        columns: altered.join(", "),
    })
}

/// When the sample's tasks are due.
fn due() -> Timestamp {
    Timestamp::from_micros_clamped(DUE)
}
