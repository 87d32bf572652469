//! What is checked when a round is over.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::block_in_place;

use crate::checker::{Evidence, Kind, Violation};
use crate::database::Database;
use crate::faults::Planned;
use crate::lane::{Before, Lane, remind};
use crate::ledger::Pages;
use crate::round::{Mix, Round, now};
use crate::workload::Worker;
use crate::world::World;

/// Every so many rounds the reminders are counted exactly.
const REMINDER_ROUNDS: u64 = 4;

/// How often the counts of unread notifications are compared with the rows, until they agree.
const UNREAD_TRIES: usize = 50;

impl Lane<'_> {
    pub(crate) async fn check(
        &mut self,
        world: &World,
        round: &Arc<Round>,
        plan: &[Planned],
        rng: &mut Rng,
        violations: &mut Vec<Violation>,
    ) -> anyhow::Result<()> {
        let prefix = round.prefix();
        let exact = round.number.is_multiple_of(REMINDER_ROUNDS) && remind(world).await?;
        if exact {
            world.send_mails(&prefix).await?;
        }
        Worker::new(round, 200, Mix::Meeting, rng.fork())
            .look()
            .await;
        let rows = world.database.tasks(&prefix).await?;
        let ended = self.run.stopwatch.now();
        Worker::new(round, 400, Mix::Meeting, rng.fork())
            .compare(&rows)
            .await;
        let pages = round.ledger.take();
        self.run.totals().count(&pages);
        // The daemons have just started.
        if round.number == 0 {
            violations.extend(world.check_metrics(&pages).await);
        }
        if plan.is_empty() && !self.run.options.busy {
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
            ended,
            began: (!round.limits.other_days)
                .then(|| now().saturating_sub_unsigned(self.run.stopwatch.now())),
        };
        violations.extend(block_in_place(|| evidence.judge()));
        violations.extend(unread(world, round, rng).await?);
        violations.extend(world.database.check_marks(&prefix, &pages.marks).await?);
        violations.extend(world.check_reminders(round, exact).await?);
        violations.extend(world.check_mails(round).await?);
        violations.extend(changed_since(&self.before, &world.database).await?);
        let newest = rows.iter().map(|row| row.seen.id).max().unwrap_or_default();
        self.before = Before {
            rows: rows.into_iter().map(|row| (row.seen.id, row)).collect(),
            used: newest.max(self.before.used),
            prefix,
        };
        Ok(())
    }
}

/// Compares the counts of unread notifications with the rows.
async fn unread(
    world: &World,
    round: &Arc<Round>,
    rng: &mut Rng,
) -> anyhow::Result<Vec<Violation>> {
    let mut client = Worker::new(round, 300, Mix::Meeting, rng.fork());
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

/// Nothing of the round before may have changed. Then it is deleted.
async fn changed_since(before: &Before, database: &Database) -> anyhow::Result<Option<Violation>> {
    if before.prefix.is_empty() {
        return Ok(None);
    }
    let rows = database.tasks(&before.prefix).await?;
    database.purge(&before.prefix).await?;
    let is_same = rows.len() == before.rows.len()
        && rows
            .iter()
            .all(|row| before.rows.get(&row.seen.id) == Some(row));
    Ok((!is_same).then(|| {
        let now = |id| rows.iter().find(|row| row.seen.id == id);
        let changed: Vec<_> = before
            .rows
            .values()
            .map(|row| (row, now(row.seen.id)))
            .filter(|(row, now)| *now != Some(row))
            .collect();
        let added: Vec<_> = rows
            .iter()
            .filter(|row| !before.rows.contains_key(&row.seen.id))
            .collect();
        let text = format!("after the end of a round: changed {changed:?}, added {added:?}");
        Violation::new(Kind::Late, text)
    }))
}

/// What must not happen in a round without faults. A busy machine may refuse many requests, but
/// not most of them.
fn calm(pages: &Pages) -> Option<Violation> {
    let all: u64 = pages.statuses.values().sum();
    let refused: u64 = [0, 409, 503]
        .iter()
        .filter_map(|status| pages.statuses.get(status))
        .sum();
    (refused * 2 > all).then(|| {
        let text = format!(
            "{refused} of {all} requests failed without any fault: {:?}",
            pages.statuses
        );
        Violation::new(Kind::Answer, text)
    })
}
