//! Whether a statement failed because the database lacks a migration.
//!
//! While somebody migrates, or has not yet, tables and columns are missing. The daemon says so with
//! `/health/ready`, and requests are answered with 503. A table that is missing although all migrations
//! are applied is a defect (500).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::store::Store;

use super::error::ApiError;

/// A statement may have failed just before the database was migrated. So what was missing still
/// counts for so long.
const RECENT: Duration = Duration::from_secs(5);

/// When a migration was seen to be missing last.
#[derive(Debug, Default)]
pub(super) struct SchemaGap(Mutex<Option<Instant>>);

impl SchemaGap {
    /// The error to answer with: a missing table or column is no defect while a migration is missing.
    pub async fn judge(&self, error: ApiError, store: &Store) -> ApiError {
        match error {
            ApiError::Database(error) if error.needs_migration() => {
                if self.is_open(store).await {
                    ApiError::DatabaseUnavailable(error)
                } else {
                    ApiError::Database(error)
                }
            }
            other => other,
        }
    }

    async fn is_open(&self, store: &Store) -> bool {
        if self.seen().is_some_and(|seen| seen.elapsed() < RECENT) {
            return true;
        }
        match store.migrations_pending().await {
            Ok(true) => {
                self.see();
                true
            }
            Ok(false) => false,
            Err(error) => error.is_unavailable(),
        }
    }

    fn seen(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}
