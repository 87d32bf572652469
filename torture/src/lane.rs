//! Rounds: clients and faults at the same time, then the checks.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fastrand::Rng;
use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::checker::{Kind, Violation};
use crate::daemon::ended;
use crate::database::{Database, Row};
use crate::faults::{self, Planned};
use crate::inflict::inflict;
use crate::report::Phase;
use crate::round::{Limits, Mix, Round, USERS};
use crate::run::Run;
use crate::seed::rng_of;
use crate::visitor::Visitor;
use crate::workload::Worker;
use crate::world::{Stage, World};

/// A daemon that does not acknowledge a create within this time has not recovered, on a busy
/// machine too.
const RECOVERY: Duration = Duration::from_mins(1);

/// A recovery that takes longer is reported. It is no violation.
const SLOW: Duration = Duration::from_secs(5);

/// A fault is healed within this time, on a busy machine too.
const LONGEST_FAULT: Duration = Duration::from_mins(5);

/// A job beside a fault is killed after this time: it may wait for what is not there.
const JOB: Duration = Duration::from_secs(2);

/// The rounds of one world, one after the other.
pub struct Lane<'a> {
    pub(crate) run: &'a Run,
    stage: &'a Stage,
    /// Of the next round: names are made of it.
    number: u64,
    pub(crate) before: Before,
}

/// What a round has left for the next one.
#[derive(Debug, Default)]
pub struct Before {
    pub prefix: String,
    pub rows: BTreeMap<i64, Row>,
    pub used: i64,
}

impl<'a> Lane<'a> {
    pub fn new(run: &'a Run, stage: &'a Stage) -> Self {
        Self {
            run,
            stage,
            number: 0,
            before: Before::default(),
        }
    }

    pub async fn in_a_world(&mut self, index: u64, rounds: Range<u64>) -> anyhow::Result<()> {
        let options = &self.run.options;
        let mut rng = rng_of(options.seed, "world", index);
        let started = Instant::now();
        let mut world = self
            .stage
            .world(&format!("torture_{index}"), &mut rng)
            .await?;
        let mut last = rounds.start;
        self.spend(Phase::World, started);
        let violations = self.round(&world, &[], &mut rng).await?;
        self.report(&violations, &world, last, &[]).await?;
        world.measure().await?;
        for round in rounds {
            last = round;
            for _ in 0..options.repeat {
                if !self.run.goes_on() {
                    break;
                }
                let mut rng = rng_of(options.seed, "round", round);
                let plan = faults::plan(&world, &options.only, &mut rng);
                let violations = self.round(&world, &plan, &mut rng).await?;
                self.report(&violations, &world, round, &plan).await?;
            }
        }
        let started = Instant::now();
        let leaks = world.leaks().await?;
        let violations: Vec<_> = leaks
            .into_iter()
            .map(|text| Violation::new(Kind::Resources, text))
            .collect();
        self.report(&violations, &world, last, &[]).await?;
        world.end().await?;
        self.spend(Phase::World, started);
        Ok(())
    }

    fn spend(&self, phase: Phase, started: Instant) {
        self.run.totals().spend(phase, started);
    }

    /// One round; without a plan it is a calm one, in which nothing may fail.
    async fn round(
        &mut self,
        world: &World,
        plan: &[Planned],
        rng: &mut Rng,
    ) -> anyhow::Result<Vec<Violation>> {
        let options = &self.run.options;
        let round = Arc::new(Round::new(
            self.number,
            world,
            options.writers,
            Limits::of(plan),
            self.run.stopwatch,
        ));
        world.addresses(&round).await?;
        self.number += 1;
        let started = Instant::now();
        let mut clients = JoinSet::new();
        for number in 0..options.clients {
            let worker = Worker::new(&round, number, Mix::Meeting, rng.fork());
            clients.spawn(worker.run(options.requests / options.clients));
        }
        for number in 0..options.writers {
            let mix = Mix::Alone(USERS + number);
            let worker = Worker::new(&round, 1000 + number, mix, rng.fork());
            clients.spawn(worker.run(usize::MAX));
        }
        clients.spawn(Visitor::new(&round, world, rng.fork()).run());
        // Notifications appear while tasks are deleted and notifications are read.
        let (jobs, killed_after) = (rng.u8(..6), Duration::from_millis(rng.u64(10..150)));
        let reminders = async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            world.database.notify(&round).await;
            tokio::time::sleep(Duration::from_millis(60)).await;
            match jobs {
                // Two at a time must not make reminders twice.
                0 | 1 => drop(tokio::try_join!(
                    remind_for(world, JOB),
                    remind_for(world, JOB)
                )?),
                2 => drop(remind_for(world, killed_after).await?),
                _ => {}
            }
            world.database.notify(&round).await;
            anyhow::Ok(())
        };
        let mut violations = Vec::new();
        let faults = plan
            .iter()
            .map(|planned| timeout(LONGEST_FAULT, inflict(planned, world)));
        let mut most = 0;
        let (done, reminded) = tokio::select! {
            both = async { tokio::join!(join_all(faults), reminders) } => both,
            never = watch_sessions(&world.database, &mut most) => match never {},
        };
        self.run.totals().inflicted(plan, most);
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
        self.spend(Phase::Faults, started);
        let started = Instant::now();
        violations.extend(self.recover(world, plan, &round, rng).await);
        self.spend(Phase::Recovery, started);
        let started = Instant::now();
        round.is_over.store(true, SeqCst);
        while clients.join_next().await.is_some() {}
        if let Err(error) = world.until_idle().await {
            violations.push(Violation::new(Kind::Recovery, format!("{error:#}")));
        }
        self.spend(Phase::Rest, started);
        let started = Instant::now();
        self.check(world, &round, plan, rng, &mut violations)
            .await?;
        self.spend(Phase::Checks, started);
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
                    self.run.totals().recoveries.push(time);
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
pub(crate) async fn remind(world: &World) -> anyhow::Result<bool> {
    remind_for(world, Duration::from_mins(2)).await
}

/// The same; kills it where it takes longer.
async fn remind_for(world: &World, limit: Duration) -> anyhow::Result<bool> {
    let mut child = world.daemons[0]
        .lock()
        .await
        .command(&["jobs", "run", "reminders"])
        .spawn()?;
    if !ended(&mut child, limit).await {
        child.kill()?;
    }
    Ok(child.wait()?.success())
}
