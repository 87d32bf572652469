//! The result as JSON and as a page of Markdown.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::cost::Cost;
use crate::credentials::Caller;
use crate::matrix::{ComparedLatency, Comparison, Row, describe};
use crate::postgres::Postgres;
use crate::scale::Scale;
use crate::site::Engine;
use crate::statistics::Spread;

/// A result and where it comes from.
#[derive(Serialize)]
pub struct Report<T> {
    pub program: String,
    pub machine: Machine,
    /// Of each measurement.
    pub seconds: u64,
    pub rounds: usize,
    pub result: T,
}

#[derive(Serialize)]
pub struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    postgres: String,
    /// The load average of the minute before.
    load_before: String,
}

impl Machine {
    pub fn read(postgres: &Postgres) -> Result<Self> {
        let cpus = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpus.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split(": ").nth(1));
        let load = fs::read_to_string("/proc/loadavg")?;
        let version = postgres.sql("postgres", &["SHOW server_version"])?;
        Ok(Self {
            cpu: model.unwrap_or("unknown").to_owned(),
            cores: available_parallelism()?.get(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            postgres: version.trim().to_owned(),
            load_before: load.split(' ').next().unwrap_or_default().to_owned(),
        })
    }
}

/// What the program calls itself, with its commit.
pub fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

impl<T: Serialize> Report<T> {
    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The page's text above the figures.
    fn head(&self, title: &str) -> String {
        let Machine {
            cpu,
            cores,
            kernel,
            postgres,
            load_before,
        } = &self.machine;
        format!(
            "# {title}\n\n{}. {cores} cores of {cpu}, Linux {kernel}, PostgreSQL {postgres}; load average {load_before} before. \
             Clients, daemon and database share this machine. ",
            self.program
        )
    }

    fn rounds(&self) -> String {
        format!(
            "Each figure is the median of {} runs of {} s, with the lowest and the highest in parentheses.",
            self.rounds, self.seconds
        )
    }
}

/// With three significant digits, and thousands apart.
fn number(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.2}");
    }
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn spread(value: Spread) -> String {
    let Spread { median, min, max } = value;
    format!("{} ({} to {})", number(median), number(min), number(max))
}

fn median(value: Option<Spread>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| number(value.median))
}

/// What was not measured.
const NOTHING: &str = "–";

/// A table without the columns in which nothing was measured.
fn table(heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    let columns: Vec<_> = (0..heads.len())
        .filter(|column| rows.iter().any(|row| row[*column] != NOTHING))
        .collect();
    let line = |cell: &dyn Fn(usize) -> String| {
        let cells: Vec<_> = columns.iter().map(|column| cell(*column)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut text = line(&|column| heads[column].to_owned());
    text += &line(&|_| "---".to_owned());
    for row in &rows {
        text += &line(&|column| row[column].clone());
    }
    text
}

impl Report<Vec<Row>> {
    pub fn markdown(&self, title: &str) -> String {
        let mut text = self.head(title) + &self.rounds() + "\n\n";
        text += "\"Ratio\" is requests per second as a part of pgbench's in the same round. CPU is in microseconds \
                 a request.";
        if self.result.iter().any(|row| row.latency.is_some()) {
            text += " p50, p99 and p99.9 are microseconds at 70 % of the rate.";
        }
        text += "\n\n";
        let heads = [
            "workload",
            "engine",
            "connections",
            "caller",
            "database",
            "requests/s",
            "pgbench/s",
            "ratio",
            "server CPU",
            "PostgreSQL CPU",
            "connections used",
            "p50",
            "p99",
            "p99.9",
            "memory, MiB",
            "failed",
        ];
        text + &table(&heads, self.result.iter().map(cells))
    }
}

fn cells(row: &Row) -> Vec<String> {
    let cell = &row.cell;
    let latency = row.latency.as_ref();
    vec![
        cell.workload.name().to_owned(),
        match cell.engine {
            Engine::Postgres => "PostgreSQL".to_owned(),
            Engine::Sqlite => "SQLite".to_owned(),
        },
        cell.connections.to_string(),
        Caller::name(cell.caller).to_owned(),
        match cell.latency_ms {
            0 => "local".to_owned(),
            away => format!("{away} ms away"),
        },
        spread(row.requests_per_second),
        row.pgbench_per_second
            .map_or_else(|| "–".to_owned(), spread),
        median(row.ratio),
        number(row.server_cpu_us.median),
        median(row.postgres_cpu_us),
        row.connections_used
            .map_or_else(|| NOTHING.to_owned(), |it| format!("{:.0}", it.median)),
        median(latency.map(|it| it.p50_us)),
        median(latency.map(|it| it.p99_us)),
        median(latency.map(|it| it.p999_us)),
        number(row.memory_mib.median),
        row.failed.to_string(),
    ]
}

impl Report<Vec<Comparison>> {
    pub fn markdown(&self, title: &str, baseline: &str) -> String {
        let mut text = self.head(title) + &self.rounds();
        text += &format!(" The baseline is {baseline}.");
        if self.result.iter().any(|row| row.latency.is_some()) {
            text += " p99 is in microseconds, of both at the same rate: 70 % of what the slower one reached.";
        }
        text += "\n\n";
        let heads = [
            "cell",
            "baseline, µs CPU",
            "µs CPU",
            "CPU ratio",
            "requests/s ratio",
            "at requests/s",
            "baseline, p99",
            "p99",
            "p99 ratio",
            "failed",
        ];
        let rows = self.result.iter().map(|row| {
            let latency = row.latency.as_ref();
            let latency = |value: fn(&ComparedLatency) -> Spread| {
                latency.map_or_else(|| NOTHING.to_owned(), |it| spread(value(it)))
            };
            vec![
                describe(&row.cell),
                spread(row.baseline_cpu_us),
                spread(row.server_cpu_us),
                spread(row.cpu_ratio),
                spread(row.rate_ratio),
                latency(|it| it.rate),
                latency(|it| it.baseline_p99_us),
                latency(|it| it.p99_us),
                latency(|it| it.p99_ratio),
                row.failed.to_string(),
            ]
        });
        text + &table(&heads, rows)
    }
}

impl Report<Scale> {
    pub fn markdown(&self) -> String {
        let Scale {
            pairs, idle, mixed, ..
        } = &self.result;
        let mut text = self.head("Scale") + "Latencies are medians in microseconds.\n\n";
        let heads = ["on one connection", "small", "large", "ratio", "failed"];
        let rows = pairs.iter().map(|pair| {
            vec![
                pair.name.clone(),
                spread(pair.small_us),
                spread(pair.large_us),
                spread(pair.ratio),
                pair.failed.to_string(),
            ]
        });
        text += &table(&heads, rows);
        text += &format!(
            "\n{} idle keep-alive connections use {} MiB. A point read at 1,000 requests a second takes {} µs \
             without them and {} µs with them (p99: {} and {} µs).\n",
            number(idle.connections as f64),
            number(idle.memory_mib),
            number(idle.p50_us[0]),
            number(idle.p50_us[1]),
            number(idle.p99_us[0]),
            number(idle.p99_us[1]),
        );
        text + &format!(
            "\n{} minutes of a mixed load ({} requests a second, {} failed): {} MiB in the second tenth, {} MiB in the last.\n",
            mixed.minutes,
            number(mixed.requests_per_second),
            mixed.failed,
            number(mixed.memory_mib[0]),
            number(mixed.memory_mib[1]),
        )
    }
}

impl Report<Cost> {
    pub fn markdown(&self) -> String {
        let mut text = self.head("Cost");
        text += &format!("The binary has {} MiB.\n\n", number(self.result.binary_mib));
        let heads = [
            "engine",
            "start to the first 200, ms",
            "idle CPU, %",
            "idle memory, MiB",
        ];
        let rows = self.result.engines.iter().map(|engine| {
            vec![
                engine.name.to_owned(),
                spread(engine.start_ms),
                number(engine.idle_cpu_percent),
                number(engine.idle_memory_mib),
            ]
        });
        text + &table(&heads, rows)
    }
}

/// Writes one file of a result.
pub fn save(folder: &Path, name: &str, text: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    let file = folder.join(name);
    fs::write(&file, text).with_context(|| format!("writing {}", file.display()))
}
