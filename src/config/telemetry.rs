//! Logs and metrics.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tracing_subscriber::EnvFilter;

use super::reader::Reader;
use super::remedy::Remedy;
use super::variable::{Defaulted, Fault, Optional, Section, Variable, declare};

/// `LOG_LEVEL`, `LOG_FORMAT`, `LOG_REQUESTS` and `METRICS_ADDR`.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// A tracing filter such as `info` or `info,sqlx=debug`.
    pub level: String,
    /// `None`: pretty on a terminal, JSON otherwise.
    pub format: Option<LogFormat>,
    /// Which requests have a log line.
    pub requests: LogRequests,
    /// A listener of its own for `/metrics`, instead of the public one.
    pub metrics_addr: Option<SocketAddr>,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object per line.
    Json,
}

/// Which requests have a log line; each value includes the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogRequests {
    /// Every request.
    All,
    /// Those that took long, and those that failed.
    Slow,
    /// Those answered with 4xx or 5xx.
    Errors,
}

const fn variable(name: &'static str, help: &'static str) -> Variable {
    Variable::new(Section::Telemetry, name, help)
}

declare! {
    static LOG_LEVEL: Defaulted<String> = variable(
        "LOG_LEVEL",
        "error, warn, info, debug, trace, or a list such as info,sqlx=debug",
    )
    .default("info", log_level);

    static LOG_FORMAT: Optional<LogFormat> = variable(
        "LOG_FORMAT",
        "pretty or json. Default: pretty on a terminal, json otherwise.",
    )
    .example("json")
    .optional(|text| match text.to_ascii_lowercase().as_str() {
        "pretty" => Ok(LogFormat::Pretty),
        "json" => Ok(LogFormat::Json),
        _ => Err("is not pretty or json".into()),
    });

    static LOG_REQUESTS: Defaulted<LogRequests> = variable(
        "LOG_REQUESTS",
        "Which requests have a log line: all, slow (of 500 ms or more, and errors), or errors (4xx and 5xx)",
    )
    .default("all", |text| match text.to_ascii_lowercase().as_str() {
        "all" => Ok(LogRequests::All),
        "slow" => Ok(LogRequests::Slow),
        "errors" => Ok(LogRequests::Errors),
        _ => Err("is not all, slow or errors".into()),
    });

    static METRICS_ADDR: Optional<SocketAddr> = variable(
        "METRICS_ADDR",
        "Serves /metrics on this address instead of the public listener.",
    )
    .example("127.0.0.1:9000")
    .optional(|text| text.parse().map_err(|_| "is not ADDRESS:PORT".into()));
}

pub(super) fn read(reader: &mut Reader<'_>) -> TelemetryConfig {
    TelemetryConfig {
        level: reader.value(&LOG_LEVEL),
        format: reader.optional(&LOG_FORMAT),
        requests: reader.value(&LOG_REQUESTS),
        metrics_addr: reader.optional(&METRICS_ADDR),
    }
}

/// Warns of metrics that more machines can reach than the API, which listens on `host`. In a
/// container both listen on all addresses, because others cannot be named.
pub(super) fn warn_of_open_metrics(
    reader: &mut Reader<'_>,
    telemetry: &TelemetryConfig,
    host: IpAddr,
) {
    let is_open = |address: &SocketAddr| address.ip().to_canonical().is_unspecified();
    let Some(address) = telemetry.metrics_addr.filter(is_open) else {
        return;
    };
    if !host.is_unspecified() {
        reader.warn(
            METRICS_ADDR.variable.name,
            "listens on all addresses of this machine, unlike the API, so other machines can read the metrics",
            Remedy::note("for a Prometheus on this machine; for another one, the address that only it reaches:")
                .then(Remedy::set(
                    METRICS_ADDR.variable.name,
                    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
                )),
        );
    }
}

/// A level, or a list of `target=level`. The previous service's names of levels are accepted.
fn log_level(text: &str) -> Result<String, Fault> {
    let text = match text.to_ascii_lowercase().as_str() {
        "warning" => "warn".to_owned(),
        "critical" | "fatal" => "error".to_owned(),
        // PostgreSQL's notices ("relation exists, skipping") are of no use to an operator.
        "info" => "info,sqlx::postgres::notice=warn".to_owned(),
        level @ ("off" | "error" | "warn" | "debug" | "trace") => level.to_owned(),
        // The filter takes a single other word for the name of a module, and logs nothing else.
        word if !word.contains('=') => {
            return Err("is not error, warn, info, debug or trace".into());
        }
        _ => text.to_owned(),
    };
    EnvFilter::builder()
        .parse(&text)
        .map(|_| text)
        .map_err(|_| "is not a list of target=level".into())
}
