//! A run: lanes, each of which runs the rounds of one world after the other.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::checker::{Kind, Violation};
use crate::faults::Fault;
use crate::lane::Lane;
use crate::ledger::Stopwatch;
use crate::report::Totals;
use crate::world::Stage;

/// Rounds on one database.
pub const ROUNDS_OF_A_WORLD: u64 = 20;

/// How often the figures so far are printed.
const PROGRESS: Duration = Duration::from_mins(1);

#[derive(Debug, Clone)]
pub struct Options {
    pub seed: u64,
    pub from: u64,
    pub rounds: u64,
    pub repeat: u64,
    pub until: Instant,
    /// Clients whose requests meet at the same tasks.
    pub clients: usize,
    /// The most requests of these in a round.
    pub requests: usize,
    /// Clients with tasks of their own.
    pub writers: usize,
    pub only: Vec<Fault>,
    /// The machine has much else to do.
    pub busy: bool,
    pub keep_going: bool,
    /// Where evidence of violations is written.
    pub reports: PathBuf,
}

/// A run in progress.
#[derive(Debug)]
pub struct Run {
    pub options: Options,
    pub stopwatch: Stopwatch,
    totals: Mutex<Totals>,
    next_world: AtomicU64,
}

impl Run {
    pub fn new(options: Options) -> Self {
        Self {
            next_world: AtomicU64::new(options.from / ROUNDS_OF_A_WORLD),
            options,
            stopwatch: Stopwatch::start(),
            totals: Mutex::default(),
        }
    }

    pub fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs rounds until there are enough, the time is over, or something was found.
    pub async fn all(self: &Arc<Self>, stages: Vec<Stage>) -> anyhow::Result<()> {
        let mut lanes = JoinSet::new();
        for stage in stages {
            let run = Arc::clone(self);
            lanes.spawn(async move { run.lane(&stage).await });
        }
        let mut progress = tokio::time::interval(PROGRESS);
        progress.tick().await;
        loop {
            tokio::select! {
                lane = lanes.join_next() => match lane {
                    Some(ended) => ended??,
                    None => return Ok(()),
                },
                _ = progress.tick() => eprintln!("{}", self.totals().progress()),
            }
        }
    }

    /// Runs worlds that no other lane has.
    async fn lane(&self, stage: &Stage) -> anyhow::Result<()> {
        let end = self.options.from.saturating_add(self.options.rounds);
        loop {
            let world = self.next_world.fetch_add(1, SeqCst);
            let first = (world * ROUNDS_OF_A_WORLD).max(self.options.from);
            let rounds = first..end.min((world + 1) * ROUNDS_OF_A_WORLD);
            if rounds.is_empty() || !self.goes_on() {
                return Ok(());
            }
            let replay =
                self.options
                    .replay(stage.engine.name(), first, rounds.end.saturating_sub(first));
            let mut lane = Lane::new(self, stage);
            if let Err(error) = lane.in_a_world(world, rounds).await {
                // What the checker did not see is no proof of anything.
                let text = format!("{error:#}");
                eprintln!("{}, world {world}: {text}", stage.engine.name());
                eprintln!("Replay: {replay}");
                self.totals().add(&[Violation::new(Kind::Unjudged, text)]);
            }
        }
    }

    pub fn goes_on(&self) -> bool {
        let is_enough = self.totals().found() > 0 && !self.options.keep_going;
        Instant::now() < self.options.until && !is_enough
    }
}
