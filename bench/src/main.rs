//! Measures a todoctl daemon. scripts/bench builds the programs, starts PostgreSQL and runs this.

mod chart;
mod connection;
mod cost;
mod credentials;
mod daemon;
mod load;
mod matrix;
mod postgres;
mod process;
mod proxy;
mod report;
mod scale;
mod site;
mod statistics;
mod workload;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::matrix::{Comparison, Row};
use crate::postgres::Postgres;
use crate::report::{Machine, Report, save};
use crate::site::{Cell, Engine, Site};
use crate::workload::Workload;

/// A comparison fails where the CPU time of a request grew by more.
const REGRESSION: f64 = 1.05;

#[derive(Parser)]
#[command(about = "Measures a todoctl daemon")]
struct Cli {
    /// The program to measure.
    #[arg(long, env = "TODOCTL", hide = true)]
    program: PathBuf,
    /// An empty folder for databases and logs.
    #[arg(long, env = "BENCH_FOLDER", hide = true)]
    folder: PathBuf,
    /// Also write JSON, Markdown and the chart into this folder.
    #[arg(long, global = true, value_name = "FOLDER")]
    out: Option<PathBuf>,
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// All workloads, engines, connections, callers and latencies (about 40 minutes).
    Full(Selection),
    /// The most important figures (about 3 minutes).
    Quick(Selection),
    /// Another program in turns with this one; fails if the CPU time of a request grew by more than 5 %.
    Compare {
        #[arg(long, env = "TODOCTL_BASELINE", hide = true)]
        baseline: PathBuf,
        #[command(flatten)]
        selection: Selection,
    },
    /// The program and a copy of it in which requests share no statement and no commit, in turns:
    /// rates, and latencies at the same rate.
    Unshared {
        #[arg(long, env = "TODOCTL_BASELINE", hide = true)]
        baseline: PathBuf,
        #[command(flatten)]
        selection: Selection,
    },
    /// Millions of tasks, thousands of connections, and the memory of a long load.
    Scale(scale::Options),
    /// Start, size and idle time.
    Cost,
}

#[derive(Args)]
struct Selection {
    /// Only these workloads.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Workload>,
    /// Only these numbers of connections.
    #[arg(long, value_delimiter = ',')]
    connections: Vec<usize>,
    /// Only this engine.
    #[arg(long)]
    engine: Option<Engine>,
    /// Rounds; 3 in a quick run, else 5.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of each measurement; 2 in a quick run, else 3.
    #[arg(long)]
    seconds: Option<u64>,
    /// Also measure latency, as the modes full and unshared always do. Of two programs, at the same rate.
    #[arg(long)]
    latency: bool,
    /// Only PostgreSQL, so many milliseconds away.
    #[arg(long, value_name = "MS")]
    away: Option<u64>,
}

impl Selection {
    fn of(&self, mut cells: Vec<Cell>) -> Result<Vec<Cell>> {
        cells.retain(|cell| {
            (self.only.is_empty() || self.only.contains(&cell.workload))
                && (self.connections.is_empty() || self.connections.contains(&cell.connections))
                && self.engine.is_none_or(|engine| engine == cell.engine)
        });
        if let Some(away) = self.away {
            cells.retain(|cell| cell.engine == Engine::Postgres);
            for cell in &mut cells {
                cell.latency_ms = away;
            }
        }
        if cells.is_empty() {
            bail!("nothing to measure: the selection is empty");
        }
        Ok(cells)
    }

    /// Rounds and seconds.
    fn effort(&self, (rounds, seconds): (usize, u64)) -> (usize, u64) {
        (
            self.rounds.unwrap_or(rounds),
            self.seconds.unwrap_or(seconds),
        )
    }
}

/// What all modes need.
struct Bench {
    cli: Cli,
    postgres: Postgres,
}

impl Bench {
    fn report<T: Serialize>(
        &self,
        (rounds, seconds): (usize, u64),
        measure: impl FnOnce(usize, Duration) -> Result<T>,
    ) -> Result<Report<T>> {
        Ok(Report {
            program: report::version(&self.cli.program)?,
            machine: Machine::read(&self.postgres)?,
            seconds,
            rounds,
            result: measure(rounds, Duration::from_secs(seconds))?,
        })
    }

    fn rows(
        &self,
        selection: &Selection,
        cells: Vec<Cell>,
        default: (usize, u64),
        with_latency: bool,
    ) -> Result<Report<Vec<Row>>> {
        let cells = selection.of(cells)?;
        self.report(selection.effort(default), |rounds, each| {
            let Cli {
                program, folder, ..
            } = &self.cli;
            let mut site = Site::new(program, &self.postgres, "bench", folder)?;
            matrix::run(
                &mut site,
                &cells,
                rounds,
                each,
                with_latency || selection.latency,
            )
        })
    }

    fn compare(
        &self,
        selection: &Selection,
        baseline: &Path,
        cells: Vec<Cell>,
        with_latency: bool,
    ) -> Result<Report<Vec<Comparison>>> {
        let cells = selection.of(cells)?;
        let with_latency = with_latency || selection.latency;
        self.report(selection.effort((5, 3)), |rounds, each| {
            let site = |program, name| Site::new(program, &self.postgres, name, &self.cli.folder);
            let mut sites = [
                site(baseline, "bench_baseline")?,
                site(&self.cli.program, "bench")?,
            ];
            matrix::compare(&mut sites, &cells, rounds, each, with_latency)
        })
    }

    /// Prints the page, and saves it with the figures.
    fn publish<T: Serialize>(&self, name: &str, report: &Report<T>, page: &str) -> Result<()> {
        println!("{page}");
        if let Some(out) = &self.cli.out {
            save(out, &format!("{name}.json"), &report.json()?)?;
            save(out, &format!("{name}.md"), page)?;
        }
        Ok(())
    }

    fn publish_rows(&self, name: &str, title: &str, report: &Report<Vec<Row>>) -> Result<bool> {
        self.publish(name, report, &report.markdown(title))?;
        if let Some(out) = &self.cli.out {
            save(out, &format!("{name}.svg"), &chart::svg(&report.result))?;
        }
        Ok(report.result.iter().all(|row| row.failed == 0))
    }

    /// Whether nothing failed or became slower.
    fn run(&self) -> Result<bool> {
        match &self.cli.mode {
            Mode::Full(selection) => {
                let report = self.rows(selection, matrix::full(), (5, 3), true)?;
                self.publish_rows("full", "All workloads", &report)
            }
            Mode::Quick(selection) => {
                let report = self.rows(selection, matrix::quick(), (3, 2), false)?;
                self.publish_rows("quick", "The most important figures", &report)
            }
            Mode::Compare {
                baseline,
                selection,
            } => {
                let report = self.compare(selection, baseline, matrix::quick(), false)?;
                let baseline = report::version(baseline)?;
                let page = report.markdown("Comparison of two programs", &baseline);
                self.publish("compare", &report, &page)?;
                let is_worse =
                    |row: &Comparison| row.failed > 0 || row.cpu_ratio.median > REGRESSION;
                Ok(!report.result.iter().any(is_worse))
            }
            Mode::Unshared {
                baseline,
                selection,
            } => {
                let report = self.compare(selection, baseline, matrix::unshared(), true)?;
                let baseline = "the same program with a statement and a commit for each request";
                let page = report.markdown("What sharing does", baseline);
                self.publish("unshared", &report, &page)?;
                Ok(report.result.iter().all(|row| row.failed == 0))
            }
            Mode::Scale(options) => {
                let report = self.report((scale::ROUNDS, scale::SECONDS), |_, _| {
                    scale::run(&self.cli.program, &self.postgres, &self.cli.folder, options)
                })?;
                self.publish("scale", &report, &report.markdown())?;
                Ok(report.result.failed() == 0)
            }
            Mode::Cost => {
                let report = self.report((cost::STARTS, cost::IDLE_SECONDS), |_, _| {
                    cost::run(&self.cli.program, &self.postgres, &self.cli.folder)
                })?;
                self.publish("cost", &report, &report.markdown())?;
                Ok(true)
            }
        }
    }
}

fn main() -> Result<ExitCode> {
    let bench = Bench {
        cli: Cli::parse(),
        postgres: Postgres::from_environment()?,
    };
    Ok(ExitCode::from(u8::from(!bench.run()?)))
}
