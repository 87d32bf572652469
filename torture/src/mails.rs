//! Reminders and their mails: as many as the rows say, and each mail sent at least once.

use std::collections::HashMap;

use anyhow::ensure;
use serde_json::{Value, json};

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
                .any(|mail| mail.2 == "pending")
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
        let mut arrived: HashMap<&str, Value> = HashMap::new();
        let mut texts: HashMap<String, &str> = HashMap::new();
        for mail in &received {
            let key = mail.header("idempotency-key");
            let content = mail.json();
            let text = format!(
                "{} {} {}",
                content["to"], content["subject"], content["text"]
            );
            let other = texts.insert(text.clone(), key);
            if other.is_some_and(|other| other != key) {
                violations.push(violation(format!("two mails are {text}")));
            }
            if let Some(before) = arrived.insert(key, content)
                && before != arrived[key]
            {
                let text = format!("the mail {key} is {before} and {}", arrived[key]);
                violations.push(violation(text));
            }
        }
        for (key, user, state, is_marked) in &mails {
            let to = json!([format!("{user}@example.com")]);
            match (state.as_str(), arrived.get(key.as_str())) {
                (_, Some(mail)) if mail["to"] != to => {
                    violations.push(violation(format!("the mail {key} of {user} is {mail}")));
                }
                ("sent", None) => violations.push(violation(format!(
                    "the mail {key} is sent, and did not arrive"
                ))),
                (_, arrived)
                    if *is_marked && arrived.is_none() || state == "sent" && !is_marked =>
                {
                    let text =
                        format!("the mail {key} is {state}, and marked as sent: {is_marked}");
                    violations.push(violation(text));
                }
                _ => {}
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
                 WHERE n.type = 'due_soon' AND n.message LIKE '\"%' AND n.user_id LIKE '{prefix}%'
                 GROUP BY n.id HAVING COUNT(o.id) <> 1 AND NOT ({deleted})"
            ))
            .await?
        {
            violations.push(violation(format!(
                "the notification {id} has {count} mails"
            )));
        }
        Ok(violations)
    }

    /// Key, user and state of each mail, and whether its notification says that it was sent.
    async fn mails(&self, prefix: &str) -> anyhow::Result<Vec<(String, String, String, bool)>> {
        self.database
            .rows(&format!(
                "SELECT idempotency_key, todoctl_outbox.user_id, state, sent_email FROM todoctl_outbox
                 JOIN notifications ON notifications.id = notification_id
                 WHERE todoctl_outbox.user_id LIKE '{prefix}%'"
            ))
            .await
    }

    /// Compares reminders with tasks. They are complete if the job has just run (`exact`).
    pub(crate) async fn check_reminders(
        &self,
        round: &Round,
        exact: bool,
    ) -> anyhow::Result<Vec<Violation>> {
        let prefix = round.prefix();
        let violation = |text: String| Violation::new(Kind::Reminder, text);
        let mut violations = Vec::new();
        // An overdue task has another reminder on each day, also on the days of a wrong clock.
        let expected = match (exact, round.limits.other_days) {
            (true, false) => "= 1",
            (false, false) => "<= 1",
            (true, true) => ">= 1",
            (false, true) => ">= 0",
        };
        let due = self.database.micros("due_date");
        let [soon, later] = round.dues.soon;
        let is_overdue = format!("{due} = {}", round.dues.past);
        let is_soon = format!("{due} IN ({soon}, {later})");
        let of_this_due = format!("dedup_key = CAST({due} AS text)");
        let kinds = [
            ("overdue", is_overdue.as_str(), "TRUE", expected),
            ("due_soon", &is_soon, &of_this_due, expected),
        ];
        for (kind, is_due, is_told, expected) in kinds {
            let query = format!(
                "SELECT id, told FROM (
                    SELECT tasks.id, (SELECT count(*) FROM notifications n WHERE n.task_id = tasks.id
                        AND n.type = '{kind}' AND n.message LIKE '\"%' AND {is_told}) AS told
                    FROM tasks WHERE user_id LIKE '{prefix}%' AND NOT completed AND {is_due}) AS due
                 WHERE NOT (told {expected})"
            );
            for (task, count) in self.database.rows::<(i64, i64)>(&query).await? {
                let text = format!("task {task} is {kind} and has {count} notifications");
                violations.push(violation(text));
            }
        }
        let twice: Vec<(i64, String)> = self
            .database
            .rows(&format!(
                "SELECT task_id, type FROM notifications
                 WHERE message LIKE '\"%' AND user_id LIKE '{prefix}%'
                 GROUP BY task_id, type, dedup_key HAVING COUNT(*) > 1"
            ))
            .await?;
        for (task, kind) in twice {
            violations.push(violation(format!("task {task} has {kind} twice")));
        }
        Ok(violations)
    }
}
