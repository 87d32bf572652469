//! Logs and metrics.

use std::net::{Ipv4Addr, SocketAddr};

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Targets;

use super::environment::Environment;
use super::http::HttpConfig;
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
        _ => Err(Fault {
            message: "is not pretty or json".to_owned(),
            remedy: Some(Remedy::unset("LOG_FORMAT")),
        }),
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
    let level = reader.value(&LOG_LEVEL);
    if !logs_failures(&level) {
        reader.warn(
            LOG_LEVEL.variable.name,
            "leaves out why requests fail and services do not answer: use info",
            Remedy::set(LOG_LEVEL.variable.name, "info"),
        );
    }
    if level == "trace" && reader.environment != Environment::Development {
        reader.warn(
            LOG_LEVEL.variable.name,
            "is trace: many lines for each request fill the disk, and slow the daemon down; use info",
            Remedy::set(LOG_LEVEL.variable.name, "info"),
        );
    }
    TelemetryConfig {
        level,
        format: reader.optional(&LOG_FORMAT),
        requests: reader.value(&LOG_REQUESTS),
        metrics_addr: reader.optional(&METRICS_ADDR),
    }
}

/// Whether the log has the requests that fail, which are warnings and errors of this program.
fn logs_failures(level: &str) -> bool {
    // A filter of spans or fields, which this does not know, was written on purpose.
    level.parse().is_ok_and(|targets: Targets| {
        targets.would_enable(concat!(env!("CARGO_CRATE_NAME"), "::api"), &Level::WARN)
    }) || level.contains(['[', '{'])
}

/// The address for the metrics that is as good as `address` where it cannot stay: with another port
/// than the API's, and not open to more machines than the API.
pub(crate) fn metrics_address(address: SocketAddr, http: &HttpConfig) -> SocketAddr {
    let ip = if is_more_open(address, http) {
        Ipv4Addr::LOCALHOST.into()
    } else {
        address.ip()
    };
    let port = if address.port() == http.port {
        address.port().checked_add(1).unwrap_or(9000)
    } else {
        address.port()
    };
    SocketAddr::new(ip, port)
}

/// Whether more machines can reach `address` than the API. In a container both listen on all
/// addresses, because others cannot be named.
fn is_more_open(address: SocketAddr, http: &HttpConfig) -> bool {
    address.ip().to_canonical().is_unspecified() && !http.host.is_unspecified()
}

/// Warns of metrics that more machines can reach than the API.
pub(super) fn warn_of_open_metrics(
    reader: &mut Reader<'_>,
    telemetry: &TelemetryConfig,
    http: &HttpConfig,
) {
    let Some(address) = telemetry.metrics_addr else {
        return;
    };
    if is_more_open(address, http) {
        reader.warn(
            METRICS_ADDR.variable.name,
            "listens on all addresses of this machine, unlike the API, so other machines can read the metrics",
            Remedy::note("for a Prometheus on this machine; for another one, the address that only it reaches:")
                .then(Remedy::set(
                    METRICS_ADDR.variable.name,
                    metrics_address(address, http),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Audit, Source};

    #[test]
    fn levels_without_failures() {
        for (level, is_enough) in [
            ("info", true),
            ("warn", true),
            ("DEBUG", true),
            ("error", false),
            ("off", false),
            ("sqlx=debug", false),
            ("warn,todoctl::api=error", false),
            ("info,sqlx=off", true),
            ("off,todoctl=info", true),
            ("info,todoctl[request]=debug", true),
        ] {
            let audit = Audit::of(&Source::from_values([("LOG_LEVEL", level)]));
            assert_eq!(audit.problems, [], "{level}");
            let mut warnings = audit.warnings.iter();
            let is_named = warnings.any(|one| one.variable == "LOG_LEVEL");
            assert_eq!(is_named, !is_enough, "{level}");
        }
    }

    #[test]
    fn addresses_of_metrics() {
        for (host, at, expected) in [
            ("127.0.0.1", "0.0.0.0:8000", "127.0.0.1:8001"),
            ("127.0.0.1", "0.0.0.0:9000", "127.0.0.1:9000"),
            ("127.0.0.1", "[::]:9000", "127.0.0.1:9000"),
            ("0.0.0.0", "0.0.0.0:8000", "0.0.0.0:8001"),
            ("10.0.0.5", "10.0.0.5:8000", "10.0.0.5:8001"),
        ] {
            let audit = Audit::of(&Source::from_values([("HOST", host)]));
            let found = metrics_address(at.parse().unwrap(), &audit.http);
            assert_eq!(found.to_string(), expected, "{host} {at}");
        }
    }
}
