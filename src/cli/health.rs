//! `todoctl health`: queries `/health` of a running daemon, for container health checks.
//!
//! Docker reserves exit code 2, so every failure here is 1.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;
use url::Url;

use crate::config::Source;
use crate::services::daemon::{self, HealthAnswer};

use super::context::Context;
use super::output::{self, Format};

pub(super) const EXAMPLES: &str = "\
Exit code: 0 healthy, 1 otherwise (Docker reserves 2).

Examples:
  todoctl health
  todoctl health --url https://todo.example.com --timeout 10s
  HEALTHCHECK CMD [\"todoctl\", \"health\"]    (in a Dockerfile)";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Address of the daemon [default: HOST and PORT on this machine].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    // A string, because clap exits with 2 when it cannot parse a value.
    /// Time limit for the response.
    #[arg(long, value_name = "TIME", default_value = "3s")]
    timeout: String,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The JSON output; its keys are stable.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Answer {
    healthy: bool,
    url: Option<String>,
    status: Option<u16>,
    database: Option<String>,
    millis: u64,
    error: Option<String>,
}

/// `context` may be an error: if the caller returned it, the exit code would be 2.
pub(super) async fn run(
    options: &Options,
    context: anyhow::Result<Context>,
) -> anyhow::Result<ExitCode> {
    let answer = ask(options, context).await;
    let printed = match options.format {
        Format::Table => output::data(&line(&answer)),
        Format::Json => output::json(&answer),
    };
    if let Err(error) = &printed {
        output::error(error, &Source::default());
    }
    Ok(ExitCode::from(
        exit_code(&answer).max(u8::from(printed.is_err())),
    ))
}

fn exit_code(answer: &Answer) -> u8 {
    u8::from(!answer.healthy)
}

async fn ask(options: &Options, context: anyhow::Result<Context>) -> Answer {
    match prepare(options, context) {
        Ok((url, limit)) => {
            let started = Instant::now();
            let answer = daemon::health(&url, limit).await;
            let answer = answer.map_err(|error| error.to_string());
            summarize(&url, answer, started.elapsed())
        }
        Err(error) => Answer {
            healthy: false,
            url: None,
            status: None,
            database: None,
            millis: 0,
            error: Some(format!("{error:#}")),
        },
    }
}

fn prepare(options: &Options, context: anyhow::Result<Context>) -> anyhow::Result<(Url, Duration)> {
    let limit = humantime::parse_duration(&options.timeout)
        .ok()
        .filter(|limit| !limit.is_zero())
        .ok_or_else(|| anyhow::anyhow!("--timeout is not a duration such as 3s or 500ms"))?;
    let base = match &options.url {
        // With --url the configuration is not needed, so it may be invalid.
        Some(url) => url.clone(),
        None => daemon::local_address(&context?.http()?),
    };
    Ok((daemon::health_url(&base)?, limit))
}

fn summarize(url: &Url, answer: Result<HealthAnswer, String>, took: Duration) -> Answer {
    let mut shown = url.clone();
    // Both setters fail only for URLs without a host, and this one has a host.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    // It may hold a token, and `docker inspect` keeps what is printed.
    shown.set_query(None);
    let (healthy, status, database, error) = match answer {
        Ok(answer) => (
            answer.is_healthy(),
            Some(answer.status),
            answer.database,
            None,
        ),
        Err(error) => (false, None, None, Some(error)),
    };
    Answer {
        healthy,
        url: Some(shown.to_string()),
        status,
        database,
        millis: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        error,
    }
}

/// One line, which `docker inspect` shows too.
fn line(answer: &Answer) -> String {
    let mut text = String::from(if answer.healthy {
        "healthy"
    } else {
        "unhealthy"
    });
    if let Some(url) = &answer.url {
        text += &format!(": {url}");
    }
    if let Some(status) = answer.status {
        text += &format!(" answered {status} after {} ms", answer.millis);
    }
    if let Some(database) = &answer.database {
        text += &format!(", database {database}");
    }
    if let Some(error) = &answer.error {
        text += &format!(": {}", error.replace('\n', " "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: Option<&str>, timeout: &str) -> Options {
        Options {
            url: url.map(str::to_owned),
            timeout: timeout.to_owned(),
            format: Format::Table,
        }
    }

    fn broken() -> anyhow::Result<Context> {
        Err(anyhow::anyhow!("the file .env cannot be read"))
    }

    #[test]
    fn a_given_address_needs_no_configuration() {
        let (url, limit) = prepare(&options(Some("http://a:1/"), "500ms"), broken()).unwrap();
        assert_eq!(url.as_str(), "http://a:1/health");
        assert_eq!(limit, Duration::from_millis(500));
    }

    #[tokio::test]
    async fn every_failure_exits_with_1() {
        for options in [
            options(None, "3s"),
            options(Some("nonsense"), "3s"),
            options(Some("http://127.0.0.1:1"), "soon"),
            options(Some("http://127.0.0.1:1"), "0s"),
        ] {
            let answer = ask(&options, broken()).await;
            assert_eq!(exit_code(&answer), 1, "{answer:?}");
            assert!(answer.error.is_some());
        }
    }

    #[test]
    fn lines_and_codes() {
        let url = Url::parse("http://ops:hunter2@127.0.0.1:8000/health?token=canary").unwrap();
        let answered = |status| {
            Ok(HealthAnswer {
                status,
                database: Some("connected".to_owned()),
            })
        };
        let took = Duration::from_millis(4);
        for (answer, text, code) in [
            (
                answered(200),
                "healthy: http://127.0.0.1:8000/health answered 200 after 4 ms, database connected",
                0,
            ),
            (
                answered(204),
                "unhealthy: http://127.0.0.1:8000/health answered 204 after 4 ms, database connected",
                1,
            ),
            (
                Err("Connection refused".to_owned()),
                "unhealthy: http://127.0.0.1:8000/health: Connection refused",
                1,
            ),
        ] {
            let answer = summarize(&url, answer, took);
            assert_eq!(line(&answer), text);
            assert_eq!(exit_code(&answer), code);
        }
    }

    #[test]
    fn the_json_form_is_stable() {
        let url = Url::parse("http://127.0.0.1:8000/health").unwrap();
        let answer = summarize(&url, Err("refused".to_owned()), Duration::ZERO);
        assert_eq!(
            serde_json::to_value(answer).unwrap(),
            serde_json::json!({
                "healthy": false, "url": "http://127.0.0.1:8000/health", "status": null,
                "database": null, "millis": 0, "error": "refused",
            })
        );
    }
}
