//! What is told about violations.

use std::fmt::Write as _;

use anyhow::Context as _;

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
        let Options {
            seed,
            clients,
            requests,
            writers,
            reports,
            ..
        } = &self.run.options;
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
        eprintln!(
            "Replay: scripts/torture --engine {engine} --seed {seed} --from {index} --rounds 1 --repeat 20 --clients {clients} --requests {requests} --writers {writers}"
        );
        Ok(())
    }
}
