//! What the batchers of one store record together.

use prometheus::{Histogram, HistogramOpts, IntCounter};

#[derive(Clone)]
pub(in crate::store) struct BatchMetrics {
    /// How many requests each statement or transaction was for.
    pub requests: Histogram,
    /// Requests that ran alone after all.
    pub alone: IntCounter,
}

impl BatchMetrics {
    #[allow(
        clippy::expect_used,
        reason = "the names and the buckets are constants and valid"
    )]
    pub fn new() -> Self {
        let requests = HistogramOpts::new(
            "db_batch_requests",
            "Requests that ran in one statement or transaction.",
        )
        .buckets(vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]);
        Self {
            requests: Histogram::with_opts(requests).expect("valid histogram options"),
            alone: IntCounter::new(
                "db_batch_fallbacks_total",
                "Requests that ran alone after a shared statement: it failed, or did not answer them.",
            )
            .expect("a valid name"),
        }
    }
}
