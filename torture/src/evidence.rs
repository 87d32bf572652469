//! What is told about violations.

use std::fmt::Write as _;

use anyhow::Context as _;
use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::checker::Violation;
use crate::faults::Planned;
use crate::lane::Lane;
use crate::run::Options;
use crate::world::World;

impl Lane<'_> {
    /// Counts violations, prints them, and writes the evidence to a file.
    pub(crate) async fn report(
        &mut self,
        violations: &[Violation],
        world: &World,
        index: u64,
        plan: &[Planned],
    ) -> anyhow::Result<()> {
        if violations.is_empty() {
            return Ok(());
        }
        let engine = world.engine.name();
        let options = &self.run.options;
        let (seed, reports) = (options.seed, &options.reports);
        let mut text = format!(
            "{engine}, seed {seed}, round {index}, {} daemons{}: {plan:?}\n",
            world.daemons.len(),
            if world.is_pooled() {
                " behind a pooler"
            } else {
                ""
            },
        );
        self.run.totals().add(violations);
        for violation in violations {
            let _ = writeln!(text, "{:?}: {}", violation.kind, violation.text);
        }
        let shown: Vec<&str> = text.lines().take(40).collect();
        eprintln!("{}", shown.join("\n"));
        for daemon in &world.daemons {
            let daemon = daemon.lock().await;
            let _ = writeln!(
                text,
                "log of port {}:\n{}",
                daemon.port,
                daemon.last_lines().join("\n")
            );
        }
        let file = reports.join(format!("{engine}-{seed}-{index}.txt"));
        std::fs::create_dir_all(reports)?;
        std::fs::write(&file, text).with_context(|| file.display().to_string())?;
        eprintln!("The whole evidence: {}", file.display());
        eprintln!("Replay: {}", options.replay(engine, index, 1));
        Ok(())
    }
}

impl Options {
    /// The command that runs some rounds again.
    pub(crate) fn replay(&self, engine: &str, from: u64, rounds: u64) -> String {
        let Self {
            seed,
            clients,
            requests,
            writers,
            only,
            ..
        } = self;
        let mut command = format!(
            "scripts/torture --engine {engine} --seed {seed} --from {from} --rounds {rounds} --repeat 20 --clients {clients} --requests {requests} --writers {writers}"
        );
        let names: Vec<_> = only
            .iter()
            .filter_map(ValueEnum::to_possible_value)
            .collect();
        let names: Vec<_> = names.iter().map(PossibleValue::get_name).collect();
        if !names.is_empty() {
            let _ = write!(command, " --only {}", names.join(","));
        }
        command
    }
}
