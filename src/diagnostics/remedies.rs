//! Tries what remedies do in the database, before they are reported.
//!
//! The statements run in one transaction that is rolled back, in the order in which the report
//! prints them, because one may need the one before. Then the checks are asked again in it: a
//! command that a check still proposes has not helped, and one that it proposes in addition is
//! needed as well.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::timeout;

use crate::config::{DatabaseTarget, Remedy, one_line};
use crate::store::StoreError;

use super::check::Check;
use super::context::{Context, Request};
use super::groups::checks;
use super::probe::{Attempt, DryRun, FileConnection, ServerConnection};
use super::report::{Finding, RemedyTried};
use super::verdict::{Outcome, Verdict};

/// For all statements and questions. Requests may wait as long for a table that a statement has
/// locked.
const LIMIT: Duration = Duration::from_millis(600);

/// For the end of a transaction that has reached its limit.
const GRACE: Duration = Duration::from_millis(200);

/// How often the checks are asked for more commands.
const ROUNDS: usize = 3;

const NO_HELP: &str = "would not help: it can be run, but the check finds the same afterwards";

/// The findings, with what became of their remedies.
pub(super) async fn try_remedies(context: &Context, findings: Vec<Finding>) -> Vec<Finding> {
    let mut remedies = Remedies {
        context,
        findings,
        states: BTreeMap::new(),
    };
    let wanted = context.request.tries_remedies && remedies.commands().iter().any(Option::is_some);
    if let (true, Some(config)) = (wanted, context.database()) {
        let tried = match (&config.target, &config.direct) {
            // The checks are about the role of the first, and `todoctl db psql` connects to the
            // second.
            (DatabaseTarget::Postgres(server), DatabaseTarget::Postgres(direct))
                if server.user == direct.user =>
            {
                remedies.try_on::<ServerConnection>(direct).await
            }
            (DatabaseTarget::Sqlite(file), _) => remedies.try_on::<FileConnection>(file).await,
            _ => Ok(()),
        };
        if let Err(error) = tried {
            tracing::debug!(%error, "not all remedies could be tried");
        }
    }
    remedies.judged()
}

/// A connection in whose transaction checks can be asked.
trait Asked: DryRun {
    fn into_context(self, request: Request) -> Context;
    fn take_from(context: &Context) -> Option<Self>;
}

impl Asked for ServerConnection {
    fn into_context(self, request: Request) -> Context {
        Context::on_server(request, self)
    }

    fn take_from(context: &Context) -> Option<Self> {
        context.server.take()
    }
}

impl Asked for FileConnection {
    fn into_context(self, request: Request) -> Context {
        Context::on_file(request, self)
    }

    fn take_from(context: &Context) -> Option<Self> {
        context.file.take()
    }
}

/// What became of the statements of a command.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// They can be run; whether they help is not known yet.
    Ran,
    Works,
    /// In these words.
    Fails(String),
    Untried,
}

struct Remedies<'a> {
    context: &'a Context,
    findings: Vec<Finding>,
    /// By the statements.
    states: BTreeMap<String, State>,
}

impl Remedies<'_> {
    async fn try_on<C: Asked>(&mut self, target: &C::Target) -> Result<(), StoreError> {
        let connection = C::begin(target, LIMIT).await?;
        // Where the database does not end it, it ends with its connection.
        let run = timeout(LIMIT + GRACE, self.run(connection));
        run.await.unwrap_or(Ok(()))
    }

    async fn run<C: Asked>(&mut self, mut connection: C) -> Result<(), StoreError> {
        for _ in 0..ROUNDS {
            if let Err(error) = self.run_statements(&mut connection).await {
                connection.roll_back().await;
                return Err(error);
            }
            let context = connection.into_context(self.context.request.clone());
            let verdicts = self.ask_again(&context).await;
            connection = match C::take_from(&context) {
                Some(connection) if connection.is_open() => connection,
                // A question failed, and others may have been asked outside of the transaction.
                _ => return Ok(()),
            };
            if !self.compare(verdicts) {
                break;
            }
        }
        connection.roll_back().await;
        Ok(())
    }

    /// The findings of the database that need attention, in the order of the report.
    fn printed(&self) -> impl Iterator<Item = &Finding> {
        let of = |outcome| {
            let findings = self.findings.iter();
            findings.filter(move |one| one.outcome == outcome && is_of_database(one))
        };
        of(Outcome::Fail).chain(of(Outcome::Warn))
    }

    /// Those whose remedies are tried, with their checks.
    fn tried(&self) -> impl Iterator<Item = (&'static Check, &Finding)> {
        self.printed()
            .filter_map(|finding| Some((tried_check(finding)?, finding)))
    }

    /// What each command runs that others may need, in the order of the report; `None` for one
    /// that is not tried.
    fn commands(&self) -> Vec<Option<String>> {
        let tried: BTreeSet<&str> = self
            .tried()
            .flat_map(|(_, finding)| statements(finding).flatten())
            .collect();
        let is_needed =
            |finding: &&Finding| finding.outcome == Outcome::Fail || tried_check(finding).is_some();
        let all = self.printed().filter(is_needed).flat_map(statements);
        let wanted = all.map(|one| one.filter(|text| tried.contains(text)));
        wanted.map(|one| one.map(str::to_owned)).collect()
    }

    async fn run_statements(&mut self, connection: &mut impl Asked) -> Result<(), StoreError> {
        // A command that was not tried may be what a later one needs.
        let mut is_sure = true;
        for statements in self.commands() {
            let Some(text) = statements else {
                is_sure = false;
                continue;
            };
            if let Some(state) = self.states.get(&text) {
                is_sure &= *state != State::Untried;
                continue;
            }
            let state = match connection.attempt(&text).await? {
                Attempt::Done => State::Ran,
                Attempt::Fails(words) if is_sure => State::Fails(words),
                Attempt::Fails(_) | Attempt::Untried => State::Untried,
            };
            is_sure &= state != State::Untried;
            self.states.insert(text, state);
        }
        Ok(())
    }

    /// What the checks say in the transaction.
    async fn ask_again(&self, context: &Context) -> Vec<(&'static str, Verdict)> {
        let mut verdicts = Vec::new();
        for (check, finding) in self.tried() {
            let has_run = statements(finding).flatten().any(|text| {
                let state = self.states.get(text);
                matches!(state, Some(State::Ran | State::Works))
            });
            if has_run && let Some(running) = check.start(context, LIMIT) {
                verdicts.push((check.id, running.await));
            }
        }
        verdicts
    }

    /// Whether there is more to try.
    fn compare(&mut self, verdicts: Vec<(&'static str, Verdict)>) -> bool {
        let mut has_more = false;
        for (id, verdict) in verdicts {
            let finding = self.findings.iter_mut().find(|one| one.id == id);
            let Some(finding) = finding.filter(|_| verdict.outcome != Outcome::Skip) else {
                continue;
            };
            let remedy = finding.remedy.take().unwrap_or_default();
            let now = verdict.remedy.unwrap_or_default();
            let now = now.at(&self.context.request.source);
            for text in remedy.statements().flatten() {
                if let Some(state @ (State::Ran | State::Works)) = self.states.get_mut(text) {
                    let is_proposed = now.statements().flatten().any(|one| one == text);
                    *state = if is_proposed {
                        State::Fails(NO_HELP.to_owned())
                    } else {
                        State::Works
                    };
                }
            }
            let is_new = |text: &str| !self.states.contains_key(text);
            let is_more = now.statements().flatten().any(is_new);
            has_more |= is_more;
            finding.remedy = Some(if is_more { remedy.then(now) } else { remedy });
        }
        has_more
    }

    fn judged(mut self) -> Vec<Finding> {
        let states = &self.states;
        let fault = |text: &str| match states.get(text) {
            Some(State::Fails(words)) => Some(words.as_str()),
            _ => None,
        };
        for finding in self.findings.iter_mut().filter(|one| is_of_database(one)) {
            let Some(remedy) = finding.remedy.take() else {
                continue;
            };
            let is_failing = |text: Option<&str>| text.and_then(fault).is_some();
            let works = |text: Option<&str>| {
                text.is_some_and(|text| states.get(text) == Some(&State::Works))
            };
            finding.remedy_tried = if remedy.statements().any(is_failing) {
                Some(RemedyTried::Fails)
            } else if remedy.statements().next().is_some() && remedy.statements().all(works) {
                Some(RemedyTried::Works)
            } else {
                None
            };
            finding.fixes.retain(|fix| {
                let mut statements = fix.statements().iter();
                !statements.any(|text| fault(&one_line(text)).is_some())
            });
            finding.remedy = Some(remedy.without_failing(fault));
        }
        self.findings
    }
}

/// The check of a finding, if its remedies are tried.
fn tried_check(finding: &Finding) -> Option<&'static Check> {
    let mut checks = checks().filter(|check| check.tries_remedies);
    checks.find(|check| check.id == finding.id)
}

fn is_of_database(finding: &Finding) -> bool {
    finding.id.starts_with("database.")
}

fn statements(finding: &Finding) -> impl Iterator<Item = Option<&str>> {
    finding.remedy.iter().flat_map(Remedy::statements)
}
