//! Clients, faults and a checker, all from a seed: what does todoctl lose, repeat or reorder when
//! its processes, its database and the network between them fail?
//!
//! The seed decides about requests and faults, and the scheduling of the machine about their
//! exact order. So a replay shows the same plan, and takes some repetitions to show the same
//! failure.

mod answers;
mod checker;
mod daemon;
mod database;
mod evidence;
mod faults;
mod fold;
mod history;
mod http;
mod inflict;
mod inflict_services;
mod judged;
mod keyed;
mod lane;
mod ledger;
mod linear;
mod mails;
mod metrics;
mod model;
mod notes;
mod peers;
mod postgres;
mod preload;
mod proxy;
mod quiet;
mod reads;
mod report;
mod round;
mod run;
mod seed;
mod small_disk;
mod support;
mod verdict;
mod visitor;
mod wire;
mod workload;
mod world;
mod writes;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use faults::Fault;
use run::{Options, Run};
use world::{Engine, Stage};

/// Seeded fault injection for todoctl.
#[derive(Debug, clap::Parser)]
struct Arguments {
    /// The program to test.
    #[arg(long)]
    program: PathBuf,
    /// Decides about requests and faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, value_enum)]
    engine: Engine,
    /// The first round.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Rounds to run; no limit unless set.
    #[arg(long)]
    rounds: Option<u64>,
    /// How often each round is run.
    #[arg(long, default_value_t = 1)]
    repeat: u64,
    /// The time after which no round begins.
    #[arg(long)]
    minutes: Option<f64>,
    /// Rounds at a time, each with daemons and a database of its own. A round mostly waits.
    #[arg(long, default_value_t = 3)]
    parallel: usize,
    /// Clients of a round whose requests meet at the same tasks.
    #[arg(long, default_value_t = 12)]
    clients: usize,
    /// The most requests of these in a round.
    #[arg(long, default_value_t = 2400)]
    requests: usize,
    /// Clients of a round that change tasks of their own, as fast as they can.
    #[arg(long, default_value_t = 12)]
    writers: usize,
    /// Only these faults.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Fault>,
    /// The machine has much else to do: rounds without faults may refuse most requests.
    #[arg(long)]
    busy: bool,
    /// Go on after a violation.
    #[arg(long)]
    keep_going: bool,
    /// Folder for the evidence of violations.
    #[arg(long)]
    reports: PathBuf,
}

fn main() -> ExitCode {
    match start(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("torture: {error:#}");
            ExitCode::from(2)
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn start(arguments: Arguments) -> anyhow::Result<bool> {
    let began = Instant::now();
    let minutes = arguments.minutes.unwrap_or(if arguments.rounds.is_some() {
        60.0 * 24.0 * 7.0
    } else {
        10.0
    });
    let options = Options {
        seed: arguments.seed,
        from: arguments.from,
        rounds: arguments.rounds.unwrap_or(u64::MAX),
        repeat: arguments.repeat.max(1),
        until: began + Duration::try_from_secs_f64(minutes * 60.0).context("--minutes")?,
        clients: arguments.clients.max(1),
        requests: arguments.requests,
        writers: arguments.writers,
        only: arguments.only,
        busy: arguments.busy,
        keep_going: arguments.keep_going,
        reports: arguments.reports,
    };
    let program = arguments.program.canonicalize().context("--program")?;
    let libraries = preload::Libraries::compile(&options.reports);
    let mut stages = Vec::new();
    for _ in 0..arguments.parallel.max(1) {
        stages.push(Stage::build(arguments.engine, &program, &libraries).await?);
    }
    let run = Arc::new(Run::new(options));
    let mut terminate = signal(SignalKind::terminate())?;
    let result = tokio::select! {
        result = run.all(stages) => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    let totals = run.totals();
    print!(
        "{}",
        totals.table(arguments.engine.name(), run.options.seed, began.elapsed())
    );
    result?;
    Ok(totals.found() == 0)
}
