//! Mails: as many as the rows say, and each sent at least once.

use std::collections::HashSet;

use anyhow::ensure;

use crate::checker::{Kind, Violation};
use crate::database::Database;
use crate::lane::remind;
use crate::round::{Round, USERS};
use crate::world::World;

/// How often waiting mails are sent, until none waits.
const TRIES: usize = 30;

impl World {
    /// Gives the users of a round addresses.
    pub(crate) async fn addresses(&self, round: &Round) -> anyhow::Result<()> {
        let rows: Vec<_> = (0..USERS)
            .map(|index| round.user(index))
            .map(|user| format!("('{user}', '{user}@example.com')"))
            .collect();
        self.database
            .execute(&format!(
                "INSERT INTO \"user\" (id, email) VALUES {}",
                rows.join(", ")
            ))
            .await
    }

    /// Sends what waits. Mails of failed attempts, and of daemons that were killed, wait for longer
    /// than a round takes.
    pub(crate) async fn send_mails(&self, prefix: &str) -> anyhow::Result<()> {
        let now = match self.database {
            Database::Postgres { .. } => "now()",
            Database::Sqlite(_) => "0",
        };
        for _ in 0..TRIES {
            self.database
                .execute(&format!(
                    "UPDATE todoctl_outbox SET due_at = {now} WHERE state = 'pending'"
                ))
                .await?;
            remind(self).await?;
            if !self
                .mails(prefix)
                .await?
                .iter()
                .any(|mail| mail.1 == "pending")
            {
                return Ok(());
            }
        }
        ensure!(false, "mails wait although they are sent again and again");
        Ok(())
    }

    /// Compares mails with rows.
    pub(crate) async fn check_mails(&self, round: &Round) -> anyhow::Result<Vec<Violation>> {
        let prefix = round.prefix();
        let violation = |text: String| Violation::new(Kind::Mail, text);
        let mut violations = Vec::new();
        let mails = self.mails(&prefix).await?;
        // After the rows: what they call sent has arrived.
        let received = self.peers.mail.received();
        let arrived: HashSet<&str> = received
            .iter()
            .map(|mail| mail.header("idempotency-key"))
            .collect();
        for (key, state) in &mails {
            if state == "sent" && !arrived.contains(key.as_str()) {
                violations.push(violation(format!(
                    "the mail {key} is sent, and did not arrive"
                )));
            }
        }
        let deleted = if round.limits.rows_expire {
            "n.sent_email AND COUNT(o.id) = 0"
        } else {
            "FALSE"
        };
        for (id, count) in self
            .database
            .rows::<(i64, i64)>(&format!(
                "SELECT n.id, COUNT(o.id) FROM notifications n
                 JOIN \"user\" u ON u.id = n.user_id
                 LEFT JOIN todoctl_outbox o ON o.notification_id = n.id
                 WHERE n.type = 'due_soon' AND n.user_id LIKE '{prefix}%'
                 GROUP BY n.id HAVING COUNT(o.id) <> 1 AND NOT ({deleted})"
            ))
            .await?
        {
            violations.push(violation(format!(
                "the notification {id} has {count} mails"
            )));
        }
        for (task, count) in self
            .database
            .rows::<(i64, i64)>(&format!(
                "SELECT task_id, COUNT(*) FROM notifications
                 WHERE type = 'due_soon' AND task_id IS NOT NULL AND user_id LIKE '{prefix}%'
                 GROUP BY task_id HAVING COUNT(*) > 1"
            ))
            .await?
        {
            violations.push(violation(format!(
                "task {task} has {count} notifications that it is due soon"
            )));
        }
        Ok(violations)
    }

    /// Key and state of each mail.
    async fn mails(&self, prefix: &str) -> anyhow::Result<Vec<(String, String)>> {
        self.database
            .rows(&format!(
                "SELECT idempotency_key, state FROM todoctl_outbox WHERE user_id LIKE '{prefix}%'"
            ))
            .await
    }
}
