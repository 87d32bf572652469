//! The definition of a check.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use crate::config::{DatabaseConfig, DatabaseTarget, PostgresTarget, SqliteTarget};

use super::context::Context;
use super::verdict::{Outcome, Verdict};

/// One check. The runner owns order, concurrency, skips and time limits.
///
/// To add a check, add one definition to the table of its group.
pub(crate) struct Check {
    /// Stable, such as `database.url`; scripts rely on it.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What is looked at, why it matters, and what typically causes a failure.
    pub(super) about: &'static str,
    /// How its function can end. A check may also be skipped because of another one, and fails at
    /// its time limit.
    pub(super) outcomes: &'static [Outcome],
    /// What `doctor --fix` does about it, if anything.
    pub(super) fix: Option<&'static str>,
    /// Whether its remedies change the schema, rows or rights of the database, and are tried.
    pub(super) tries_remedies: bool,
    /// Checks that run first. If one of them fails, this one is skipped.
    pub(super) needs: &'static [&'static str],
    /// What it may find all the same, where one of them has nothing to check.
    pub(super) when_blocked: Option<WhenBlocked>,
    pub(super) limit: Duration,
    /// Whether it uses the database connection that checks share; such checks take turns.
    pub(super) takes_turns: bool,
    pub(super) run: Run,
}

pub(super) type Running<'a> = LocalBoxFuture<'a, Verdict>;

/// Looks for a fault without what the check needs.
pub(super) type WhenBlocked = for<'a> fn(&'a Context) -> LocalBoxFuture<'a, Option<Verdict>>;

/// The work of a check, and which database it applies to. The [`Duration`] is the time that
/// the check has: one that ends by itself can say more than the runner's time limit does.
pub(super) enum Run {
    /// Does not wait for anything.
    Now(fn(&Context) -> Verdict),
    /// Independent of the database.
    Always(for<'a> fn(&'a Context, Duration) -> Running<'a>),
    /// Either engine.
    Database(for<'a> fn(&'a Context, &'a DatabaseConfig, Duration) -> Running<'a>),
    /// PostgreSQL only.
    Server(for<'a> fn(&'a Context, Server<'a>, Duration) -> Running<'a>),
    /// SQLite only.
    File(for<'a> fn(&'a Context, &'a SqliteTarget, Duration) -> Running<'a>),
}

/// A configured PostgreSQL server.
#[derive(Clone, Copy)]
pub(super) struct Server<'a> {
    pub(super) config: &'a DatabaseConfig,
    pub(super) target: &'a PostgresTarget,
}

/// How long a check may take unless its definition says otherwise.
const LIMIT: Duration = Duration::from_secs(5);

impl Check {
    pub(super) const fn new(id: &'static str, title: &'static str, run: Run) -> Self {
        Self {
            id,
            title,
            about: "",
            outcomes: &[Outcome::Pass, Outcome::Warn, Outcome::Fail, Outcome::Skip],
            fix: None,
            tries_remedies: false,
            needs: &[],
            when_blocked: None,
            limit: LIMIT,
            takes_turns: false,
            run,
        }
    }

    /// Two to four plain sentences for `docs/checks.md` and `todoctl explain ID`.
    pub(super) const fn about(mut self, text: &'static str) -> Self {
        self.about = text;
        self
    }

    /// For checks that cannot end in every way. Debug builds compare each run with it.
    pub(super) const fn outcomes(mut self, outcomes: &'static [Outcome]) -> Self {
        self.outcomes = outcomes;
        self
    }

    /// For checks whose verdict may carry a [`Fix`](super::Fix): what it does, in a sentence.
    pub(super) const fn fix(mut self, text: &'static str) -> Self {
        self.fix = Some(text);
        self
    }

    /// For checks whose remedies a transaction that is rolled back undoes as a whole, and which
    /// look at nothing but the database.
    pub(super) const fn trying_remedies(mut self) -> Self {
        self.tries_remedies = true;
        self
    }

    pub(super) const fn needs(mut self, ids: &'static [&'static str]) -> Self {
        self.needs = ids;
        self
    }

    pub(super) const fn when_blocked(mut self, find: WhenBlocked) -> Self {
        self.when_blocked = Some(find);
        self
    }

    pub(super) const fn within(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// For checks that use the shared database connection.
    pub(super) const fn taking_turns(mut self) -> Self {
        self.takes_turns = true;
        self
    }

    /// Whether the check applies to the configured database. If the database is unknown, only the
    /// checks for both engines do.
    pub(super) fn applies_to(&self, context: &Context) -> bool {
        match (&self.run, context.target()) {
            (Run::Now(_) | Run::Always(_) | Run::Database(_), _)
            | (Run::Server(_), Some(DatabaseTarget::Postgres(_)))
            | (Run::File(_), Some(DatabaseTarget::Sqlite(_))) => true,
            (Run::Server(_) | Run::File(_), _) => false,
        }
    }

    /// The work; `None` if there is no such database.
    pub(super) fn start<'a>(&self, context: &'a Context, limit: Duration) -> Option<Running<'a>> {
        match &self.run {
            Run::Now(run) => {
                let verdict = run(context);
                Some(Box::pin(std::future::ready(verdict)))
            }
            Run::Always(run) => Some(run(context, limit)),
            Run::Database(run) => Some(run(context, context.database()?, limit)),
            Run::Server(run) => {
                let config = context.database()?;
                match &config.target {
                    DatabaseTarget::Postgres(target) => {
                        Some(run(context, Server { config, target }, limit))
                    }
                    DatabaseTarget::Sqlite(_) => None,
                }
            }
            Run::File(run) => match context.target()? {
                DatabaseTarget::Sqlite(file) => Some(run(context, file, limit)),
                DatabaseTarget::Postgres(_) => None,
            },
        }
    }
}

/// The work of a check from an async function of the same arguments.
macro_rules! run {
    ($kind:ident, $function:path) => {
        $crate::diagnostics::check::Run::$kind(run!(@ $kind $function))
    };
    (@ Always $function:path) => { |context, limit| Box::pin($function(context, limit)) };
    (@ $kind:ident $function:path) => {
        |context, database, limit| Box::pin($function(context, database, limit))
    };
}
pub(super) use run;
