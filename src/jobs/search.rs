//! Keeps tasks searchable: folds the texts of rows that other programs wrote, and builds the
//! indexes that migrations leave to the daemon.

use std::time::Instant;

use crate::store::{IndexBuild, SearchIndex, Store, StoreError};

use super::stop::Stop;

/// Tasks in one transaction. Small, because changes to these tasks wait for it, and on SQLite
/// all changes.
const BATCH: usize = 500;

/// One process's upkeep of searches.
#[derive(Debug)]
pub struct SearchUpkeep {
    store: Store,
    /// The outcome of the latest build, which is logged when it changes.
    latest: Option<IndexBuild>,
}

impl SearchUpkeep {
    /// For the tasks of `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            latest: None,
        }
    }

    /// Folds all texts that are not folded, and builds the indexes that are missing; returns how
    /// many tasks it folded. Several processes may do so at the same time.
    ///
    /// After `stop` it finishes the batch in progress. A build goes on in the server.
    pub async fn run(&mut self, stop: &Stop) -> Result<usize, StoreError> {
        self.build(SearchIndex::Unfolded, stop).await?;
        let folded = self.fold(stop).await?;
        // Last, because a full index is built much faster than it is filled.
        self.build(SearchIndex::Trigrams, stop).await?;
        Ok(folded)
    }

    /// Folds all texts that are not folded; returns how many tasks it folded.
    pub async fn fold(&self, stop: &Stop) -> Result<usize, StoreError> {
        let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
        let mut all = 0;
        while !stop.is_set() {
            let started = Instant::now();
            let folded = self.store.fold_tasks(limit).await?;
            all += folded;
            if folded < BATCH {
                break;
            }
            // Other writers get a third of the time.
            tokio::time::sleep(started.elapsed() / 2).await;
        }
        Ok(all)
    }

    async fn build(&mut self, index: SearchIndex, stop: &Stop) -> Result<(), StoreError> {
        if stop.is_set() || self.store.has_search_index(index).await? {
            return Ok(());
        }
        let mut stop = stop.clone();
        let outcome = tokio::select! {
            outcome = self.store.build_search_index(index) => outcome?,
            () = stop.set() => return Ok(()),
        };
        let name = index.name();
        let is_known = self.latest.replace(outcome) == Some(outcome);
        match outcome {
            IndexBuild::Done => tracing::info!(index = name, "an index for searches was built"),
            _ if is_known => {}
            IndexBuild::Busy => {
                tracing::info!(index = name, "another process builds an index for searches");
            }
            IndexBuild::NoExtension => tracing::warn!(
                "a search reads all tasks of its user: pg_trgm is not there and cannot be created; todoctl doctor tells what to do"
            ),
            IndexBuild::ThroughPooler => tracing::warn!(
                index = name,
                "an index for searches cannot be built through a pooler: set DATABASE_URL_UNPOOLED"
            ),
        }
        Ok(())
    }
}
