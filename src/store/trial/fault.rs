//! How an operation can fail.

use crate::store::error::StoreError;
use crate::store::known::known_message;

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
    // In a function of others, the same words mean something else.
    let known =
        known_message(error).filter(|known| fault.raised_in.is_none() || known.is_timeout());
    if let Some(known) = known {
        text += &format!(": {}", known.meaning);
    }
    if let Some(place) = fault.raised_in {
        text += &format!("; raised in {place}");
    }
    text
}

impl TrialFault {
    /// Whether the operations that follow would end the same way, after as long a time.
    pub(super) fn ends_trial(&self) -> bool {
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

/// The row of a statement that returns the one it has written.
pub(super) fn stored<T>(
    table: &'static str,
    written: Result<T, StoreError>,
) -> Result<T, TrialFault> {
    written.map_err(|error| match error {
        StoreError::Query(sqlx::Error::RowNotFound) => TrialFault::Swallowed(table),
        error => error.into(),
    })
}

/// A row that was stored in the trial.
pub(super) fn seen<T>(table: &'static str, found: Option<T>) -> Result<T, TrialFault> {
    found.ok_or(TrialFault::Unseen(table))
}

/// Fails if one of the conditions does not hold; each belongs to a column.
pub(super) fn same(
    table: &'static str,
    columns: &[(&'static str, bool)],
) -> Result<(), TrialFault> {
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
