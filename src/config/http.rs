//! The HTTP listener and its limits.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::cors;
use super::environment::Environment;
use super::error::{ConfigError, Loaded};
use super::parse::{number, seconds};
use super::reader::Reader;
use super::remedy::Remedy;
use super::source::Source;
use super::variable::{Defaulted, Fault, Section, Variable, declare};

/// The listener and its limits.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// `HOST`.
    pub host: IpAddr,
    /// `PORT`; 0 chooses a free one.
    pub port: u16,
    /// Threads that serve requests.
    pub workers: usize,
    /// Origins such as `https://app.example.com`.
    pub cors_origins: BTreeSet<String>,
    /// `REQUEST_TIMEOUT_SECONDS`.
    pub request_timeout: Duration,
    /// `MAX_BODY_BYTES`.
    pub max_body_bytes: usize,
    /// How long an idle connection is kept.
    pub keepalive: Duration,
    /// How long `/health/ready` answers 503 before the listener closes.
    pub shutdown_delay: Duration,
    /// How long running requests may take after that.
    pub shutdown_grace: Duration,
}

const fn variable(name: &'static str, help: &'static str) -> Variable {
    Variable::new(Section::Http, name, help)
}

declare! {
    static HOST: Defaulted<IpAddr> = variable(
        "HOST",
        "IP address to listen on. In a container: 0.0.0.0",
    )
    .example("0.0.0.0")
    .default("127.0.0.1", host);

    static PORT: Defaulted<u16> = variable("PORT", "Port to listen on; 0 chooses a free one.")
        .default("8000", |text| number(text, 0, u16::MAX));

    static WORKERS: Defaulted<usize> = variable(
        "WORKERS",
        "Threads that serve requests. Default: one per CPU core.",
    )
    .example("2")
    .computed_default(cores, |text| number(text, 1, 256));

    static REQUEST_TIMEOUT_SECONDS: Defaulted<Duration> = variable(
        "REQUEST_TIMEOUT_SECONDS",
        "Time limit of a request. Keep it below 30 s, after which clients give up and retry.",
    )
    .default("20", |text| seconds(text, 0.1, 3600.0));

    static MAX_BODY_BYTES: Defaulted<usize> = variable("MAX_BODY_BYTES", "Largest request body, in bytes.")
        .default("1048576", |text| number(text, 1024, 64 * 1024 * 1024));

    static KEEPALIVE_SECONDS: Defaulted<Duration> = variable(
        "KEEPALIVE_SECONDS",
        "How long an idle connection stays open. Make it longer than the idle timeout of the load \
         balancer: the first to close decides whether a request can get lost.",
    )
    .default("75", |text| seconds(text, 1.0, 3600.0));

    static SHUTDOWN_DELAY_SECONDS: Defaulted<Duration> = variable(
        "SHUTDOWN_DELAY_SECONDS",
        "After SIGTERM, /health/ready answers 503 for this long before the listener closes, so \
         that load balancers stop sending requests.",
    )
    .default("0", |text| seconds(text, 0.0, 3600.0));

    static SHUTDOWN_GRACE_SECONDS: Defaulted<Duration> = variable(
        "SHUTDOWN_GRACE_SECONDS",
        "Time for running requests to finish after the listener has closed. Docker kills a \
         container 10 s after SIGTERM.",
    )
    .default("8", |text| seconds(text, 0.0, 3600.0));
}

pub(super) fn read(reader: &mut Reader<'_>) -> HttpConfig {
    let port = reader.value(&PORT);
    if port == 0 && reader.environment != Environment::Development {
        reader.warn(
            PORT.variable.name,
            "is 0: the daemon listens on another port after each start, and no proxy finds it; use 8000",
            Remedy::set(PORT.variable.name, 8000),
        );
    }
    let (delay, grace) = (
        reader.value(&SHUTDOWN_DELAY_SECONDS),
        reader.value(&SHUTDOWN_GRACE_SECONDS),
    );
    warn_of_kill(reader, delay, grace);
    HttpConfig {
        host: reader.value(&HOST),
        port,
        workers: reader.value(&WORKERS),
        cors_origins: cors::read(reader),
        request_timeout: reader.value(&REQUEST_TIMEOUT_SECONDS),
        max_body_bytes: reader.value(&MAX_BODY_BYTES),
        keepalive: reader.value(&KEEPALIVE_SECONDS),
        shutdown_delay: delay,
        shutdown_grace: grace,
    }
}

/// Platforms that kill a process after a fixed time: the variable that shows them, their name, and
/// the seconds after SIGTERM.
const KILLERS: [(&str, &str, u64); 2] = [("K_SERVICE", "Cloud Run", 10), ("DYNO", "Heroku", 30)];

/// Warns where a stop takes longer than the platform waits, so that requests are cut off.
fn warn_of_kill(reader: &mut Reader<'_>, delay: Duration, grace: Duration) {
    let mut killers = KILLERS.into_iter();
    let Some((_, platform, limit)) = killers.find(|(name, ..)| reader.has_value(name)) else {
        return;
    };
    let wait = Duration::from_secs(limit);
    if delay + grace <= wait {
        return;
    }
    let name = SHUTDOWN_DELAY_SECONDS.variable.name;
    let grace = grace.min(wait * 4 / 5);
    let delay = delay.min(wait.saturating_sub(grace)).as_secs();
    reader.warn(
        SHUTDOWN_GRACE_SECONDS.variable.name,
        format!("and {name} are together more than {limit} s, after which {platform} kills the daemon: requests are cut off"),
        Remedy::set(name, delay)
            .then(Remedy::set(SHUTDOWN_GRACE_SECONDS.variable.name, grace.as_secs())),
    );
}

impl HttpConfig {
    /// Loads only the listener's variables.
    pub fn load(source: &Source) -> Result<Loaded<Self>, ConfigError> {
        let mut reader = Reader::new(source);
        let value = read(&mut reader);
        reader.finish(Some(value))
    }
}

fn cores() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.to_string()
}

fn host(text: &str) -> Result<IpAddr, Fault> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok([127, 0, 0, 1].into());
    }
    let text = text.trim_start_matches('[').trim_end_matches(']');
    text.parse().map_err(|_| "is not an IP address".into())
}

#[cfg(test)]
mod tests {
    use crate::config::{Audit, Source};

    #[test]
    fn stops_that_a_platform_does_not_wait_for() {
        for (values, remedy) in [
            (
                &[("DYNO", "web.1"), ("SHUTDOWN_DELAY_SECONDS", "15")][..],
                None,
            ),
            (&[("SHUTDOWN_DELAY_SECONDS", "15")], None),
            (&[("K_SERVICE", "todo")], None),
            (
                &[("K_SERVICE", "todo"), ("SHUTDOWN_DELAY_SECONDS", "15")],
                Some("todoctl config set SHUTDOWN_DELAY_SECONDS=2 SHUTDOWN_GRACE_SECONDS=8"),
            ),
            (
                &[("DYNO", "web.1"), ("SHUTDOWN_GRACE_SECONDS", "40")],
                Some("todoctl config set SHUTDOWN_DELAY_SECONDS=0 SHUTDOWN_GRACE_SECONDS=24"),
            ),
        ] {
            let audit = Audit::of(&Source::from_values(values.iter().copied()));
            let mut warnings = audit.warnings.iter();
            let found = warnings.find(|one| one.message.contains("kills the daemon"));
            let found = found.map(|one| one.remedy.to_string());
            assert_eq!(found.as_deref(), remedy, "{values:?}");
        }
    }
}
