//! What PostgreSQL says about an error, in fields that no language changes.

use sqlx::postgres::PgDatabaseError;

/// An error of PostgreSQL, and what it is about as far as the server says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PostgresFault {
    /// SQLSTATE.
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) table: Option<String>,
    pub(crate) column: Option<String>,
    pub(crate) constraint: Option<String>,
    /// The function in PostgreSQL's source that reported it, which no language changes.
    pub(crate) routine: Option<String>,
    /// What more is said about a publication that refuses a change. The detail of other errors may
    /// have values of a row.
    pub(crate) detail: Option<String>,
    /// The function that raised it, and those that called it: `PL/pgSQL function f() line 3 at
    /// RAISE`.
    pub(crate) raised_in: Option<String>,
}

/// What refuses a change that a publication cannot publish.
const OF_PUBLICATIONS: &str = "CheckCmdReplicaIdentity";

impl PostgresFault {
    pub(super) fn of(fault: &PgDatabaseError) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            code: fault.code().to_owned(),
            message: fault.message().to_owned(),
            table: owned(fault.table()),
            column: owned(fault.column()),
            constraint: owned(fault.constraint()),
            detail: owned(fault.detail()).filter(|_| fault.routine() == Some(OF_PUBLICATIONS)),
            routine: owned(fault.routine()),
            raised_in: fault.r#where().and_then(functions_of),
        }
    }

    /// Whether a publication cannot publish the change.
    pub(crate) fn is_of_publication(&self) -> bool {
        self.routine.as_deref() == Some(OF_PUBLICATIONS)
    }

    /// Whether an entry is too long for its index, a B-tree.
    pub(crate) fn is_of_index_entry(&self) -> bool {
        self.routine.as_deref() == Some("_bt_check_third_page")
    }
}

/// The functions of an error's context, which has their statements, too.
fn functions_of(context: &str) -> Option<String> {
    // In other languages, as in "PL/pgSQL-Funktion".
    let is_function = |line: &&str| line.contains(" function ") || line.starts_with("PL/");
    let functions: Vec<&str> = context.lines().filter(is_function).collect();
    if functions.is_empty() {
        return context.lines().next().map(str::to_owned);
    }
    Some(functions.join(", called by "))
}
