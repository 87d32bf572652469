//! What a PostgreSQL server says about the session and its clock.

use std::time::Duration;

use crate::config::{PostgresTarget, Remedy};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::domain::Timestamp;
use crate::store::ConnectFault;

use super::behind::{ASKING, explained};
use super::fault::{cannot_connect, query_failed};
use super::settings::SENT;
use super::{other_port, other_way};

/// A login that took longer has woken a suspended database.
const WAKING: Duration = Duration::from_secs(2);

/// Tokens are accepted for a few seconds more.
const CLOCK_WARN: Duration = Duration::from_secs(2);
const CLOCK_FAIL: Duration = Duration::from_secs(60);

/// Whether the server accepts the parameters that begin a session.
pub(super) async fn startup(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    // The login is shared with the check of it.
    let limit = limit.saturating_sub(2 * ASKING);
    let Err(error) = context.server.login(server.target, limit).await else {
        let mut names: Vec<&str> = SENT.iter().map(|(name, _)| *name).collect();
        names.push("application_name");
        if server.target.options.is_some() {
            names.push("options");
        }
        return Verdict::pass(format!("accepted: {}", names.join(", ")));
    };
    match error.fault {
        ConnectFault::StartupParameter => cannot_connect(error),
        ConnectFault::TimedOut
        | ConnectFault::Certificate
        | ConnectFault::TlsUnsupported
        | ConnectFault::NotPostgres => Verdict::skip("skipped: the server did not answer"),
        _ => Verdict::pass("accepted"),
    }
}

pub(super) async fn login(context: &Context, server: &PostgresTarget, limit: Duration) -> Verdict {
    let limit = limit.saturating_sub(2 * ASKING);
    match context.server.login(server, limit).await {
        Ok(took) => {
            let mut text = format!("as {} to the database {}", server.user, server.database);
            if *took > WAKING {
                let seconds = took.as_secs_f64();
                text += &format!(", after {seconds:.1} s: the database was probably suspended");
            }
            Verdict::pass(text)
        }
        Err(error) if error.fault == ConnectFault::StartupParameter => {
            Verdict::skip_because_failed("database.startup")
        }
        Err(error) => {
            let mut verdict = cannot_connect(error);
            if error.fault == ConnectFault::TimedOut {
                verdict.detail +=
                    "; a suspended database wakes within 15 s, so the cause is another";
            }
            let verdict = explained(verdict, error.known, server).await;
            let verdict = other_way::explained(context, verdict, error, server, ASKING).await;
            match error.fault {
                ConnectFault::Login | ConnectFault::NoSuchDatabase => {
                    other_port::explained(context, verdict, server).await
                }
                _ => verdict,
            }
        }
    }
}

pub(super) async fn clock(context: &Context, server: &PostgresTarget, limit: Duration) -> Verdict {
    let clock = &context.request.clock;
    let question = context.server.ask(server, limit, async |connection| {
        let before = clock.now();
        let time = connection.server_time().await?;
        Ok(check_clock(time, before, clock.now()))
    });
    question
        .await
        .unwrap_or_else(|error| query_failed(context, &error))
}

fn check_clock(theirs: Timestamp, before: Timestamp, after: Timestamp) -> Verdict {
    // It was read at some time between the two.
    let micros = if theirs.micros() < before.micros() {
        theirs.micros() - before.micros()
    } else {
        (theirs.micros() - after.micros()).max(0)
    };
    let difference = Duration::from_micros(micros.unsigned_abs());
    if difference <= CLOCK_WARN {
        return Verdict::pass("the same as this machine's");
    }
    let side = if micros > 0 { "behind" } else { "ahead of" };
    let detail = format!(
        "this machine's clock is {} {side} the database's; tokens and reminders use this machine's",
        in_words(difference)
    );
    let remedy = set_right();
    if difference <= CLOCK_FAIL {
        Verdict::warn(detail, remedy)
    } else {
        Verdict::fail(detail, remedy)
    }
}

/// What a person does about a clock.
pub(super) fn set_right() -> Remedy {
    Remedy::note("on the machine whose time is wrong, as root: timedatectl set-ntp true; this machine's time:")
        .then(Remedy::command("date -u"))
}

/// A duration in its largest unit.
pub(super) fn in_words(time: Duration) -> String {
    const UNITS: [(f64, &str); 4] = [
        (365.25 * 86_400.0, "years"),
        (86_400.0, "days"),
        (3_600.0, "hours"),
        (60.0, "minutes"),
    ];
    let seconds = time.as_secs_f64();
    for (length, name) in UNITS {
        if seconds >= 2.0 * length {
            return format!("{:.1} {name}", seconds / length);
        }
    }
    format!("{seconds:.1} s")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Outcome;

    #[test]
    fn clocks() {
        let at = |seconds: i64| Timestamp::from_micros_clamped(seconds * 1_000_000);
        let verdict = |theirs| check_clock(at(theirs), at(100), at(101)).outcome;
        assert_eq!(verdict(100), Outcome::Pass);
        assert_eq!(verdict(103), Outcome::Pass);
        assert_eq!(verdict(110), Outcome::Warn);
        assert_eq!(verdict(90), Outcome::Warn);
        assert_eq!(verdict(500), Outcome::Fail);
    }

    #[test]
    fn durations_in_words() {
        assert_eq!(in_words(Duration::from_secs(90)), "90.0 s");
        assert_eq!(in_words(Duration::from_secs(236_345_097)), "7.5 years");
    }
}
