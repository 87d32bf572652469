//! A report in Prometheus's text format, for `node_exporter`'s textfile collector.

use prometheus::{Gauge, GaugeVec, Opts, Registry, TextEncoder};

use crate::diagnostics::{Outcome, Report};

/// One gauge for each check and outcome, as for a state set: 1 for the outcome that it had.
pub(super) fn metrics(report: &Report) -> Result<String, prometheus::Error> {
    let outcomes = GaugeVec::new(
        Opts::new(
            "todoctl_check",
            "1 for the outcome that the check had, 0 for the others.",
        ),
        &["id", "outcome"],
    )?;
    let durations = GaugeVec::new(
        Opts::new("todoctl_check_duration_seconds", "How long the check took."),
        &["id"],
    )?;
    let last_run = Gauge::new(
        "todoctl_doctor_last_run_timestamp_seconds",
        "When the checks ended, in seconds since 1970.",
    )?;
    for finding in report.findings() {
        for (outcome, label) in [
            (Outcome::Pass, "pass"),
            (Outcome::Warn, "warn"),
            (Outcome::Fail, "fail"),
            (Outcome::Skip, "skip"),
        ] {
            let is_it = f64::from(u8::from(finding.outcome == outcome));
            outcomes.with_label_values(&[finding.id, label]).set(is_it);
        }
        let took = std::time::Duration::from_millis(finding.millis);
        durations
            .with_label_values(&[finding.id])
            .set(took.as_secs_f64());
    }
    // Exact until the year 287396.
    #[allow(clippy::cast_precision_loss, reason = "seconds since 1970")]
    last_run.set(report.time().unix_seconds() as f64);
    let registry = Registry::new();
    registry.register(Box::new(outcomes))?;
    registry.register(Box::new(durations))?;
    registry.register(Box::new(last_run))?;
    TextEncoder::new().encode_to_string(&registry.gather())
}
