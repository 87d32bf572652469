//! The catalogue's entry for an error.

use std::error::Error;

use super::connect_error::ConnectError;
use super::error::StoreError;
use super::messages::{self, KnownMessage};

/// The catalogue's entry for `error`: that of its deepest cause which has one.
///
/// `id` and `remedy()` contain nothing of the error's own text, so they may be logged.
pub(crate) fn known_message(error: &(dyn Error + 'static)) -> Option<&'static KnownMessage> {
    let mut known = None;
    let mut cause = Some(error);
    while let Some(error) = cause {
        known = of_one(error).or(known);
        cause = error.source();
    }
    known
}

/// The database's code of the deepest cause of `error` that has one: an SQLSTATE of PostgreSQL,
/// or a result code of SQLite.
pub(crate) fn database_code(error: &(dyn Error + 'static)) -> Option<String> {
    let mut code = None;
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(sqlx::Error::Database(fault)) = error.downcast_ref() {
            code = fault.code().map(String::from).or(code);
        }
        cause = error.source();
    }
    code
}

fn of_one(error: &(dyn Error + 'static)) -> Option<&'static KnownMessage> {
    if let Some(error) = error.downcast_ref::<ConnectError>() {
        return error.known;
    }
    if let Some(StoreError::Connect(error)) = error.downcast_ref() {
        return error.known;
    }
    if let Some(sqlx::Error::Database(fault)) = error.downcast_ref() {
        return messages::of_database(&**fault);
    }
    messages::find(&error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::time::Duration;

    fn id(error: &(dyn Error + 'static)) -> Option<&'static str> {
        known_message(error).map(|known| known.id)
    }

    #[test]
    fn the_deepest_known_cause() {
        let refused = io::Error::other("Connection refused (os error 111)");
        let lost = StoreError::ConnectionLost(sqlx::Error::Io(refused));
        assert_eq!(id(&lost), Some("network.refused"));
        let lost = StoreError::ConnectionLost(sqlx::Error::WorkerCrashed);
        assert_eq!(id(&lost), Some("postgres.terminated"));
    }

    #[test]
    fn errors_of_the_pool_and_unknown_ones() {
        let busy = StoreError::PoolTimeout {
            waited: Duration::from_secs(1),
            in_use: 3,
            max: 3,
        };
        assert_eq!(id(&busy), Some("todoctl.pool-timeout"));
        assert_eq!(id(&StoreError::Closed), None);
    }
}
