//! Rounds: clients and faults at the same time, then the checks.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fastrand::Rng;
use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::checker::{Evidence, Kind, Violation};
use crate::daemon::ended;
use crate::database::Database;
use crate::faults::{self, Fault, Planned};
use crate::inflict::inflict;
use crate::ledger::{Outcome, Pages, Stopwatch};
use crate::report::Totals;
use crate::round::Round;
use crate::seed::rng_of;
use crate::workload::Worker;
use crate::world::{Stage, World};

/// Rounds on one database.
const ROUNDS_OF_A_WORLD: u64 = 12;

/// Every so many rounds the reminders are counted exactly.
const REMINDER_ROUNDS: u64 = 8;

/// A daemon that does not acknowledge a create within this time has not recovered.
const RECOVERY: Duration = Duration::from_secs(20);

/// A recovery that takes longer is reported. It is no violation.
const SLOW: Duration = Duration::from_secs(5);

/// How often the counts of unread notifications are compared with the rows, until they agree.
const UNREAD_TRIES: usize = 10;

/// A fault is healed within this time.
const LONGEST_FAULT: Duration = Duration::from_mins(1);

#[derive(Debug, Clone)]
pub struct Options {
    pub seed: u64,
    pub from: u64,
    pub rounds: u64,
    pub repeat: u64,
    pub until: Instant,
    pub clients: usize,
    pub requests: usize,
    pub only: Vec<Fault>,
    pub keep_going: bool,
    /// Where evidence of violations is written.
    pub reports: PathBuf,
}

/// What a round has left for the next one.
#[derive(Debug, Default)]
struct Before {
    prefix: String,
    rows: BTreeMap<i64, String>,
    used: i64,
}

/// A run in progress.
pub struct Run<'a> {
    stage: &'a Stage,
    pub options: &'a Options,
    stopwatch: Stopwatch,
    /// Of the next round: names are made of it.
    number: u64,
    before: Before,
    pub totals: Totals,
}

impl<'a> Run<'a> {
    pub fn new(stage: &'a Stage, options: &'a Options) -> Self {
        Self {
            stage,
            options,
            stopwatch: Stopwatch::start(),
            number: 0,
            before: Before::default(),
            totals: Totals::default(),
        }
    }

    /// Runs rounds until there are enough, the time is over, or something was found.
    pub async fn all(&mut self) -> anyhow::Result<()> {
        let mut index = self.options.from;
        while self.goes_on(index) {
            index = self.in_a_world(index).await?;
            let Totals {
                rounds,
                acknowledged,
                ..
            } = &self.totals;
            eprintln!("{rounds} rounds, {acknowledged} acknowledged writes");
        }
        Ok(())
    }

    fn goes_on(&self, index: u64) -> bool {
        let end = self.options.from.saturating_add(self.options.rounds);
        let is_enough = self.totals.found() > 0 && !self.options.keep_going;
        index < end && Instant::now() < self.options.until && !is_enough
    }

    /// Runs the rounds of one world, and returns the index of the next one.
    async fn in_a_world(&mut self, mut index: u64) -> anyhow::Result<u64> {
        let world_index = index / ROUNDS_OF_A_WORLD;
        let name = format!("torture_{world_index}");
        let mut rng = rng_of(self.options.seed, "world", world_index);
        let mut world = self.stage.world(&name, &mut rng).await?;
        self.before = Before::default();
        let violations = self.round(&world, &[], &mut rng).await?;
        self.report(&violations, &world, index, &[]).await?;
        world.measure().await?;
        while self.goes_on(index) && index / ROUNDS_OF_A_WORLD == world_index {
            for _ in 0..self.options.repeat {
                let mut rng = rng_of(self.options.seed, "round", index);
                let plan = faults::plan(&world, &self.options.only, &mut rng);
                let violations = self.round(&world, &plan, &mut rng).await?;
                self.report(&violations, &world, index, &plan).await?;
                if !self.goes_on(index) {
                    break;
                }
            }
            index += 1;
        }
        let leaks = world.leaks().await?;
        let violations: Vec<_> = leaks
            .into_iter()
            .map(|text| Violation::new(Kind::Resources, text))
            .collect();
        self.report(&violations, &world, index.saturating_sub(1), &[])
            .await?;
        world.end().await?;
        Ok(index)
    }

    /// One round; without a plan it is a calm one, in which nothing may fail.
    async fn round(
        &mut self,
        world: &World,
        plan: &[Planned],
        rng: &mut Rng,
    ) -> anyhow::Result<Vec<Violation>> {
        let round = Arc::new(Round::new(self.number, world.ports.clone(), self.stopwatch));
        self.number += 1;
        let mut clients = JoinSet::new();
        for number in 0..self.options.clients {
            let worker = Worker::new(&round, number, rng.fork());
            clients.spawn(worker.run(self.options.requests / self.options.clients));
        }
        // Notifications appear while tasks are deleted and notifications are read.
        let reminders = async {
            if rng.u8(..3) == 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                remind(world).await?;
            }
            anyhow::Ok(())
        };
        let mut violations = Vec::new();
        let faults = plan.iter().map(|planned| {
            *self.totals.faults.entry(planned.fault).or_default() += 1;
            timeout(LONGEST_FAULT, inflict(planned, world))
        });
        let mut most = 0;
        let (done, reminded) = tokio::select! {
            both = async { tokio::join!(join_all(faults), reminders) } => both,
            never = watch_sessions(&world.database, &mut most) => match never {},
        };
        self.totals.most_sessions = self.totals.most_sessions.max(most);
        reminded?;
        for (planned, done) in plan.iter().zip(done) {
            done.with_context(|| format!("{planned:?} did not end"))?
                .with_context(|| format!("{planned:?}"))?;
        }
        if plan.is_empty() {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        if let Err(error) = world.heal().await {
            violations.push(Violation::new(Kind::Recovery, format!("{error:#}")));
            world.heal().await?;
        }
        violations.extend(self.recover(world, plan, &round, rng).await);
        round.is_over.store(true, SeqCst);
        while clients.join_next().await.is_some() {}
        if let Err(error) = world.until_idle().await {
            violations.push(Violation::new(Kind::Recovery, format!("{error:#}")));
        }
        self.check(world, &round, plan, rng, &mut violations)
            .await?;
        Ok(violations)
    }

    /// Waits until each daemon acknowledges a create.
    async fn recover(
        &mut self,
        world: &World,
        plan: &[Planned],
        round: &Arc<Round>,
        rng: &mut Rng,
    ) -> Vec<Violation> {
        let healed = Instant::now();
        let tries = (0..world.daemons.len()).map(|daemon| {
            let mut worker = Worker::of(round, daemon, rng.fork());
            async move {
                let recovered = worker.until_created(RECOVERY).await;
                recovered.then(|| healed.elapsed())
            }
        });
        let mut violations = Vec::new();
        for (daemon, time) in join_all(tries).await.into_iter().enumerate() {
            match time {
                Some(time) => {
                    self.totals.recoveries.push(time);
                    if time > SLOW {
                        eprintln!("Recovery took {time:.1?}: {plan:?}");
                    }
                }
                None => {
                    let text =
                        format!("daemon {daemon} acknowledged no create within {RECOVERY:?}");
                    violations.push(Violation::new(Kind::Recovery, text));
                }
            }
        }
        violations
    }

    async fn check(
        &mut self,
        world: &World,
        round: &Arc<Round>,
        plan: &[Planned],
        rng: &mut Rng,
        violations: &mut Vec<Violation>,
    ) -> anyhow::Result<()> {
        let prefix = round.prefix();
        let exact = round.number.is_multiple_of(REMINDER_ROUNDS) && remind(world).await?;
        Worker::new(round, 200, rng.fork()).look().await;
        let rows = world.database.tasks(&prefix).await?;
        let pages = round.ledger.take();
        self.count(&pages);
        if plan.is_empty() {
            violations.extend(calm(&pages));
        }
        violations.extend(
            pages
                .complaints
                .iter()
                .map(|text| Violation::new(Kind::Answer, text)),
        );
        let evidence = Evidence {
            entries: &pages.entries,
            prefix: &prefix,
            rows: &rows,
            used: self.before.used,
            ended: self.stopwatch.now(),
        };
        violations.extend(evidence.judge());
        violations.extend(self.unread(world, round, rng).await?);
        let expected = if exact { "= 1" } else { "<= 1" };
        for (task, count) in world.database.overdue_other_than(&prefix, expected).await? {
            let text = format!("task {task} is overdue and has {count} notifications");
            violations.push(Violation::new(Kind::Reminder, text));
        }
        violations.extend(self.compare_with_before(&world.database).await?);
        let newest = rows.iter().map(|row| row.seen.id).max().unwrap_or_default();
        self.before = Before {
            rows: rows
                .iter()
                .map(|row| (row.seen.id, format!("{row:?}")))
                .collect(),
            used: newest.max(self.before.used),
            prefix,
        };
        Ok(())
    }

    /// Compares the counts of unread notifications with the rows.
    async fn unread(
        &self,
        world: &World,
        round: &Arc<Round>,
        rng: &mut Rng,
    ) -> anyhow::Result<Vec<Violation>> {
        let mut client = Worker::new(round, 300, rng.fork());
        let mut tries = 0;
        loop {
            let told = client.unread().await;
            let mut violations = Vec::new();
            for unread in world.database.unread(&round.prefix()).await? {
                let was_told = told.iter().find(|(user, _)| *user == unread.user);
                let is_told = was_told.is_none_or(|(_, count)| *count == unread.rows);
                if unread.rows != unread.counted || !is_told {
                    let text = format!("{unread:?}, and the user was told {was_told:?}");
                    violations.push(Violation::new(Kind::Unread, text));
                }
            }
            tries += 1;
            if violations.is_empty() || tries == UNREAD_TRIES {
                return Ok(violations);
            }
            // A daemon that was restarted makes reminders.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn count(&mut self, pages: &Pages) {
        self.totals.rounds += 1;
        for (status, count) in &pages.statuses {
            *self.totals.statuses.entry(*status).or_default() += count;
            self.totals.requests += count;
        }
        for entry in &pages.entries {
            self.totals.acknowledged += u64::from(entry.is_acknowledged_write());
            self.totals.unknown += u64::from(matches!(entry.outcome, Outcome::Unknown));
        }
    }

    /// Nothing of the round before may have changed. Then it is deleted.
    async fn compare_with_before(&self, database: &Database) -> anyhow::Result<Option<Violation>> {
        let before = &self.before;
        if before.prefix.is_empty() {
            return Ok(None);
        }
        let rows = database.tasks(&before.prefix).await?;
        let now: BTreeMap<i64, String> = rows
            .iter()
            .map(|row| (row.seen.id, format!("{row:?}")))
            .collect();
        database.purge(&before.prefix).await?;
        Ok((now != before.rows).then(|| {
            let changed = before
                .rows
                .iter()
                .filter(|(id, row)| now.get(id) != Some(row));
            let text = format!(
                "after the end of a round, of {:?}",
                changed.collect::<Vec<_>>()
            );
            Violation::new(Kind::Late, text)
        }))
    }
}

/// What must not happen in a round without faults. A busy machine may refuse some requests.
fn calm(pages: &Pages) -> Option<Violation> {
    let all: u64 = pages.statuses.values().sum();
    let refused: u64 = [0, 409, 503]
        .iter()
        .filter_map(|status| pages.statuses.get(status))
        .sum();
    (refused * 5 > all).then(|| {
        let text = format!(
            "{refused} of {all} requests failed without any fault: {:?}",
            pages.statuses
        );
        Violation::new(Kind::Answer, text)
    })
}

/// Keeps the highest number of sessions on the server. Sessions of broken connections last until
/// the server notices, so there may be more than the daemons have.
async fn watch_sessions(database: &Database, most: &mut i64) -> Infallible {
    loop {
        if let Ok((sessions, _)) = database.sessions().await {
            *most = sessions.max(*most);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Runs the reminder job; whether it did.
async fn remind(world: &World) -> anyhow::Result<bool> {
    let mut child = world.daemons[0]
        .lock()
        .await
        .command(&["jobs", "run", "reminders"])
        .spawn()?;
    let has_ended = ended(&mut child, Duration::from_secs(30)).await;
    Ok(has_ended && child.wait()?.success())
}
