//! Which cells are measured, and their rounds.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use crate::credentials::Caller;
use crate::load::Pace;
use crate::site::{Cell, Engine, Sample, Site};
use crate::statistics::Spread;
use crate::workload::Workload;

/// The rate at which latency is measured, as a part of the highest.
const PART_OF_RATE: f64 = 0.7;

fn cell(workload: Workload, engine: Engine, connections: usize) -> Cell {
    Cell {
        workload,
        engine,
        connections,
        caller: Caller::Service,
        latency_ms: 0,
    }
}

const COMPARED: [Workload; 5] = [
    Workload::Point,
    Workload::List20,
    Workload::List200,
    Workload::Create,
    Workload::Complete,
];

/// The figures that matter most, in three minutes.
pub fn quick() -> Vec<Cell> {
    let mut cells = Vec::new();
    for connections in [16, 64] {
        cells.extend(COMPARED.map(|workload| cell(workload, Engine::Postgres, connections)));
        cells.push(cell(Workload::Live, Engine::Postgres, connections));
    }
    // With one client each create has a commit of its own.
    cells.push(cell(Workload::Create, Engine::Sqlite, 1));
    cells.push(cell(Workload::Create, Engine::Sqlite, 64));
    cells
}

/// The requests that share statements or commits.
pub fn unshared() -> Vec<Cell> {
    let shared = [
        Workload::Point,
        Workload::List20,
        Workload::Create,
        Workload::Complete,
    ];
    let mut cells = Vec::new();
    for (connections, latency_ms) in [(16, 0), (64, 0), (64, 10)] {
        cells.extend(shared.map(|workload| Cell {
            latency_ms,
            ..cell(workload, Engine::Postgres, connections)
        }));
    }
    cells.push(cell(Workload::Create, Engine::Sqlite, 64));
    cells
}

pub fn full() -> Vec<Cell> {
    let mut cells = Vec::new();
    for connections in [1, 16, 64, 256] {
        for workload in Workload::value_variants() {
            let always = matches!(workload, Workload::Point | Workload::Create);
            if always || [16, 64].contains(&connections) {
                cells.push(cell(*workload, Engine::Postgres, connections));
            }
        }
    }
    for caller in [Caller::Jwt, Caller::Session] {
        for workload in [Workload::Point, Workload::Auth] {
            cells.push(Cell {
                caller,
                ..cell(workload, Engine::Postgres, 64)
            });
        }
    }
    for latency_ms in [2, 10] {
        for workload in COMPARED {
            cells.push(Cell {
                latency_ms,
                ..cell(workload, Engine::Postgres, 64)
            });
        }
    }
    for connections in [1, 16, 64, 256] {
        for workload in Workload::value_variants() {
            let has_database = !matches!(workload, Workload::Live | Workload::Auth);
            let always = matches!(workload, Workload::Create);
            if always || has_database && connections == 64 {
                cells.push(cell(*workload, Engine::Sqlite, connections));
            }
        }
    }
    cells
}

#[derive(Serialize)]
pub struct Latency {
    /// Requests a second at which it was measured.
    pub rate: f64,
    pub p50_us: Spread,
    pub p99_us: Spread,
    pub p999_us: Spread,
}

#[derive(Serialize)]
pub struct Row {
    #[serde(flatten)]
    pub cell: Cell,
    pub requests_per_second: Spread,
    pub pgbench_per_second: Option<Spread>,
    /// Of pgbench, in the same round.
    pub ratio: Option<Spread>,
    pub server_cpu_us: Spread,
    pub postgres_cpu_us: Option<Spread>,
    /// To PostgreSQL.
    pub connections_used: Option<Spread>,
    pub memory_mib: Spread,
    pub latency: Option<Latency>,
    pub failed: u64,
}

#[derive(Default)]
struct Measured {
    rates: Vec<Sample>,
    pgbench: Vec<f64>,
    latencies: Vec<Sample>,
}

/// Measures every cell in each round, so that a change of the machine's speed affects all alike.
pub fn run(
    site: &mut Site<'_>,
    cells: &[Cell],
    rounds: usize,
    each: Duration,
    with_latency: bool,
) -> Result<Vec<Row>> {
    let mut measured: Vec<Measured> = cells.iter().map(|_| Measured::default()).collect();
    for round in 1..=rounds {
        for (cell, measured) in cells.iter().zip(&mut measured) {
            eprintln!("bench: round {round} of {rounds}: {}", describe(cell));
            measured.rates.push(site.measure(cell, Pace::Closed, each)?);
            measured.pgbench.extend(site.pgbench(cell, each)?);
            if with_latency {
                let rate = PART_OF_RATE * measured.rates[0].outcome.rate();
                let sample = site.measure(cell, Pace::Open(rate), each)?;
                measured.latencies.push(sample);
            }
        }
    }
    cells
        .iter()
        .zip(&measured)
        .map(|(cell, measured)| row(cell, measured))
        .collect()
}

pub fn describe(cell: &Cell) -> String {
    let mut text = format!(
        "{}, {:?}, {} connections",
        cell.workload.name(),
        cell.engine,
        cell.connections
    );
    if cell.caller != Caller::Service {
        text += &format!(", {}", cell.caller.name());
    }
    if cell.latency_ms > 0 {
        text += &format!(", database {} ms away", cell.latency_ms);
    }
    text
}

fn row(cell: &Cell, measured: &Measured) -> Result<Row> {
    let Measured {
        rates,
        pgbench,
        latencies,
    } = measured;
    let spread = |value: fn(&Sample) -> f64| {
        Spread::of(rates.iter().map(value)).context("at least one round")
    };
    let percentile =
        |percent: f64| Spread::of(latencies.iter().map(|one| one.outcome.percentile(percent)));
    let ratios = rates.iter().zip(pgbench);
    let latency = match (percentile(50.0), percentile(99.0), percentile(99.9)) {
        (Some(p50_us), Some(p99_us), Some(p999_us)) => Some(Latency {
            rate: PART_OF_RATE * rates[0].outcome.rate(),
            p50_us,
            p99_us,
            p999_us,
        }),
        _ => None,
    };
    Ok(Row {
        cell: *cell,
        requests_per_second: spread(|one| one.outcome.rate())?,
        pgbench_per_second: Spread::of(pgbench.iter().copied()),
        ratio: Spread::of(ratios.map(|(one, limit)| one.outcome.rate() / limit)),
        server_cpu_us: spread(|one| one.server_cpu)?,
        postgres_cpu_us: Spread::of(rates.iter().filter_map(|one| one.postgres_cpu)),
        connections_used: Spread::of(
            rates
                .iter()
                .filter_map(|one| one.connections.map(|count| count as f64)),
        ),
        memory_mib: spread(|one| one.memory)?,
        latency,
        failed: rates
            .iter()
            .chain(latencies)
            .map(|one| one.outcome.failed)
            .sum(),
    })
}

/// The program as a part of the baseline, in each cell.
#[derive(Serialize)]
pub struct Comparison {
    #[serde(flatten)]
    pub cell: Cell,
    pub baseline_cpu_us: Spread,
    pub server_cpu_us: Spread,
    /// Of the two in the same round.
    pub cpu_ratio: Spread,
    pub rate_ratio: Spread,
    pub latency: Option<ComparedLatency>,
    pub failed: u64,
}

/// Of both at the same rate.
#[derive(Serialize)]
pub struct ComparedLatency {
    /// Requests a second.
    pub rate: Spread,
    pub baseline_p99_us: Spread,
    pub p99_us: Spread,
    /// Of the two in the same round.
    pub p99_ratio: Spread,
}

/// The baseline and the program, one after the other.
type Both = [Sample; 2];

/// What was measured of a cell.
#[derive(Default)]
struct Compared {
    rates: Vec<Both>,
    latencies: Vec<(f64, Both)>,
}

/// Measures two programs in turns. Which one is first changes with each round.
pub fn compare(
    sites: &mut [Site<'_>; 2],
    cells: &[Cell],
    rounds: usize,
    each: Duration,
    with_latency: bool,
) -> Result<Vec<Comparison>> {
    let mut compared: Vec<Compared> = cells.iter().map(|_| Compared::default()).collect();
    for round in 1..=rounds {
        let mut both = |cell: &Cell, pace| -> Result<Both> {
            let [baseline, current] = &mut *sites;
            if round % 2 == 0 {
                let current = current.measure(cell, pace, each)?;
                Ok([baseline.measure(cell, pace, each)?, current])
            } else {
                let baseline = baseline.measure(cell, pace, each)?;
                Ok([baseline, current.measure(cell, pace, each)?])
            }
        };
        for (cell, compared) in cells.iter().zip(&mut compared) {
            eprintln!("bench: round {round} of {rounds}: {}", describe(cell));
            let rates = both(cell, Pace::Closed)?;
            if with_latency {
                let [baseline, current] = &rates;
                let rate = PART_OF_RATE * baseline.outcome.rate().min(current.outcome.rate());
                compared
                    .latencies
                    .push((rate, both(cell, Pace::Open(rate))?));
            }
            compared.rates.push(rates);
        }
    }
    cells
        .iter()
        .zip(&compared)
        .map(|(cell, compared)| comparison(cell, compared).context("at least one round"))
        .collect()
}

fn comparison(cell: &Cell, compared: &Compared) -> Option<Comparison> {
    let Compared { rates, latencies } = compared;
    let spread = |value: fn(&Both) -> f64| Spread::of(rates.iter().map(value));
    let p99 = |value: fn([f64; 2]) -> f64| {
        let both = |[baseline, current]: &Both| {
            [baseline, current].map(|sample| sample.outcome.percentile(99.0))
        };
        Spread::of(latencies.iter().map(|(_, samples)| value(both(samples))))
    };
    let latency = || {
        Some(ComparedLatency {
            rate: Spread::of(latencies.iter().map(|(rate, _)| *rate))?,
            baseline_p99_us: p99(|[baseline, _]| baseline)?,
            p99_us: p99(|[_, current]| current)?,
            p99_ratio: p99(|[baseline, current]| current / baseline)?,
        })
    };
    let samples = rates.iter().chain(latencies.iter().map(|(_, both)| both));
    Some(Comparison {
        cell: *cell,
        baseline_cpu_us: spread(|[baseline, _]| baseline.server_cpu)?,
        server_cpu_us: spread(|[_, current]| current.server_cpu)?,
        cpu_ratio: spread(|[baseline, current]| current.server_cpu / baseline.server_cpu)?,
        rate_ratio: spread(|[baseline, current]| current.outcome.rate() / baseline.outcome.rate())?,
        latency: latency(),
        failed: samples.flatten().map(|one| one.outcome.failed).sum(),
    })
}
